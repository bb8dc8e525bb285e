//! Raw tracepoints: `sys_enter` and `sys_exit` see every system call of the machine, so the first thing they do is to leave. What is left goes on
//! by tail call: from an enter by the call's number, from an exit by what the thread's enter left in `INFLIGHT`. They need no tracefs, and
//! are taken off at once.

use core::ffi::c_void;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use wrapwatch_common::syscalls::class;

use crate::{
    args::{self, Call as _},
    kernel::{self, Sock},
    maps::{ENTERS, EXITS, SYSCALLS},
    probes::{accept, close, connect, dup, life, open, peer, recv, send, socket, state, wait},
    watch::{calls, conns, fds, targets},
};

#[raw_tracepoint]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    let number = ctx.arg::<u64>(1) as u32;
    if conns::are_none(number) {
        return 0;
    }
    let class = SYSCALLS.get(number).copied().unwrap_or(class::OTHER);
    let matters = match class {
        class::OTHER => false,
        class::DESCRIPTOR | class::CLOSE => fds::may_be_watched(|| ctx.fd()),
        _ => true,
    };
    if !matters || !targets::is_current() || args::is_of_32_bits(&ctx) {
        return 0;
    }
    // SAFETY: what is in the map are programs of this file, loaded with it.
    unsafe { ENTERS.tail_call(&ctx, number) };
    0
}

#[raw_tracepoint]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    if let Some(call) = calls::in_flight() {
        // SAFETY: as above.
        unsafe { EXITS.tail_call(&ctx, u32::from(call)) };
    }
    0
}

/// A program that is reached by a tail call.
macro_rules! tail {
    ($side:literal $name:ident ()) => {};
    ($side:literal $name:ident ($handler:path)) => {
        const _: () = {
            #[unsafe(export_name = concat!($side, stringify!($name)))]
            #[unsafe(link_section = "raw_tp")]
            fn program(ctx: *mut c_void) -> u32 {
                $handler(&RawTracePointContext::new(ctx));
                0
            }
        };
    };
}

macro_rules! tails {
    ($(
        $end:ident = $number:literal $kind:ident $end_handler:tt {
            $($begin:ident $class:ident $handler:tt: $($(#[$cfg:meta])* $call:ident $constant:ident $need:ident),+;)*
        }
    )*) => {$(
        $(tail!("enter_" $begin $handler);)*
        tail!("exit_" $end $end_handler);
    )*};
}
wrapwatch_common::syscalls!(tails);

/// The first exit of a thread that was there before the probes: it may have been waiting in `accept`.
#[raw_tracepoint]
pub fn exit_midway(ctx: RawTracePointContext) -> i32 {
    calls::forget();
    let is_accept = SYSCALLS.get(args::number(&ctx)).is_some_and(|class| *class == class::ACCEPT);
    if is_accept && !args::is_of_32_bits(&ctx) {
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

/// The new thread, its `struct task_struct` behind the old one's. For both sets: perf's tracepoint does not tell threads from processes.
#[raw_tracepoint]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    life::fork(kernel::task_key(ctx.arg(1)));
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
