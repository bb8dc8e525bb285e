//! `socket` by a thread that works for a connection: remembers the type for the `connect` to come.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use wrapwatch_common::{maps::Watch, records::Class};

use crate::{args, maps::call, watch};

/// `SOCK_*` without `SOCK_CLOEXEC` and `SOCK_NONBLOCK` (socket(2)).
const TYPE_MASK: u64 = 0xf;

#[tracepoint]
pub fn sys_enter_socket(ctx: TracePointContext) -> u32 {
    if let Some(conn) = watch::working_for() {
        let sock_type = (args::arg!(&ctx, 1) & TYPE_MASK) as u8;
        watch::remember(call::SOCKET, 0, conn, 0, 0, Watch { sock_type, ..Watch::default() });
    }
    0
}

#[tracepoint]
pub fn sys_exit_socket(ctx: TracePointContext) -> u32 {
    let Some(call) = watch::recall(call::SOCKET) else { return 0 };
    let ret = args::ret(&ctx) as i32;
    if ret >= 0 {
        watch::watch(ret, call.conn, Class::Socket, call.sock_type);
    }
    0
}
