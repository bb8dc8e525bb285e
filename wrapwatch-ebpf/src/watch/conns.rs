//! Open connections, and which thread works for which.

use aya_ebpf::bindings::BPF_NOEXIST;
use wrapwatch_common::{
    counters::Counter,
    maps::{Conn, Thread, Watch},
    records::Class,
    syscalls::NUMBERS,
};

use super::targets;
use crate::{
    counts::count,
    kernel::{self, now},
    maps::{CONNS, GATE, LAST_CONN, SOCKS, THREADS},
    shared::{add, add_to, load},
};

/// Whether a call of this number can do nothing that matters, whoever makes it: no connection is open. Asked at every call of the machine, before
/// anything else.
#[inline(always)]
pub fn are_none(number: u32) -> bool {
    const WORDS: u32 = NUMBERS / 64;
    load!(GATE, conns) == 0 && load!(GATE, always[(number / 64 % WORDS) as usize]) >> (number % 64) & 1 == 0
}

/// Whether a connection is still open.
#[inline(always)]
pub fn is_open(conn: u64) -> bool {
    CONNS.get_ptr(conn).is_some()
}

/// The open connection that the current thread works for.
#[inline(always)]
pub fn working_for() -> Option<u64> {
    worked_for(targets::thread())
}

/// The same of any thread.
#[inline(always)]
pub fn worked_for(thread: u64) -> Option<u64> {
    // SAFETY: as in `fds::watched`.
    let conn = unsafe { THREADS.get(thread) }?.conn;
    if conn != 0 && is_open(conn) { Some(conn) } else { None }
}

/// Whether its socket's own end is a connection's.
#[inline(always)]
pub fn ends_by_socket(conn: u64) -> bool {
    // SAFETY: a live map value.
    CONNS.get_ptr(conn).is_some_and(|state| unsafe { (*state).socket_ends } != 0)
}

/// Whether the current thread accepted it.
#[inline(always)]
pub fn is_acceptor(conn: u64) -> bool {
    // SAFETY: a live map value, whose acceptor does not change.
    CONNS.get_ptr(conn).is_some_and(|state| unsafe { (*state).acceptor } == targets::thread())
}

/// Makes the current thread work for a connection. If it is in a check, it stays in that.
#[inline(always)]
pub fn work_for(conn: u64) {
    let thread = targets::thread();
    match THREADS.get_ptr_mut(thread) {
        // SAFETY: only this thread writes its entry.
        Some(value) => unsafe {
            // Between lookups, or in one: in a check it is told for whom that is.
            if (*value).in_check == 0 {
                forget_subject((*value).conn);
                forget_subject((*value).before);
            }
            (*value).conn = conn;
        },
        None => {
            set(thread, Thread { conn, ..Thread::default() });
        }
    }
}

/// Says what a thread works for; false where there is no room.
#[inline(always)]
pub fn set(thread: u64, value: Thread) -> bool {
    let set = THREADS.insert(thread, value, 0).is_ok();
    if !set {
        count(Counter::FullThreads);
    }
    set
}

/// A thread works for a connection no longer.
#[inline(always)]
pub fn leave(thread: u64, conn: u64) {
    // SAFETY: as in `fds::watched`.
    if unsafe { THREADS.get(thread) }.is_some_and(|value| value.conn == conn) {
        let _ = THREADS.remove(thread);
    }
}

/// The open connection of a socket.
#[inline(always)]
pub fn of_socket(sk: u64) -> Option<u64> {
    if sk == 0 {
        return None;
    }
    // SAFETY: a number, written once.
    let conn = *unsafe { SOCKS.get(sk) }?;
    if is_open(conn) { Some(conn) } else { None }
}

/// The current thread's connection, where this descriptor of another process, which it has inherited or was given, is of its socket.
#[inline(always)]
pub fn inherited(fd: i32) -> Option<u64> {
    let conn = working_for()?;
    // SAFETY: a live map value, whose socket does not change.
    let sk = unsafe { (*CONNS.get_ptr(conn)?).sk };
    if sk != 0 && kernel::sock_of(fd) == sk { Some(conn) } else { None }
}

/// A descriptor of a connection's socket goes, and it is not the last one, or the socket's own end tells of that. An acceptor that has made a process for it works for it no longer.
/// Of a socket that its client has reset no end is told: that of the process which was made for it is.
#[inline(always)]
pub fn lets_go(conn: u64) -> bool {
    let Some(state) = CONNS.get_ptr_mut(conn) else { return false };
    // SAFETY: a live map value.
    unsafe {
        let thread = targets::thread();
        let given_away = (*state).acceptor == thread && !targets::is_made();
        if (*state).sk == 0 || (*state).socket_ends == 0 || ((*state).reset != 0 && !given_away) {
            return false;
        }
        ((*state).let_go_by, (*state).let_go_ns) = (thread, now());
        if given_away {
            leave(thread, conn);
        }
    }
    true
}

/// The connection to which a call on a watched descriptor belongs. Sockets of syslog and the like outlive the connection that opened
/// them: they belong to whom they serve now.
#[inline(always)]
pub fn owner(watch: &Watch) -> Option<u64> {
    if watch.class == Class::Unix as u8 || watch.class == Class::Other as u8 {
        working_for()
    } else if is_open(watch.conn) {
        Some(watch.conn)
    } else {
        None
    }
}

/// Gives a new connection its number and opens it; None where no more can be tracked.
#[inline(always)]
pub fn open(sk: u64, socket_ends: u32, reset: u32) -> Option<u64> {
    let conn = number(Conn { sk, socket_ends, reset, ..Conn::default() })?;
    if sk != 0 && SOCKS.insert(sk, conn, 0).is_err() {
        count(Counter::FullConns);
    }
    Some(conn)
}

/// Enters it under a new number, as the current thread's.
///
/// There is no atomic fetch-and-add for programs on Linux 5.10, so inserting the number only where it is new is
/// what makes it unique: of two CPUs that read the same last number, one goes on to the next. It never goes back, also where a thread is preempted here.
#[inline(always)]
pub(super) fn number(new: Conn) -> Option<u64> {
    let last = LAST_CONN.get_ptr_mut(0)?;
    let new = Conn { process: (targets::named() >> 32) as u32, acceptor: targets::thread(), ..new };
    for _ in 0..8 {
        // SAFETY: the slot is a live map value, an aligned `u64`; a racing update costs one more turn.
        let conn = unsafe {
            add_to(last, 1);
            last.read_volatile()
        };
        if CONNS.insert(conn, new, u64::from(BPF_NOEXIST)).is_ok() {
            add!(GATE, conns, 1);
            return Some(conn);
        }
    }
    count(Counter::FullConns);
    None
}

/// Whether the accepted socket of a connection has other descriptors than the one that goes now, which is then no longer counted.
#[inline(always)]
pub fn is_left_open(conn: u64) -> bool {
    let Some(state) = CONNS.get_ptr_mut(conn) else { return false };
    // SAFETY: a live map value; see `dup::exit`.
    unsafe {
        if (*state).duplicates == 0 {
            return false;
        }
        (*state).duplicates -= 1;
    }
    true
}

/// A connection's story is told: its threads and descriptors no longer count.
#[inline(always)]
pub fn close(conn: u64) {
    let sk = match CONNS.get_ptr(conn) {
        // SAFETY: a live map value, whose socket does not change.
        Some(state) => unsafe { (*state).sk },
        None => return,
    };
    // The place of one whose end was not seen may be another's by now.
    // SAFETY: a number, written once.
    if sk != 0 && unsafe { SOCKS.get(sk) } == Some(&conn) {
        let _ = SOCKS.remove(sk);
    }
    if CONNS.remove(conn).is_ok() {
        add!(GATE, conns, u64::MAX);
    }
}

/// Whether it is a request, see [`super::subjects`].
#[inline(always)]
pub fn is_subject(conn: u64) -> bool {
    // SAFETY: a live map value, in which this does not change.
    CONNS.get_ptr(conn).is_some_and(|state| unsafe { (*state).subject } != 0)
}

/// Whether it is a request that is over once its thread turns to something else. A login goes on: another thread of a pool may have it then.
#[inline(always)]
pub fn is_passing_subject(conn: u64) -> bool {
    // SAFETY: as in `is_subject`.
    let subject = CONNS.get_ptr(conn).map_or(0, |state| unsafe { (*state).subject });
    matches!(subject, Conn::ASKED | Conn::LOOKED_UP)
}

/// If it is such a request, it counts no longer.
#[inline(always)]
pub fn forget_subject(conn: u64) {
    if is_passing_subject(conn) {
        close(conn);
    }
}
