//! `socket` by a thread that works for a connection: remembers the type for the `connect` to come.

use wrapwatch_common::{maps::Watch, records::Class, syscalls::call};

use crate::{
    args::Call,
    watch::{calls, conns, fds},
};

/// `SOCK_*` without `SOCK_CLOEXEC` and `SOCK_NONBLOCK` (socket(2)).
const TYPE_MASK: u64 = 0xf;

#[inline(always)]
pub fn enter(ctx: &impl Call) {
    if let Some(conn) = conns::working_for() {
        let sock_type = (ctx.arg::<1>() & TYPE_MASK) as u8;
        calls::remember(call::SOCKET, 0, conn, 0, 0, Watch { sock_type, ..Watch::default() });
    }
}

#[inline(always)]
pub fn exit(ctx: &impl Call) {
    let Some(call) = calls::recall(call::SOCKET) else { return };
    let ret = ctx.ret() as i32;
    if ret >= 0 {
        fds::watch(ret, call.conn, Class::Socket, call.sock_type);
    }
}
