//! `read`, `readv`, `recvfrom`, `recvmsg`, `recvmmsg` on watched descriptors: DNS answers, and how long a call on anything else took. What is read
//! from an accepted socket is never looked at.

use wrapwatch_common::{
    abi::EAGAIN,
    counters::Counter,
    maps::Inflight,
    records::{Addr, Class, Io, Kind, OP_READ, PAYLOAD_MAX, Payload},
    syscalls::call,
};

use super::send::{MMSG_LEN_AT, MMSG_MAX, MMSGHDR_SIZE, MsgHdr};
use super::{login, peer};
use crate::{
    args::{Call, Trampoline},
    emit, kernel, sockaddr, user,
    watch::{calls, conns, fds},
};

/// A read that took less than this held up nobody.
const AT_ONCE_NS: u64 = 1_000_000;

#[inline(always)]
pub fn read(ctx: &impl Call) {
    enter(ctx, call::READ, || ctx.arg::<1>(), || 0);
}

/// nscd's clients read the name of a host they asked for by it. Of several buffers nothing is copied: no resolver reads DNS messages so.
#[inline(always)]
pub fn readv(ctx: &impl Call) {
    let only = || if ctx.arg::<2>() == 1 { user::read::<u64>(ctx.arg::<1>()).unwrap_or(0) } else { 0 };
    enter(ctx, call::READ, only, || 0);
}

#[inline(always)]
pub fn recvfrom(ctx: &impl Call) {
    enter(ctx, call::READ, || ctx.arg::<1>(), || ctx.arg::<4>());
}

#[inline(always)]
pub fn recvmsg(ctx: &impl Call) {
    enter(ctx, call::RECVMSG, || ctx.arg::<1>(), || 0);
}

#[inline(always)]
pub fn recvmmsg(ctx: &impl Call) {
    enter(ctx, call::RECVMMSG, || ctx.arg::<1>(), || 0);
}

#[inline(always)]
pub fn exit_recvmsg(ctx: &impl Call) {
    let Some(call) = calls::recall(call::RECVMSG) else { return };
    let ret = ctx.ret();
    if let Some((base, name)) = message(&call, ret, call.ptr) {
        payload(&call, base, ret as u64, sockaddr::read(name), 0);
    } else {
        io(&call, ret);
    }
}

/// As [`exit_recvmsg`] and [`exit_buffer`] where a protocol's function returns, whose second argument is the kernel's own `struct msghdr`: the caller's address is not
/// filled in yet.
#[inline(always)]
pub fn exit_within(ctx: &Trampoline) {
    let Some(kind) = calls::in_flight() else { return };
    if kind != call::READ && kind != call::RECVMSG {
        return;
    }
    let Some(call) = calls::recall(kind) else { return };
    let ret = ctx.ret();
    let found = if kind == call::RECVMSG {
        message(&call, ret, call.ptr)
    } else if call.class == Class::Dns as u8 && ret > 0 {
        Some((call.ptr, call.aux))
    } else {
        None
    };
    let Some((base, name)) = found else { return io(&call, ret) };
    let addr = if name == 0 { sockaddr::NONE } else { kernel::message_address(ctx.given::<1>()) };
    payload(&call, base, ret as u64, addr, 0);
}

#[inline(always)]
pub fn exit_recvmmsg(ctx: &impl Call) {
    let Some(call) = calls::recall(call::RECVMMSG) else { return };
    let ret = ctx.ret();
    if call.class != Class::Dns as u8 || ret <= 0 {
        io(&call, ret);
        return;
    }
    for index in 0..MMSG_MAX {
        if index as i64 >= ret {
            break;
        }
        let at = call.ptr + index * MMSGHDR_SIZE;
        let Some(len) = user::read::<u32>(at + MMSG_LEN_AT) else { break };
        let Some((base, name)) = message(&call, i64::from(len), at) else { break };
        payload(&call, base, u64::from(len), sockaddr::read(name), index as u16);
    }
}

#[inline(always)]
fn enter(ctx: &impl Call, kind: u8, buffer: impl FnOnce() -> u64, name: impl FnOnce() -> u64) {
    let fd = ctx.fd();
    let Some(watched) = fds::watched(fd) else { return };
    if watched.class == Class::Accepted as u8 {
        return peer::reads(fd, watched.conn);
    }
    if watched.class == Class::Login as u8 && !login::waits(watched.conn) {
        return;
    }
    if let Some(conn) = conns::owner(&watched) {
        calls::remember(kind, fd, conn, buffer(), name(), watched);
    }
}

#[inline(always)]
pub fn exit_buffer(ctx: &impl Call) {
    let Some(call) = calls::recall(call::READ) else { return };
    let ret = ctx.ret();
    if call.class == Class::Dns as u8 && ret > 0 {
        payload(&call, call.ptr, ret as u64, sockaddr::read(call.aux), 0);
    } else {
        io(&call, ret);
    }
}

/// Buffer and address of a DNS message that came in by `recvmsg`.
#[inline(always)]
fn message(call: &Inflight, ret: i64, msg: u64) -> Option<(u64, u64)> {
    if call.class != Class::Dns as u8 || ret <= 0 {
        return None;
    }
    let msg = user::read::<MsgHdr>(msg)?;
    Some((user::read::<u64>(msg.iov)?, msg.name))
}

#[inline(always)]
fn payload(call: &Inflight, base: u64, full_len: u64, addr: Addr, index: u16) {
    let ts = kernel::now();
    let run_delay_ns = kernel::run_delay();
    emit::with_tail::<Payload, { PAYLOAD_MAX as u64 }>(
        Counter::LostPayload,
        // SAFETY: there is room for PAYLOAD_MAX bytes, the longest record's tail.
        |tail| unsafe { user::copy::<{ PAYLOAD_MAX as u64 }>(tail, base, full_len) },
        |payload_len, len| Payload {
            hdr: emit::header(Kind::Recv, call.conn, ts, len),
            enter_ns: call.enter_ns,
            run_delay_ns,
            addr,
            fd: call.fd,
            full_len: full_len as u32,
            payload_len,
            index,
            sock_type: call.sock_type,
            pad: [0; 3],
        },
    );
}

#[inline(always)]
fn io(call: &Inflight, ret: i64) {
    if call.class == Class::Login as u8 {
        return login::hears(call.conn, ret);
    }
    // Nothing came, nothing happened.
    if call.class == Class::Dns as u8 && ret == -i64::from(EAGAIN) {
        return;
    }
    let ts = kernel::now();
    // The last read of each table: nothing came, and nobody waited.
    let at_end = call.class == Class::File as u8 && ret == 0;
    if at_end && ts - call.enter_ns < AT_ONCE_NS && fds::read_to_end(call.fd) {
        return;
    }
    let hdr = emit::header(Kind::Io, call.conn, ts, size_of::<Io>());
    let record =
        Io { hdr, enter_ns: call.enter_ns, ret, fd: call.fd, op: OP_READ, class: call.class, pad: 0 };
    emit::fixed(&record, Counter::LostFile);
}
