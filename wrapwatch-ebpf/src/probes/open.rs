//! `open`, `openat`, `openat2` by a thread that works for a connection.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use wrapwatch_common::{
    counters::Counter,
    maps::Watch,
    records::{Class, Kind, Open, PATH_MAX},
};

use crate::{args, emit, maps::call, user, watch};

#[tracepoint]
pub fn sys_enter_open(ctx: TracePointContext) -> u32 {
    enter(args::arg!(&ctx, 0))
}

#[tracepoint]
pub fn sys_enter_openat(ctx: TracePointContext) -> u32 {
    enter(args::arg!(&ctx, 1))
}

#[tracepoint]
pub fn sys_enter_openat2(ctx: TracePointContext) -> u32 {
    enter(args::arg!(&ctx, 1))
}

#[tracepoint]
pub fn sys_exit_open(ctx: TracePointContext) -> u32 {
    exit(&ctx)
}

#[tracepoint]
pub fn sys_exit_openat(ctx: TracePointContext) -> u32 {
    exit(&ctx)
}

#[tracepoint]
pub fn sys_exit_openat2(ctx: TracePointContext) -> u32 {
    exit(&ctx)
}

#[inline(always)]
fn enter(path: u64) -> u32 {
    if let Some(conn) = watch::working_for() {
        watch::remember(call::OPEN, 0, conn, path, 0, Watch::default());
    }
    0
}

/// The path is read here: at enter its page may not be there yet.
#[inline(always)]
fn exit(ctx: &TracePointContext) -> u32 {
    let Some(call) = watch::recall(call::OPEN) else { return 0 };
    let ts = emit::now();
    let ret = args::ret(ctx) as i32;
    if ret >= 0 {
        watch::watch(ret, call.conn, Class::File, 0);
    }
    emit::with_tail::<Open, { PATH_MAX as u64 }>(
        Counter::LostFile,
        // SAFETY: there is room for the longest record's tail, more than a path's and its NUL.
        |tail| unsafe { user::copy_str::<{ PATH_MAX as u64 + 1 }>(tail, call.ptr) },
        |path_len, len| {
            let hdr = emit::header(Kind::Open, call.conn, ts, len);
            Open { hdr, enter_ns: call.enter_ns, ret, path_len, pad: 0 }
        },
    );
    0
}
