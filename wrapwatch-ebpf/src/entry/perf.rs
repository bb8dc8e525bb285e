//! Tracepoints through perf_event_open(2): one program for each call's enter and exit. They need tracefs, on most systems CAP_SYS_ADMIN, and
//! some seventy milliseconds each to be taken off.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};

use crate::{
    args::field,
    probes::{
        accept, close, connect, dup, life, open, peer, recv, send, socket,
        state::{self, Socket},
        wait,
    },
    watch,
};

macro_rules! syscalls {
    ($($program:ident => $handler:path),* $(,)?) => {$(
        #[tracepoint]
        pub fn $program(ctx: TracePointContext) -> u32 {
            if watch::of_target() {
                $handler(&ctx);
            }
            0
        }
    )*};
}

syscalls! {
    sys_enter_accept => accept::enter,
    sys_exit_accept => accept::exit,
    sys_enter_accept4 => accept::enter,
    sys_exit_accept4 => accept::exit,
    sys_enter_open => open::open,
    sys_exit_open => open::exit,
    sys_enter_openat => open::openat,
    sys_exit_openat => open::exit,
    sys_enter_openat2 => open::openat,
    sys_exit_openat2 => open::exit,
    sys_enter_socket => socket::enter,
    sys_exit_socket => socket::exit,
    sys_enter_connect => connect::enter,
    sys_exit_connect => connect::exit,
    sys_enter_read => recv::read,
    sys_exit_read => recv::exit_buffer,
    sys_enter_readv => recv::readv,
    sys_exit_readv => recv::exit_buffer,
    sys_enter_recvfrom => recv::recvfrom,
    sys_exit_recvfrom => recv::exit_buffer,
    sys_enter_recvmsg => recv::recvmsg,
    sys_exit_recvmsg => recv::exit_recvmsg,
    sys_enter_recvmmsg => recv::recvmmsg,
    sys_exit_recvmmsg => recv::exit_recvmmsg,
    sys_enter_write => send::write,
    sys_exit_write => send::exit,
    sys_enter_writev => send::writev,
    sys_exit_writev => send::exit,
    sys_enter_sendto => send::sendto,
    sys_exit_sendto => send::exit,
    sys_enter_sendmsg => send::sendmsg,
    sys_exit_sendmsg => send::exit,
    sys_enter_sendmmsg => send::sendmmsg,
    sys_exit_sendmmsg => send::exit,
    sys_enter_close => close::close,
    sys_enter_shutdown => close::shutdown,
    sys_enter_dup => dup::dup,
    sys_exit_dup => dup::exit,
    sys_enter_dup2 => dup::dup2,
    sys_exit_dup2 => dup::exit,
    sys_enter_dup3 => dup::dup2,
    sys_exit_dup3 => dup::exit,
    sys_enter_fcntl => dup::fcntl,
    sys_exit_fcntl => dup::exit,
    sys_enter_close_range => dup::close_range,
    sys_enter_getpeername => peer::enter,
    sys_exit_getpeername => peer::exit,
    sys_enter_wait4 => wait::enter,
    sys_exit_wait4 => wait::exit,
}

#[tracepoint]
pub fn sched_process_exit(_ctx: TracePointContext) -> u32 {
    life::exit();
    0
}

#[tracepoint]
pub fn sched_process_exec(_ctx: TracePointContext) -> u32 {
    life::exec();
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
