//! `getpeername` on an accepted socket: a thread that had not touched it yet takes over, or the client is gone. Where made processes are followed, also what reads from it: not all
//! servers ask who the client is.

use wrapwatch_common::{
    counters::Counter,
    maps::SEVERAL,
    records::{Class, Kind, Peer},
    syscalls::call,
};

use crate::{
    args::Call,
    emit, kernel,
    watch::{calls, conns, fds, targets},
};

#[inline(always)]
pub fn enter(ctx: &impl Call) {
    let fd = ctx.fd();
    let Some(watched) = fds::watched(fd) else { return };
    if watched.class == Class::Accepted as u8 && conns::is_open(watched.conn) {
        calls::remember(call::PEER, fd, watched.conn, 0, 0, watched);
    }
}

#[inline(always)]
pub fn exit(ctx: &impl Call) {
    let Some(call) = calls::recall(call::PEER) else { return };
    let ret = ctx.ret() as i32;
    let known = conns::working_for() == Some(call.conn);
    if known && ret == 0 {
        return;
    }
    if !known {
        conns::work_for(call.conn);
    }
    let hdr = emit::header(Kind::Peer, call.conn, call.enter_ns, size_of::<Peer>());
    emit::fixed(&Peer { hdr, fd: call.fd, ret }, Counter::LostOther);
}

/// What is read is not looked at. Once a target is followed, and only until the first packet.
#[inline(always)]
pub fn reads(fd: i32, conn: u64) {
    if targets::only() != SEVERAL || !conns::is_open(conn) || conns::working_for() == Some(conn) {
        return;
    }
    if targets::current().is_none_or(|target| target.follows == 0) {
        return;
    }
    conns::work_for(conn);
    if !conns::is_acceptor(conn) {
        let hdr = emit::header(Kind::Peer, conn, kernel::now(), size_of::<Peer>());
        emit::fixed(&Peer { hdr, fd, ret: 0 }, Counter::LostOther);
    }
}
