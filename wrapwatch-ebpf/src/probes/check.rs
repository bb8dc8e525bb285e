//! libwrap's own functions, by uprobes: the exact ends of a check, an ident lookup, a spawned command.

use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use wrapwatch_common::{
    counters::Counter,
    maps::{Conn, Target, Thread},
    records::{
        Addr, Check, DAEMON_MAX, Kind, Request, SUBJECT_ASKED, Subject, WHAT_HOSTS_ACCESS, WHAT_HOSTS_CTL,
        WHAT_RFC931, WHAT_SHELL_CMD,
    },
};

use super::{close, state};
use crate::{
    args, emit,
    kernel::{self, Sock},
    maps::{CONNS, TARGETS, THREADS},
    sockaddr, user,
    watch::{conns, subjects, targets},
};

#[uprobe]
pub fn hosts_access(ctx: ProbeContext) -> u32 {
    if let Some(target) = targets::current()
        && target.follows != 0
    {
        begins(&ctx, target);
    }
    note(WHAT_HOSTS_ACCESS, 0, 0)
}

#[uretprobe]
pub fn hosts_access_ret(ctx: RetProbeContext) -> u32 {
    let told = note(WHAT_HOSTS_ACCESS, 1, ctx.ret::<u64>() as i32);
    is_over();
    told
}

/// `hosts_ctl` is given strings: whose check it is, the thread says. It calls `hosts_access`.
#[uprobe]
pub fn hosts_ctl(ctx: ProbeContext) -> u32 {
    if let Some(target) = targets::current()
        && target.follows != 0
    {
        let value = left(targets::thread());
        let conn = conns::working_for().unwrap_or(0);
        asks(Thread { conn, in_check: IN_HOSTS_CTL, ..value }, || sockaddr::NONE);
        requested(-1, WHAT_HOSTS_CTL, ctx.arg::<u64>(0).unwrap_or(0));
    }
    0
}

#[uretprobe]
pub fn hosts_ctl_ret(_ctx: RetProbeContext) -> u32 {
    is_over();
    0
}

/// [`Thread::in_check`]
const IN_HOSTS_ACCESS: u32 = 1;
/// See [`IN_HOSTS_ACCESS`].
const IN_HOSTS_CTL: u32 = 2;
/// Where `struct request_info` (tcpd.h of libwrap 7.6.q, on machines of 64 bits) has the daemon's name, which is in it.
const REQUEST_DAEMON: u64 = 132;
/// Where it has the address of the client's socket address.
const REQUEST_CLIENT_SIN: u64 = 528;

/// Whose check it is, the request says, in whatever process that is.
#[inline(always)]
fn begins(ctx: &ProbeContext, target: Target) {
    let thread = targets::thread();
    let request = ctx.arg::<u64>(0).unwrap_or(0);
    // SAFETY: only this thread writes its entry.
    let known = unsafe { THREADS.get(thread) }.map(|thread| thread.in_check);
    if known != Some(IN_HOSTS_CTL) {
        let value = left(thread);
        let fd = user::read::<i32>(request).unwrap_or(-1);
        let conn = client(request, fd);
        asks(Thread { conn, in_check: IN_HOSTS_ACCESS, ..value }, || named(request, fd));
        requested(fd, WHAT_HOSTS_ACCESS, request + REQUEST_DAEMON);
    }
    if target.tcpd_context == 0 && target.context_from_check != 0 {
        let tcpd_context = args::instruction(ctx).wrapping_add(target.context_from_check);
        let _ = TARGETS.insert(targets::process(), Target { tcpd_context, ..target }, 0);
    }
}

/// The current thread asks libwrap. Where that is about nobody who is followed, it is about a subject, with this address.
#[inline(always)]
fn asks(thread: Thread, peer: impl FnOnce() -> Addr) {
    if thread.conn != 0 {
        conns::set(targets::thread(), thread);
        return;
    }
    let within = subjects::within();
    let conn = subjects::open(Conn::ASKED, thread.in_check);
    if conn != 0 {
        let hdr = emit::header(Kind::Subject, conn, kernel::now(), size_of::<Subject>());
        emit::fixed(&Subject { hdr, peer: peer(), within, why: SUBJECT_ASKED, pad: 0 }, Counter::LostOther);
    }
}

/// What the current thread is to be before a check: `before` is whom it works for, or worked for last. A check that it left otherwise than by returning (longjmp(3)) is over.
#[inline(always)]
fn left(thread: u64) -> Thread {
    let value = subjects::current(thread);
    if !conns::is_passing_subject(value.conn) {
        conns::forget_subject(value.before);
        return Thread { before: value.conn, ..value };
    }
    close::ended(value.conn);
    conns::set(thread, Thread { conn: value.before, before: 0, ..value });
    value
}

/// The client's address as the request has it, or its socket.
#[inline(always)]
fn named(request: u64, fd: i32) -> Addr {
    let named = sockaddr::read(user::read::<u64>(request + REQUEST_CLIENT_SIN).unwrap_or(0));
    let sk = kernel::sock_of(fd);
    if named.family != 0 || sk == 0 { named } else { state::ends(&Sock(sk)).1 }
}

/// The connection of a request: that of the client's descriptor, with which `struct request_info` begins. Some give the listener's or none: then that which the thread works
/// for, if the request has its client's address. 0 for a datagram's, a request's within a connection.
#[inline(always)]
fn client(request: u64, fd: i32) -> u64 {
    let current = conns::working_for().unwrap_or(0);
    if !kernel::knows_sockets() {
        return current;
    }
    if let Some(conn) = conns::of_socket(kernel::sock_of(fd)) {
        return conn;
    }
    let Some(state) = CONNS.get_ptr(current) else { return 0 };
    // SAFETY: a live map value, whose socket does not change.
    let sk = unsafe { (*state).sk };
    let Some(sin) = user::read::<u64>(request + REQUEST_CLIENT_SIN) else { return 0 };
    let named = sockaddr::read(sin);
    let (_, peer) = state::ends(&Sock(sk));
    let same = sk != 0 && named.family != 0 && named.port == peer.port && named.ip == peer.ip;
    if same { current } else { 0 }
}

/// Tells of a request; `daemon`: where the name is.
#[inline(always)]
fn requested(fd: i32, what: u8, daemon: u64) {
    let (conn, ts) = (conns::working_for().unwrap_or(0), kernel::now());
    emit::with_tail::<Request, { DAEMON_MAX as u64 }>(
        Counter::LostOther,
        // SAFETY: there is room for the longest record's tail, far more than a name's and its NUL.
        |tail| unsafe { user::copy_str::<{ DAEMON_MAX as u64 + 1 }>(tail, daemon) },
        |daemon_len, len| {
            let hdr = emit::header(Kind::Request, conn, ts, len);
            Request { hdr, fd, daemon_len, what, pad: 0 }
        },
    );
}

#[inline(always)]
fn is_in_check() -> bool {
    // SAFETY: only this thread writes its entry.
    unsafe { THREADS.get(targets::thread()) }.is_some_and(|thread| thread.in_check != 0)
}

#[inline(always)]
fn is_over() {
    let thread = targets::thread();
    if let Some(value) = THREADS.get_ptr_mut(thread) {
        // SAFETY: only this thread writes its entry.
        unsafe {
            (*value).in_check = 0;
            if (*value).conn == 0 || conns::is_subject((*value).conn) {
                conns::forget_subject((*value).conn);
                ((*value).conn, (*value).before) = ((*value).before, 0);
            }
        }
    }
}

#[uprobe]
pub fn rfc931(_ctx: ProbeContext) -> u32 {
    note(WHAT_RFC931, 0, 0)
}

#[uretprobe]
pub fn rfc931_ret(_ctx: RetProbeContext) -> u32 {
    note(WHAT_RFC931, 1, 0)
}

#[uprobe]
pub fn shell_cmd(_ctx: ProbeContext) -> u32 {
    note(WHAT_SHELL_CMD, 0, 0)
}

#[uretprobe]
pub fn shell_cmd_ret(_ctx: RetProbeContext) -> u32 {
    note(WHAT_SHELL_CMD, 1, 0)
}

#[inline(always)]
fn note(what: u8, returned: u8, ret: i32) -> u32 {
    let conn = match conns::working_for() {
        Some(conn) => conn,
        // Of a check for a client without a connection its end is told: whoever waits for this thread waits for that.
        None if returned != 0 && is_in_check() => 0,
        None => return 0,
    };
    let hdr = emit::header(Kind::Check, conn, kernel::now(), size_of::<Check>());
    emit::fixed(&Check { hdr, ret, what, returned, pad: 0 }, Counter::LostOther);
    0
}
