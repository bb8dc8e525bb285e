//! `accept`, `accept4`: a connection gets its number here.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use aya_log_ebpf::debug;
use wrapwatch_common::{
    counters::Counter,
    maps::Watch,
    records::{Accept, Class, Kind},
};

use crate::{args, emit, maps::call, sockaddr, watch};

#[tracepoint]
pub fn sys_enter_accept(ctx: TracePointContext) -> u32 {
    enter(&ctx)
}

#[tracepoint]
pub fn sys_enter_accept4(ctx: TracePointContext) -> u32 {
    enter(&ctx)
}

#[tracepoint]
pub fn sys_exit_accept(ctx: TracePointContext) -> u32 {
    exit(&ctx)
}

#[tracepoint]
pub fn sys_exit_accept4(ctx: TracePointContext) -> u32 {
    exit(&ctx)
}

#[inline(always)]
fn enter(ctx: &TracePointContext) -> u32 {
    if watch::target().is_some() {
        watch::remember(call::ACCEPT, args::fd(ctx), 0, args::arg!(ctx, 1), 0, Watch::default());
    }
    0
}

/// A call that was already blocking when the probes came has no enter: its exit alone must do.
#[inline(always)]
fn exit(ctx: &TracePointContext) -> u32 {
    if watch::target().is_none() {
        return 0;
    }
    // Taken apart here: of a whole optional call the compiler keeps parts on the stack that it writes on one path only, and reads them on both,
    // which Linux 5.10 refuses.
    let began = match watch::recall(call::ACCEPT) {
        Some(call) => (call.enter_ns, call.fd, call.ptr),
        None => (0, -1, 0),
    };
    let ret = args::ret(ctx);
    if ret >= 0 {
        accepted(ctx, ret as i32, began);
    }
    0
}

#[inline(always)]
fn accepted(ctx: &TracePointContext, fd: i32, (enter_ns, listener, address): (u64, i32, u64)) {
    let ts = emit::now();
    emit::count(Counter::Accepts);
    let Some(conn) = watch::open_conn() else {
        debug!(ctx, "no room for another connection");
        return;
    };
    watch::watch(fd, conn, Class::Accepted, 0);
    watch::work_for(conn);
    let hdr = emit::header(Kind::Accept, conn, ts, size_of::<Accept>());
    let record = Accept { hdr, enter_ns, peer: sockaddr::read(address), fd, listener };
    emit::fixed(&record, Counter::LostAccept);
    debug!(ctx, "accepted: conn {} fd {}", conn, fd);
}
