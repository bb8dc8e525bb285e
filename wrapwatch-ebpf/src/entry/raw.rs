//! Raw tracepoints: `sys_enter` and `sys_exit` see every system call of the machine, so the first thing they do is to leave. What is left goes on
//! by tail call: from an enter by the call's number, from an exit by what the thread's enter left in `INFLIGHT`. They need no tracefs, and
//! are taken off at once.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use wrapwatch_common::maps::syscall;

use crate::{
    args::{self, Call as _},
    kernel::Sock,
    maps::{ALL_CONNS, ALL_FDS, ENTERS, EXITS, SYSCALLS},
    probes::{accept, close, connect, dup, life, open, peer, recv, send, socket, state, wait},
    watch,
};

#[raw_tracepoint]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    let number = ctx.arg::<u64>(1) as u32;
    let sort = SYSCALLS.get(number).copied().unwrap_or(syscall::OTHER);
    let matters = match sort {
        syscall::OTHER => false,
        syscall::DESCRIPTOR => watch::may_be_watched(&ALL_CONNS, || ctx.fd()),
        syscall::CLOSE => watch::may_be_watched(&ALL_FDS, || ctx.fd()),
        _ => true,
    };
    if !matters || !watch::of_target() {
        return 0;
    }
    // SAFETY: what is in the map are programs of this file, loaded with it.
    unsafe { ENTERS.tail_call(&ctx, number) };
    0
}

#[raw_tracepoint]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    if watch::may_be_in_flight()
        && let Some(call) = watch::in_flight()
    {
        // SAFETY: as above.
        unsafe { EXITS.tail_call(&ctx, u32::from(call)) };
    }
    0
}

macro_rules! tails {
    ($($program:ident => $handler:path),* $(,)?) => {$(
        #[raw_tracepoint]
        pub fn $program(ctx: RawTracePointContext) -> i32 {
            $handler(&ctx);
            0
        }
    )*};
}

tails! {
    enter_accept => accept::enter,
    enter_open => open::open,
    enter_openat => open::openat,
    enter_socket => socket::enter,
    enter_connect => connect::enter,
    enter_read => recv::read,
    enter_readv => recv::readv,
    enter_recvfrom => recv::recvfrom,
    enter_recvmsg => recv::recvmsg,
    enter_recvmmsg => recv::recvmmsg,
    enter_write => send::write,
    enter_writev => send::writev,
    enter_sendto => send::sendto,
    enter_sendmsg => send::sendmsg,
    enter_sendmmsg => send::sendmmsg,
    enter_close => close::close,
    enter_shutdown => close::shutdown,
    enter_dup => dup::dup,
    enter_dup2 => dup::dup2,
    enter_fcntl => dup::fcntl,
    enter_close_range => dup::close_range,
    enter_getpeername => peer::enter,
    enter_wait4 => wait::enter,
    exit_accept => accept::exit,
    exit_open => open::exit,
    exit_socket => socket::exit,
    exit_connect => connect::exit,
    exit_read => recv::exit_buffer,
    exit_recvmsg => recv::exit_recvmsg,
    exit_recvmmsg => recv::exit_recvmmsg,
    exit_write => send::exit,
    exit_getpeername => peer::exit,
    exit_wait4 => wait::exit,
    exit_dup => dup::exit,
}

/// The first exit of a thread that was there before the probes: it may have been waiting in `accept`.
#[raw_tracepoint]
pub fn exit_midway(ctx: RawTracePointContext) -> i32 {
    watch::forget();
    if SYSCALLS.get(args::number(&ctx)).is_some_and(|sort| *sort == syscall::ACCEPT) {
        accept::exit_midway(&ctx);
    }
    0
}

#[raw_tracepoint]
pub fn process_exit(_ctx: RawTracePointContext) -> i32 {
    life::exit();
    0
}

#[raw_tracepoint]
pub fn process_exec(ctx: RawTracePointContext) -> i32 {
    life::exec(ctx.arg::<u64>(1) as u32);
    0
}

#[raw_tracepoint]
pub fn sock_set_state(ctx: RawTracePointContext) -> i32 {
    let sk = ctx.arg(0);
    state::changed(&Sock(sk), sk, ctx.arg::<u64>(1) as i32, ctx.arg::<u64>(2) as i32);
    0
}

#[raw_tracepoint]
pub fn sock_error(ctx: RawTracePointContext) -> i32 {
    let sock = Sock(ctx.arg(0));
    state::failed(&sock, || sock.error());
    0
}
