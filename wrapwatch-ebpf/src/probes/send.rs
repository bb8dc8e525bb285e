//! `write`, `writev`, `sendto`, `sendmsg`, `sendmmsg` on watched descriptors: the first packet of a connection, DNS queries, and how long
//! a call on anything else took.

use wrapwatch_common::{
    counters::Counter,
    maps::Watch,
    records::{Addr, Class, FIRST_PACKET_MAX, FirstPacket, Io, Kind, OP_WRITE, PAYLOAD_MAX, Payload},
    syscalls::call,
};

use super::{connect, login};
use crate::{
    args::Call,
    emit, kernel, sockaddr, user,
    watch::{calls, conns, fds},
};

/// `struct iovec`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoVec {
    base: u64,
    len: u64,
}

/// No buffer. Not an `Option`: of one the compiler keeps parts on the stack that it writes on one path only, and reads them on both, which Linux 5.10
/// refuses.
const NO_BUFFER: IoVec = IoVec { base: 0, len: 0 };

/// The beginning of `struct msghdr` (recvmsg(2), x86-64 and arm64).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MsgHdr {
    pub name: u64,
    pub name_len: u64,
    pub iov: u64,
    pub iov_len: u64,
}

/// Size of `struct mmsghdr`, and where its `msg_len` is.
pub const MMSGHDR_SIZE: u64 = 64;
/// See [`MMSGHDR_SIZE`].
pub const MMSG_LEN_AT: u64 = 56;
/// Messages of one call that are looked at: glibc sends A and AAAA together.
pub const MMSG_MAX: u64 = 2;
/// Bytes of a message that are recorded.
const MAX: u64 = PAYLOAD_MAX as u64;
/// Bytes of the length in front of a DNS message over TCP (RFC 1035, 4.2.2).
const FRAME: u64 = 2;

#[inline(always)]
pub fn write(ctx: &impl Call) {
    buffer(ctx, false);
}

#[inline(always)]
pub fn sendto(ctx: &impl Call) {
    buffer(ctx, true);
}

/// One buffer; `names` whether the call can name a destination.
#[inline(always)]
pub fn buffer(ctx: &impl Call, names: bool) {
    let fd = ctx.fd();
    let Some(watched) = fds::watched(fd) else { return };
    let name = if names { ctx.arg::<4>() } else { 0 };
    sent(fd, &watched, IoVec { base: ctx.arg::<1>(), len: ctx.arg::<2>() }, NO_BUFFER, name, 0);
}

#[inline(always)]
pub fn writev(ctx: &impl Call) {
    let fd = ctx.fd();
    let Some(watched) = fds::watched(fd) else { return };
    vector(fd, &watched, ctx.arg::<1>(), ctx.arg::<2>(), 0, 0);
}

#[inline(always)]
pub fn sendmsg(ctx: &impl Call) {
    let fd = ctx.fd();
    let Some(watched) = fds::watched(fd) else { return };
    let Some(msg) = user::read::<MsgHdr>(ctx.arg::<1>()) else { return };
    vector(fd, &watched, msg.iov, msg.iov_len, msg.name, 0);
}

#[inline(always)]
pub fn sendmmsg(ctx: &impl Call) {
    let fd = ctx.fd();
    let Some(watched) = fds::watched(fd) else { return };
    let messages = ctx.arg::<1>();
    let count = ctx.arg::<2>();
    for index in 0..MMSG_MAX {
        if index >= count {
            break;
        }
        let Some(msg) = user::read::<MsgHdr>(messages + index * MMSGHDR_SIZE) else { break };
        vector(fd, &watched, msg.iov, msg.iov_len, msg.name, index as u16);
    }
}

/// Several buffers: the first, and the second where the first is only the frame of a DNS message over TCP.
#[inline(always)]
fn vector(fd: i32, watched: &Watch, iov: u64, count: u64, name: u64, index: u16) {
    let Some(first) = user::read::<IoVec>(iov) else { return };
    let second = if count > 1 && first.len == FRAME { user::read::<IoVec>(iov + 16) } else { None };
    let second = second.unwrap_or(NO_BUFFER);
    sent(fd, watched, first, second, name, index);
}

#[inline(always)]
fn sent(fd: i32, watched: &Watch, first: IoVec, second: IoVec, name: u64, index: u16) {
    if watched.class == Class::Accepted as u8 {
        first_packet(fd, watched, first);
        return;
    }
    if watched.class == Class::Login as u8 {
        return login::says(fd, watched, first.base, first.len);
    }
    let Some(conn) = conns::owner(watched) else { return };
    let ts = kernel::now();
    let mut class = watched.class;
    let addr = sockaddr::read(name);
    if class == Class::Socket as u8 && addr.family != 0 {
        connect::connected(&connect::as_call(fd, conn, ts, watched), &addr, ts, 0);
        class = connect::classify(&addr, watched.sock_type) as u8;
    }
    if class == Class::Dns as u8 {
        payload(fd, conn, watched.sock_type, first, second, addr, index, ts);
    }
    if index == 0 {
        calls::remember(call::WRITE, fd, conn, 0, 0, Watch { class, ..*watched });
    }
}

/// The story ends here: what follows on this socket is the client's business, but for a login where that is asked for.
#[inline(always)]
fn first_packet(fd: i32, watched: &Watch, first: IoVec) {
    fds::unwatch(fd);
    if !conns::is_open(watched.conn) {
        return;
    }
    let ts = kernel::now();
    let mut bytes = [0_u8; FIRST_PACKET_MAX];
    let n = if first.len >= FIRST_PACKET_MAX as u64 {
        match user::read::<[u8; FIRST_PACKET_MAX]>(first.base) {
            Some(read) => {
                bytes = read;
                FIRST_PACKET_MAX as u8
            }
            None => 0,
        }
    } else {
        0
    };
    let hdr = emit::header(Kind::FirstPacket, watched.conn, ts, size_of::<FirstPacket>());
    let record = FirstPacket { hdr, fd, full_len: first.len as u32, bytes, n };
    emit::fixed(&record, Counter::LostFirstPacket);
    conns::close(watched.conn);
    login::begins(fd, watched.conn, &bytes, ts);
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "one caller, inlined: a structure would go over the program's small stack"
)]
fn payload(fd: i32, conn: u64, sock_type: u8, first: IoVec, second: IoVec, addr: Addr, index: u16, ts: u64) {
    let run_delay_ns = kernel::run_delay();
    let full_len = if second.base == 0 { first.len } else { second.len + FRAME };
    emit::with_tail::<Payload, MAX>(
        Counter::LostPayload,
        // SAFETY: there is room for MAX bytes, the longest record's tail.
        |tail| unsafe {
            if second.base == 0 {
                user::copy::<MAX>(tail, first.base, first.len)
            } else {
                user::copy::<FRAME>(tail, first.base, FRAME);
                user::copy::<{ MAX - FRAME }>(tail.add(FRAME as usize), second.base, second.len) + FRAME
            }
        },
        |payload_len, len| Payload {
            hdr: emit::header(Kind::Send, conn, ts, len),
            enter_ns: ts,
            run_delay_ns,
            addr,
            fd,
            full_len: full_len as u32,
            payload_len,
            index,
            sock_type,
            pad: [0; 3],
        },
    );
}

/// A DNS send that worked was told of at its enter.
#[inline(always)]
pub fn exit(ctx: &impl Call) {
    let Some(call) = calls::recall(call::WRITE) else { return };
    let ret = ctx.ret();
    if call.class == Class::Dns as u8 && ret >= 0 {
        return;
    }
    let hdr = emit::header(Kind::Io, call.conn, kernel::now(), size_of::<Io>());
    let record =
        Io { hdr, enter_ns: call.enter_ns, ret, fd: call.fd, op: OP_WRITE, class: call.class, pad: 0 };
    emit::fixed(&record, Counter::LostOther);
}
