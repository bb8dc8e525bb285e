//! Trampolines (fentry, fexit): programs on functions of the kernel, which cost nothing where those are not called. Most are on the calls' own functions
//! (`__x64_sys_*`). What a busy server does all day, sending and receiving on TCP, is met in the protocols' functions, of which of TCP only the beginning of a
//! send is hooked: a query costs one look at one variable.

use core::ffi::c_void;

#[cfg(bpf_target_arch = "aarch64")]
use wrapwatch_common::syscalls::number::aarch64 as number;
#[cfg(bpf_target_arch = "x86_64")]
use wrapwatch_common::syscalls::number::x86_64 as number;
use wrapwatch_common::syscalls::{call, class};

use crate::{
    args::{Call as _, Trampoline},
    maps::GATE,
    probes::{accept, close, connect, dup, local, open, peer, recv, send, socket, wait},
    shared::load,
    watch::{calls, fds, targets},
};

/// Whether a call of this class can matter, whoever makes it. As `sys_enter` finds out, but for the class, which is known here.
#[inline(always)]
fn matters(class: u32, ctx: &Trampoline) -> bool {
    if !class::always(class) && load!(GATE, conns) == 0 {
        return false;
    }
    let may_be_watched = match class {
        class::DESCRIPTOR | class::CLOSE => fds::may_be_watched(|| ctx.fd()),
        _ => true,
    };
    may_be_watched && targets::is_current()
}

/// A program for a function: its name says which.
macro_rules! program {
    ($side:literal $function:ident $body:expr) => {
        const _: () = {
            #[unsafe(export_name = concat!($side, "_", stringify!($function)))]
            #[unsafe(link_section = $side)]
            fn program(ctx: *mut c_void) -> i32 {
                $body(ctx);
                0
            }
        };
    };
}

/// The programs on a call's own function; none for the calls that are met in the protocols' functions.
macro_rules! of_call {
    ($side:literal recvfrom $($rest:tt)*) => {};
    ($side:literal recvmsg $($rest:tt)*) => {};
    ($side:literal write $($rest:tt)*) => {};
    ($side:literal writev $($rest:tt)*) => {};
    ($side:literal sendto $($rest:tt)*) => {};
    ($side:literal sendmsg $($rest:tt)*) => {};
    ("fexit" $call:ident $class:ident ()) => {};
    ("fexit" accept $class:ident $handler:tt) => {
        program!("fexit" accept |ctx| accept::exit_untold(&Trampoline::of_call(ctx)));
    };
    ("fexit" accept4 $class:ident $handler:tt) => {
        program!("fexit" accept4 |ctx| accept::exit_untold(&Trampoline::of_call(ctx)));
    };
    ("fexit" $call:ident $class:ident ($handler:path)) => {
        program!("fexit" $call |ctx| $handler(&Trampoline::of_call(ctx)));
    };
    ("fentry" $call:ident $class:ident ($handler:path)) => {
        program!("fentry" $call |ctx| {
            let ctx = Trampoline::of_call(ctx);
            if matters(class::$class, &ctx) {
                $handler(&ctx);
            }
        });
    };
}

macro_rules! calls {
    ($(
        $end:ident = $number:literal $kind:ident $end_handler:tt {
            $($begin:ident $class:ident $handler:tt: $($(#[$cfg:meta])* $call:ident $constant:ident $need:ident),+;)*
        }
    )*) => {$($($(
        of_call!("fentry" $call $class $handler);
        of_call!("fexit" $call $class $end_handler);
    )+)*)*};
}
wrapwatch_common::syscalls!(calls);

/// Where a protocol's function begins: whatever reaches it within a system call of the target.
#[inline(always)]
fn within(ctx: *mut c_void, handler: impl FnOnce(&Trampoline)) {
    if load!(GATE, conns) == 0 || !targets::is_current() {
        return;
    }
    let ctx = Trampoline::within(ctx);
    if fds::may_be_watched(|| ctx.fd()) && !ctx.is_of_32_bits() {
        handler(&ctx);
    }
}

#[inline(always)]
fn sends(ctx: &Trampoline) {
    match ctx.number() {
        number::WRITE | number::SENDTO => send::buffer(ctx, ctx.number() == number::SENDTO),
        number::WRITEV => send::writev(ctx),
        number::SENDMSG => send::sendmsg(ctx),
        _ => {}
    }
}

#[inline(always)]
fn receives(ctx: &Trampoline) {
    match ctx.number() {
        number::RECVFROM => recv::recvfrom(ctx),
        number::RECVMSG => recv::recvmsg(ctx),
        _ => {}
    }
}

macro_rules! protocols {
    (sends: $($send:ident)*; receives: $($receive:ident)*;) => {
        $(
            program!("fentry" $send |ctx| within(ctx, sends));
            program!("fexit" $send |ctx| send::exit(&Trampoline::within(ctx)));
        )*
        $(
            program!("fentry" $receive |ctx| within(ctx, receives));
            program!("fexit" $receive |ctx| recv::exit_within(&Trampoline::within(ctx)));
        )*
    };
}
protocols! {
    sends: udp_sendmsg udpv6_sendmsg unix_stream_sendmsg unix_dgram_sendmsg;
    receives: udp_recvmsg udpv6_recvmsg unix_stream_recvmsg unix_dgram_recvmsg tcp_recvmsg;
}

/// The end of these is not looked at: it would be the dearest of all.
macro_rules! beginnings {
    ($($send:ident)*) => {
        $(program!("fentry" $send |ctx| {
            within(ctx, |ctx| {
                sends(ctx);
                let _ = calls::recall(call::WRITE);
            });
        });)*
    };
}
beginnings!(tcp_sendmsg mptcp_sendmsg);

// A descriptor comes to be: of the accepted socket, also where the call began before the probes were there, of whose end no trampoline tells.
program!("fentry" fd_install |ctx| {
    if targets::is_current() {
        let ctx = Trampoline::within(ctx);
        if matches!(ctx.number(), number::ACCEPT | number::ACCEPT4) && !ctx.is_of_32_bits() {
            accept::installed(&ctx, ctx.given::<0>() as i32, ctx.given::<1>());
        }
    }
});

// Whatever set of hooks there is, where a target listens on a unix socket. Its name is not that of a program which sees system calls.
const _: () = {
    #[unsafe(export_name = "local_connect")]
    #[unsafe(link_section = "fentry")]
    fn program(ctx: *const u64) -> i32 {
        // SAFETY: arguments are words in a row, and the function has three: the client's socket, the listener, the one that is accepted later.
        let (listener, sk) = unsafe { (ctx.add(1).read(), ctx.add(2).read()) };
        local::queued(listener, sk);
        0
    }
};
