//! `getpeername` on an accepted socket: a thread that had not touched it yet takes over, or the client is gone.

use wrapwatch_common::{
    counters::Counter,
    maps::call,
    records::{Class, Kind, Peer},
};

use crate::{args::Call, emit, watch};

#[inline(always)]
pub fn enter(ctx: &impl Call) {
    let fd = ctx.fd();
    let Some(watched) = watch::watched(fd) else { return };
    if watched.class == Class::Accepted as u8 && watch::open(watched.conn) {
        watch::remember(call::PEER, fd, watched.conn, 0, 0, watched);
    }
}

#[inline(always)]
pub fn exit(ctx: &impl Call) {
    let Some(call) = watch::recall(call::PEER) else { return };
    let ret = ctx.ret() as i32;
    let known = watch::working_for() == Some(call.conn);
    if known && ret == 0 {
        return;
    }
    if !known {
        watch::work_for(call.conn);
    }
    let hdr = emit::header(Kind::Peer, call.conn, call.enter_ns, size_of::<Peer>());
    emit::fixed(&Peer { hdr, fd: call.fd, ret }, Counter::LostOther);
}
