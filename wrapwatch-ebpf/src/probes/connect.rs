//! `connect` by a thread that works for a connection: what the socket is for shows here.

use wrapwatch_common::{
    abi::{AF_UNIX, PORT_DNS, PORT_IDENT, SOCK_DGRAM, SOCK_STREAM},
    counters::Counter,
    maps::{Inflight, Watch},
    records::{Addr, Class, Connect, Kind, SUBJECT_LOOKED_UP, Subject},
    syscalls::call,
};

use super::state::IPPROTO_TCP;
use crate::{
    args::Call,
    emit,
    kernel::{self, Sock},
    rule,
    sockaddr::{self, Socket as _},
    user,
    watch::{calls, conns, fds, subjects},
};

/// Longest path of a unix socket (`sun_path`, unix(7)).
const UNIX_PATH_MAX: u64 = 108;
/// Size of `sun_family` in front of it.
const UNIX_PATH_AT: u64 = 2;

#[inline(always)]
pub fn enter(ctx: &impl Call) {
    let conn = match conns::working_for() {
        Some(conn) => conn,
        None if subjects::may_look_up() => 0,
        None => return,
    };
    let fd = ctx.fd();
    let watched = fds::watched(fd).unwrap_or_default();
    if watched.class != Class::Accepted as u8 {
        calls::remember(call::CONNECT, fd, conn, ctx.arg::<1>(), ctx.arg::<2>(), watched);
    }
}

#[inline(always)]
pub fn exit(ctx: &impl Call) {
    let Some(call) = calls::recall(call::CONNECT) else { return };
    let (addr, ts) = (sockaddr::read(call.ptr), kernel::now());
    if call.conn != 0 {
        connected(&call, &addr, ts, ctx.ret() as i32);
    } else if addr.port == PORT_DNS && addr.family != AF_UNIX {
        let conn = looks_up();
        if conn != 0 {
            let sock_type = type_of(call.fd);
            connected(&Inflight { conn, sock_type, ..call }, &addr, ts, ctx.ret() as i32);
        }
    }
}

/// The server asks a nameserver about a client that has had its first byte.
#[inline(always)]
fn looks_up() -> u64 {
    let within = subjects::within();
    match subjects::looks_up() {
        Ok(same) => same,
        Err(0) => 0,
        Err(conn) => {
            let hdr = emit::header(Kind::Subject, conn, kernel::now(), size_of::<Subject>());
            emit::fixed(
                &Subject { hdr, peer: sockaddr::NONE, within, why: SUBJECT_LOOKED_UP, pad: 0 },
                Counter::LostOther,
            );
            conn
        }
    }
}

/// Type of a socket whose making was not seen.
#[inline(always)]
fn type_of(fd: i32) -> u8 {
    match Sock(kernel::sock_of(fd)).protocol() {
        IPPROTO_TCP => SOCK_STREAM,
        _ => SOCK_DGRAM,
    }
}

/// What a socket is for, by where it goes.
#[inline(always)]
pub fn classify(addr: &Addr, sock_type: u8) -> Class {
    if addr.family == AF_UNIX {
        Class::Unix
    } else if addr.port == PORT_DNS {
        Class::Dns
    } else if addr.port == PORT_IDENT && sock_type == SOCK_STREAM {
        Class::Ident
    } else {
        Class::Other
    }
}

/// Watches the socket under its class and writes the record; also for the `sendto` that names an unconnected socket's destination.
#[inline(always)]
pub fn connected(call: &Inflight, addr: &Addr, ts: u64, ret: i32) {
    let class = classify(addr, call.sock_type);
    fds::watch(call.fd, call.conn, class, call.sock_type);
    if class as u8 == Class::Dns as u8 || class as u8 == Class::Ident as u8 {
        rule::note(call.conn);
    }
    let run_delay_ns = kernel::run_delay();
    emit::with_tail::<Connect, UNIX_PATH_MAX>(
        Counter::LostConnect,
        |tail| {
            if addr.family == AF_UNIX {
                // SAFETY: there is room for the longest record's tail, more than a path's and its NUL.
                unsafe { unix_path(tail, call.ptr + UNIX_PATH_AT, call.aux) }
            } else {
                0
            }
        },
        |path_len, len| Connect {
            hdr: emit::header(Kind::Connect, call.conn, ts, len),
            enter_ns: call.enter_ns,
            run_delay_ns,
            addr: *addr,
            fd: call.fd,
            ret,
            class: class as u8,
            sock_type: call.sock_type,
            path_len,
            pad: 0,
        },
    );
}

/// Copies a unix socket's path. A file's path ends at its NUL, and what the caller's buffer holds behind it is nobody's business; an abstract
/// name begins with one and is as long as the call says (unix(7)).
///
/// # Safety
/// `dst` must have room for `UNIX_PATH_MAX + 1` bytes.
#[inline(always)]
unsafe fn unix_path(dst: *mut u8, path: u64, addr_len: u64) -> u64 {
    // SAFETY: the caller vouches for the room.
    unsafe {
        match user::read::<u8>(path) {
            Some(0) if addr_len > UNIX_PATH_AT => {
                user::copy::<UNIX_PATH_MAX>(dst, path, addr_len - UNIX_PATH_AT)
            }
            Some(first) if first != 0 => user::copy_str::<{ UNIX_PATH_MAX + 1 }>(dst, path),
            _ => 0,
        }
    }
}

/// The state that [`connected`] needs when there is no `connect`.
#[inline(always)]
pub fn as_call(fd: i32, conn: u64, ts: u64, watched: &Watch) -> Inflight {
    Inflight {
        enter_ns: ts,
        conn,
        ptr: 0,
        aux: 0,
        fd,
        call: call::CONNECT,
        class: watched.class,
        sock_type: watched.sock_type,
        counted: 0,
    }
}
