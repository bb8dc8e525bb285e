//! Tracepoints through perf_event_open(2): one program for each call's enter and exit. They need tracefs, on most systems CAP_SYS_ADMIN, and
//! some seventy milliseconds each to be taken off.

use core::ffi::c_void;

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};

use crate::{
    args::field,
    probes::{accept, close, connect, dup, life, open, peer, recv, send, socket, state, wait},
    sockaddr::Socket,
    watch::targets,
};

/// A program on a call's tracepoint.
macro_rules! tracepoint {
    ($side:literal $call:ident ()) => {};
    ($side:literal $call:ident ($handler:path)) => {
        const _: () = {
            #[unsafe(export_name = concat!($side, stringify!($call)))]
            #[unsafe(link_section = "tracepoint")]
            fn program(ctx: *mut c_void) -> u32 {
                if targets::is_current() {
                    $handler(&TracePointContext::new(ctx));
                }
                0
            }
        };
    };
}

macro_rules! tracepoints {
    ($(
        $end:ident = $number:literal $kind:ident $end_handler:tt {
            $($begin:ident $class:ident $handler:tt: $($(#[$cfg:meta])* $call:ident $constant:ident $need:ident),+;)*
        }
    )*) => {$($($(
        tracepoint!("sys_enter_" $call $handler);
        tracepoint!("sys_exit_" $call $end_handler);
    )+)*)*};
}
wrapwatch_common::syscalls!(tracepoints);

#[tracepoint]
pub fn sched_process_exit(_ctx: TracePointContext) -> u32 {
    life::exit();
    0
}

#[tracepoint]
pub fn sched_process_exec(ctx: TracePointContext) -> u32 {
    // `old_pid`, the same on 5.10 to 7.2: behind the name's place and `pid`.
    life::exec(field(&ctx, 16));
    0
}

#[tracepoint]
pub fn inet_sock_set_state(ctx: TracePointContext) -> u32 {
    state::changed(&Changed(&ctx), field(&ctx, 8), field(&ctx, 16), field(&ctx, 20));
    0
}

#[tracepoint]
pub fn inet_sk_error_report(ctx: TracePointContext) -> u32 {
    state::failed(&Failed(&ctx), || field(&ctx, 8));
    0
}

/// Layout of `sock:inet_sock_set_state`, the same on 5.10 to 7.2; see its `format`. The `_v6` addresses are filled for IPv4 too, v4-mapped.
struct Changed<'a>(&'a TracePointContext);

/// As [`Changed`], of `sock:inet_sk_error_report`.
struct Failed<'a>(&'a TracePointContext);

macro_rules! socket {
    ($type:ident, $local_port:literal, $peer_port:literal, $family:literal, $protocol:literal, $local_ip:literal, $peer_ip:literal) => {
        impl Socket for $type<'_> {
            #[inline(always)]
            fn protocol(&self) -> u16 {
                field(self.0, $protocol)
            }

            #[inline(always)]
            fn family(&self) -> u16 {
                field(self.0, $family)
            }

            #[inline(always)]
            fn local_port(&self) -> u16 {
                field(self.0, $local_port)
            }

            #[inline(always)]
            fn peer_port(&self) -> u16 {
                field(self.0, $peer_port)
            }

            #[inline(always)]
            fn local_ip(&self, _family: u16) -> [u8; 16] {
                ip(self.0, $local_ip)
            }

            #[inline(always)]
            fn peer_ip(&self, _family: u16) -> [u8; 16] {
                ip(self.0, $peer_ip)
            }
        }
    };
}

socket!(Changed, 24, 26, 28, 30, 40, 56);
socket!(Failed, 12, 14, 16, 18, 28, 44);

/// Sixteen bytes of the context, by words that the verifier sees as aligned.
#[inline(always)]
fn ip(ctx: &TracePointContext, offset: usize) -> [u8; 16] {
    let words: [u32; 4] = field(ctx, offset);
    let mut ip = [0; 16];
    let mut i = 0;
    while i < 4 {
        let bytes = words[i].to_ne_bytes();
        ip[4 * i] = bytes[0];
        ip[4 * i + 1] = bytes[1];
        ip[4 * i + 2] = bytes[2];
        ip[4 * i + 3] = bytes[3];
        i += 1;
    }
    ip
}
