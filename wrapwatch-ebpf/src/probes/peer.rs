//! `getpeername` on an accepted socket: a thread that had not touched it yet takes over, or the client is gone.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use wrapwatch_common::{
    counters::Counter,
    records::{Class, Kind, Peer},
};

use crate::{args, emit, maps::call, watch};

#[tracepoint]
pub fn sys_enter_getpeername(ctx: TracePointContext) -> u32 {
    let fd = args::fd(&ctx);
    let Some(watched) = watch::watched(fd) else { return 0 };
    if watched.class == Class::Accepted as u8 && watch::open(watched.conn) {
        watch::remember(call::PEER, fd, watched.conn, 0, 0, watched);
    }
    0
}

#[tracepoint]
pub fn sys_exit_getpeername(ctx: TracePointContext) -> u32 {
    let Some(call) = watch::recall(call::PEER) else { return 0 };
    let ret = args::ret(&ctx) as i32;
    let known = watch::working_for() == Some(call.conn);
    if known && ret == 0 {
        return 0;
    }
    if !known {
        watch::work_for(call.conn);
    }
    let hdr = emit::header(Kind::Peer, call.conn, call.enter_ns, size_of::<Peer>());
    emit::fixed(&Peer { hdr, fd: call.fd, ret }, Counter::LostOther);
    0
}
