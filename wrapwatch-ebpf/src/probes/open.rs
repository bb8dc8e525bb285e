//! `open`, `openat`, `openat2` by a thread that works for a connection.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use wrapwatch_common::{
    counters::Counter,
    maps::Watch,
    records::{Class, Kind, Open, PATH_MAX},
};

use crate::{
    args, emit,
    maps::{SCRATCH, call},
    user, watch,
};

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
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return 0 };
    let scratch = scratch.cast::<u8>();
    const BODY: usize = size_of::<Open>();
    // SAFETY: the scratch has room for the largest record, which is larger than this one; it belongs to this CPU.
    unsafe {
        let n = user::copy_str::<{ PATH_MAX as u32 + 1 }>(scratch.add(BODY), call.ptr);
        let n = user::bound::<{ PATH_MAX as u64 }>(n);
        let len = BODY as u64 + n;
        let hdr = emit::header(Kind::Open, call.conn, ts, len as usize);
        scratch.cast::<Open>().write(Open { hdr, enter_ns: call.enter_ns, ret, path_len: n as u16, pad: 0 });
        emit::raw(scratch, len, Counter::LostFile);
    }
    0
}
