//! `open`, `openat`, `openat2` by a thread that works for a connection.

use wrapwatch_common::{
    counters::Counter,
    maps::Watch,
    records::{Class, Kind, Open, PATH_MAX},
    syscalls::call,
};

use crate::{
    args::Call,
    emit, kernel, user,
    watch::{calls, conns, fds},
};

#[inline(always)]
pub fn open(ctx: &impl Call) {
    enter(ctx.arg::<0>());
}

/// openat, openat2
#[inline(always)]
pub fn openat(ctx: &impl Call) {
    enter(ctx.arg::<1>());
}

#[inline(always)]
fn enter(path: u64) {
    if let Some(conn) = conns::working_for() {
        calls::remember(call::OPEN, 0, conn, path, 0, Watch::default());
    }
}

/// The path is read here: at enter its page may not be there yet.
#[inline(always)]
pub fn exit(ctx: &impl Call) {
    let Some(call) = calls::recall(call::OPEN) else { return };
    let ts = kernel::now();
    let ret = ctx.ret() as i32;
    if ret >= 0 {
        fds::watch(ret, call.conn, Class::File, 0);
    }
    emit::with_tail::<Open, { PATH_MAX as u64 }>(
        Counter::LostFile,
        // SAFETY: there is room for the longest record's tail, more than a path's and its NUL.
        |tail| unsafe { user::copy_str::<{ PATH_MAX as u64 + 1 }>(tail, call.ptr) },
        |path_len, len| {
            let hdr = emit::header(Kind::Open, call.conn, ts, len);
            Open { hdr, enter_ns: call.enter_ns, ret, path_len, pad: 0 }
        },
    );
}
