//! `dup`, `dup2`, `dup3`, `fcntl`: a descriptor gets a second number, which is watched as the first is. `dup2`, `dup3` and `close_range` also close without
//! `close`: a descriptor must never stay watched when something else took its number, for what is written to it next may be anything.

use wrapwatch_common::{maps::Watch, records::Class, syscalls::call};

use super::close::closed;
use crate::{
    args::Call,
    maps::CONNS,
    watch::{calls, conns, fds},
};

/// Descriptors of one `close_range` that are looked at, of which each costs Linux 6.1's verifier 2000 instructions; a target that closes more at once
/// is on its way to `exec`, which ends watching anyway.
const RANGE_MAX: u64 = 16;
/// `F_DUPFD` (fcntl(2)).
const F_DUPFD: u64 = 0;
/// `F_DUPFD_CLOEXEC`
const F_DUPFD_CLOEXEC: u64 = 1030;

#[inline(always)]
pub fn close_range(ctx: &impl Call) {
    let first = ctx.arg::<0>();
    let last = ctx.arg::<1>() & 0xffff_ffff;
    for n in 0..RANGE_MAX {
        if first + n > last {
            break;
        }
        let fd = (first + n) as i32;
        if let Some(watched) = fds::watched(fd) {
            closed(fd, &watched);
        }
    }
}

#[inline(always)]
pub fn dup(ctx: &impl Call) {
    let fd = ctx.fd();
    if let Some(watched) = fds::watched(fd) {
        begun(fd, &watched);
    }
}

#[inline(always)]
pub fn fcntl(ctx: &impl Call) {
    let fd = ctx.fd();
    let Some(watched) = fds::watched(fd) else { return };
    let command = ctx.arg::<1>() & 0xffff_ffff;
    if command == F_DUPFD || command == F_DUPFD_CLOEXEC {
        begun(fd, &watched);
    }
}

/// dup2, dup3
#[inline(always)]
pub fn dup2(ctx: &impl Call) {
    let (from, to) = (ctx.fd(), ctx.arg::<1>() as i32);
    if from == to {
        return;
    }
    if let Some(replaced) = fds::watched(to) {
        closed(to, &replaced);
    }
    if let Some(watched) = fds::watched(from) {
        begun(from, &watched);
    }
}

/// A story that has been told is not begun again by a duplicate of its socket, and a login is followed by the socket's first number.
#[inline(always)]
fn begun(fd: i32, watched: &Watch) {
    if watched.class != Class::Login as u8 && conns::is_open(watched.conn) {
        calls::remember(call::DUP, fd, watched.conn, 0, 0, *watched);
    }
}

#[inline(always)]
pub fn exit(ctx: &impl Call) {
    let Some(call) = calls::recall(call::DUP) else { return };
    let ret = ctx.ret() as i32;
    if ret < 0 || ret == call.fd {
        return;
    }
    if call.class == Class::Accepted as u8 {
        let Some(state) = CONNS.get_ptr_mut(call.conn) else { return };
        // SAFETY: a live map value; threads that duplicate one client's socket at the same time are not known of any server.
        unsafe { (*state).duplicates += 1 };
    }
    fds::watch_as(ret, call.conn, call.class, call.sock_type);
}
