//! `accept`, `accept4`: a connection gets its number here.

use aya_log_ebpf::debug;
use wrapwatch_common::{
    counters::Counter,
    maps::{Watch, call},
    records::{Accept, Class, Kind},
};

use crate::{args::Call, emit, sockaddr, watch};

#[inline(always)]
pub fn enter(ctx: &impl Call) {
    watch::remember(call::ACCEPT, ctx.fd(), 0, ctx.arg::<1>(), 0, Watch::default());
}

/// A call that was already blocking when the probes came has no enter: its exit alone must do.
#[inline(always)]
pub fn exit(ctx: &impl Call) {
    // Taken apart here: of a whole optional call the compiler keeps parts on the stack that it writes on one path only, and reads them on both,
    // which Linux 5.10 refuses.
    let began = match watch::recall(call::ACCEPT) {
        Some(call) => (call.enter_ns, call.fd, call.ptr),
        None => (0, -1, 0),
    };
    let ret = ctx.ret();
    if ret >= 0 {
        accepted(ctx, ret as i32, began);
    }
}

/// As [`exit`], for a hook that still knows at exit what the call was given.
#[inline(always)]
pub fn exit_midway(ctx: &impl Call) {
    let ret = ctx.ret();
    if ret >= 0 {
        accepted(ctx, ret as i32, (0, ctx.fd(), ctx.arg::<1>()));
    }
}

#[inline(always)]
fn accepted(ctx: &impl Call, fd: i32, (enter_ns, listener, address): (u64, i32, u64)) {
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
