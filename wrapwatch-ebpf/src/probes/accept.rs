//! `accept`, `accept4`: a connection gets its number here.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_log_ebpf::debug;
use wrapwatch_common::{
    abi::{AF_INET, AF_INET6, AF_UNIX, EAGAIN, EINTR},
    counters::Counter,
    maps::{Failures, Thread, Watch, failure_key},
    records::{Accept, AcceptFailed, AcceptSocket, Class, Kind},
    syscalls::call,
};

use super::state::{self, IPPROTO_TCP};
use crate::{
    args::Call,
    counts, emit,
    kernel::{self, Sock},
    maps::FAILURES,
    shared::add_to,
    sockaddr::{self, Socket as _},
    watch::{calls, conns, fds, subjects, targets},
};

/// `ERESTARTSYS`, the first of the errors that only the kernel sees (include/linux/errno.h): a signal came, and the call begins again or becomes
/// `EINTR`.
const ERESTARTSYS: i32 = 512;
/// Failures in this time after one that was told are counted and not told.
const FAILURES_APART_NS: u64 = 100_000_000;

#[inline(always)]
pub fn enter(ctx: &impl Call) {
    calls::remember(call::ACCEPT, ctx.fd(), 0, ctx.arg::<1>(), 0, Watch::default());
}

/// A call that was already blocking when the probes came has no enter: its exit alone must do.
#[inline(always)]
pub fn exit(ctx: &impl Call) {
    // Taken apart here: of a whole optional call the compiler keeps parts on the stack that it writes on one path only, and reads them on both,
    // which Linux 5.10 refuses.
    let began = match calls::recall(call::ACCEPT) {
        Some(call) => (call.enter_ns, call.fd, call.ptr),
        None => (0, -1, 0),
    };
    returned(ctx, began);
}

/// As [`exit`], for a hook that still knows at exit what the call was given.
#[inline(always)]
pub fn exit_midway(ctx: &impl Call) {
    returned(ctx, (0, ctx.fd(), ctx.arg::<1>()));
}

/// The end of a call of which [`installed`] has told where there was something to tell: what is left is a failure, or a descriptor that was not seen.
#[inline(always)]
pub fn exit_untold(ctx: &impl Call) {
    if let Some(call) = calls::recall(call::ACCEPT) {
        returned(ctx, (call.enter_ns, call.fd, call.ptr));
    }
}

/// A call is about to return this descriptor, of this `struct file`. What it was given is known even where its beginning was not seen.
#[inline(always)]
pub fn installed(ctx: &impl Call, fd: i32, file: u64) {
    let enter_ns = match calls::recall(call::ACCEPT) {
        Some(call) => call.enter_ns,
        None => 0,
    };
    accepted(ctx, fd, kernel::sock_of_file(file), (enter_ns, ctx.fd(), ctx.arg::<1>()));
}

/// When the call was entered, the listener, and where the peer's address is.
type Began = (u64, i32, u64);

#[inline(always)]
fn returned(ctx: &impl Call, began: Began) {
    let ret = ctx.ret() as i32;
    if ret >= 0 {
        accepted(ctx, ret, kernel::sock_of(ret), began);
    } else {
        failed(-ret, began);
    }
}

#[inline(always)]
fn accepted(ctx: &impl Call, fd: i32, sk: u64, (enter_ns, listener, address): Began) {
    let ts = kernel::now();
    let (sk, local) = match kind_of(sk) {
        Some(AF_UNIX) => (0, sk),
        Some(_) => (sk, 0),
        None => (0, 0),
    };
    let made = targets::is_made();
    // What a client's own process accepts elsewhere, a file transfer or what is forwarded, is no client of the server.
    if made && (sk == 0 || !state::is_listened_on(Sock(sk).local_port())) {
        return;
    }
    counts::count(Counter::Accepts);
    let is_reset = sk != 0 && Sock(sk).error() != 0;
    let Some(conn) = conns::open(sk, u32::from(made), u32::from(is_reset)) else {
        debug!(ctx, "no room for another connection");
        return;
    };
    fds::watch(fd, conn, Class::Accepted, 0);
    conns::forget_subject(subjects::current(targets::thread()).before);
    conns::set(targets::thread(), Thread { conn, ..Thread::default() });
    if sk == 0 && local == 0 {
        let hdr = emit::header(Kind::Accept, conn, ts, size_of::<Accept>());
        let record = Accept { hdr, enter_ns, peer: sockaddr::read(address), fd, listener };
        emit::fixed(&record, Counter::LostAccept);
    } else {
        let hdr = emit::header(Kind::AcceptSocket, conn, ts, size_of::<AcceptSocket>());
        let (sk, netns, (local, peer)) = if sk == 0 {
            (local, 0, (sockaddr::LOCAL, sockaddr::LOCAL))
        } else {
            (sk, kernel::netns(sk), state::ends(&Sock(sk)))
        };
        let process = targets::process();
        let record = AcceptSocket { hdr, enter_ns, sk, local, peer, netns, fd, listener, process };
        emit::fixed(&record, Counter::LostAccept);
        state::accepted(sk);
    }
    debug!(ctx, "accepted: conn {} fd {}", conn, fd);
}

/// Family of the socket just accepted, where it is a TCP one or a unix socket and can be read.
#[inline(always)]
fn kind_of(sk: u64) -> Option<u16> {
    if sk == 0 {
        return None;
    }
    let sock = Sock(sk);
    let family = sock.family();
    let known =
        family == AF_UNIX || ((family == AF_INET || family == AF_INET6) && sock.protocol() == IPPROTO_TCP);
    if known { Some(family) } else { None }
}

/// A server that has no descriptor left tries again at once, a hundred thousand times a second: all are counted, few are told.
#[inline(always)]
fn failed(error: i32, (enter_ns, listener, _): Began) {
    if error == EAGAIN || error == EINTR || error >= ERESTARTSYS {
        return;
    }
    let ts = kernel::now();
    let key = failure_key(targets::process(), error);
    let failures = if let Some(known) = FAILURES.get_ptr_mut(key) {
        // SAFETY: a live map value, aligned as its type is. Two threads that fail at the same time may both be told, or told with the same number.
        unsafe {
            add_to(core::ptr::addr_of_mut!((*known).count), 1);
            if ts < (*known).told_ns + FAILURES_APART_NS {
                return;
            }
            (*known).told_ns = ts;
            core::ptr::addr_of!((*known).count).read_volatile()
        }
    } else {
        if FAILURES.insert(key, Failures { count: 1, told_ns: ts }, u64::from(BPF_NOEXIST)).is_err() {
            match FAILURES.get_ptr_mut(key) {
                // Another thread failed at the same time, and told.
                // SAFETY: as above.
                Some(known) => unsafe { add_to(core::ptr::addr_of_mut!((*known).count), 1) },
                None => counts::count(Counter::FullFailures),
            }
            return;
        }
        1
    };
    let hdr = emit::header(Kind::AcceptFailed, 0, ts, size_of::<AcceptFailed>());
    let record = AcceptFailed { hdr, enter_ns, failures, listener, error };
    emit::fixed(&record, Counter::LostAcceptFailed);
}
