//! Clients without a connection that is followed, about whom libwrap is asked, or whom the server looks up by itself: numbered as connections are.

use wrapwatch_common::maps::{Conn, SAME_SUBJECT_NS, Thread};

use super::{conns, targets};
use crate::{
    kernel::now,
    maps::{CONNS, THREADS},
};

/// Opens one, for which the current thread works from now on; `in_check` is its [`Thread::in_check`]. 0 where there is no room.
#[inline(always)]
pub fn open(subject: u32, in_check: u32) -> u64 {
    let thread = targets::thread();
    let value = current(thread);
    let conn = conns::number(Conn { subject, ..Conn::default() }).unwrap_or(0);
    conns::set(thread, Thread { conn, in_check, before: value.conn, ..value });
    conn
}

/// What a thread works for, or worked for last.
#[inline(always)]
pub fn current(thread: u64) -> Thread {
    // SAFETY: only this thread writes its entry.
    unsafe { THREADS.get(thread) }.copied().unwrap_or_default()
}

/// Which connection the current thread had last, where it is one of a process that was made for that: what it asks now is within it. 0 otherwise.
#[inline(always)]
pub fn within() -> u64 {
    if targets::is_made() { current(targets::thread()).conn } else { 0 }
}

/// Whether the current thread was made for a client that has had its first byte: whom it looks up now is that one. What serves several, one after another, may do so for its log, when
/// nobody waits any more.
#[inline(always)]
pub fn may_look_up() -> bool {
    within() != 0 && current(targets::thread()).made_for != 0
}

/// The current thread asks a nameserver after the first byte: its subject where it has just asked one, as `Ok`, or a new one.
#[inline(always)]
pub fn looks_up() -> Result<u64, u64> {
    let thread = targets::thread();
    let value = current(thread);
    if let Some(state) = CONNS.get_ptr(value.before) {
        // SAFETY: a live map value.
        let (subject, since) = unsafe { ((*state).subject, (*state).let_go_ns) };
        if subject == Conn::LOOKED_UP && now() - since < SAME_SUBJECT_NS {
            conns::set(thread, Thread { conn: value.before, before: value.conn, ..value });
            return Ok(value.before);
        }
    }
    conns::forget_subject(value.before);
    Err(open(Conn::LOOKED_UP, 0))
}

/// A nameserver's socket is closed: the lookup is over, unless there is another at once.
#[inline(always)]
pub fn looked_up(conn: u64) {
    let Some(state) = CONNS.get_ptr_mut(conn) else { return };
    // SAFETY: a live map value.
    unsafe {
        if (*state).subject != Conn::LOOKED_UP {
            return;
        }
        (*state).let_go_ns = now();
    }
    let thread = targets::thread();
    let value = current(thread);
    if value.conn == conn {
        conns::set(thread, Thread { conn: value.before, before: conn, ..value });
    }
}
