//! Does a call matter? Look-ups, and the life of connections, watched descriptors and remembered calls.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_get_current_pid_tgid};
use wrapwatch_common::{
    counters::Counter,
    maps::{Conn, Inflight, NOBODY, Target, Thread, Watch, watch_key},
    records::Class,
};

use crate::{
    emit::{count, now},
    maps::{CONNS, INFLIGHT, LAST_CONN, ONLY_TARGET, TARGETS, THREADS, WATCH},
};

/// The current thread's key; its high half is the process.
#[inline(always)]
pub fn thread() -> u64 {
    bpf_get_current_pid_tgid()
}

/// The current process.
#[inline(always)]
pub fn process() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Whether the current process is a target. Asked at every hooked call of the machine: of one target it takes a comparison, of several a look-up.
#[inline(always)]
pub fn of_target() -> bool {
    match ONLY_TARGET.get(0) {
        Some(&only) if only != 0 => only == process(),
        // SAFETY: nothing of the value is read.
        _ => unsafe { TARGETS.get(process()) }.is_some(),
    }
}

/// The current process ends: whoever gets its number next is no target. User space hears of the end later.
#[inline(always)]
pub fn let_go() {
    let process = process();
    let _ = TARGETS.remove(process);
    if let Some(only) = ONLY_TARGET.get_ptr_mut(0) {
        // SAFETY: a live map value. User space writes it too: what it writes is about another target, or comes to the same.
        unsafe {
            if *only == process {
                *only = NOBODY;
            }
        }
    }
}

/// The current process, if it is a target.
#[inline(always)]
pub fn target() -> Option<Target> {
    // SAFETY: values are written by user space only, whole and before they count; a torn read is of one integer.
    unsafe { TARGETS.get(process()) }.copied()
}

/// The watched descriptor `fd` of the current process.
#[inline(always)]
pub fn watched(fd: i32) -> Option<Watch> {
    // SAFETY: an entry is changed only by threads that use this descriptor; a stale one gives a stale connection number, never a bad access.
    unsafe { WATCH.get(watch_key(process(), fd)) }.copied()
}

/// Watches a descriptor of the current process.
#[inline(always)]
pub fn watch(fd: i32, conn: u64, class: Class, sock_type: u8) {
    watch_as(fd, conn, class as u8, sock_type);
}

/// As [`watch`], by the class's number.
#[inline(always)]
pub fn watch_as(fd: i32, conn: u64, class: u8, sock_type: u8) {
    let value = Watch { conn, class, sock_type, pad: [0; 6] };
    if WATCH.insert(watch_key(process(), fd), value, 0).is_err() {
        count(Counter::FullWatch);
    }
}

/// Forgets a descriptor of the current process.
#[inline(always)]
pub fn unwatch(fd: i32) {
    let _ = WATCH.remove(watch_key(process(), fd));
}

/// Whether a connection is still open.
#[inline(always)]
pub fn open(conn: u64) -> bool {
    CONNS.get_ptr(conn).is_some()
}

/// The open connection that the current thread works for.
#[inline(always)]
pub fn working_for() -> Option<u64> {
    // SAFETY: as in `watched`.
    let conn = unsafe { THREADS.get(thread()) }?.conn;
    if open(conn) { Some(conn) } else { None }
}

/// Makes the current thread work for a connection.
#[inline(always)]
pub fn work_for(conn: u64) {
    if THREADS.insert(thread(), Thread { conn }, 0).is_err() {
        count(Counter::FullThreads);
    }
}

/// The connection to which a call on a watched descriptor belongs. Sockets of syslog and the like outlive the connection that opened
/// them: they belong to whom they serve now.
#[inline(always)]
pub fn owner(watch: &Watch) -> Option<u64> {
    if watch.class == Class::Unix as u8 || watch.class == Class::Other as u8 {
        working_for()
    } else if open(watch.conn) {
        Some(watch.conn)
    } else {
        None
    }
}

/// Gives a new connection its number and opens it; None where no more can be tracked.
///
/// There is no atomic fetch-and-add for programs on Linux 5.10, so inserting the number only where it is new is
/// what makes it unique: of two CPUs that read the same last number, one goes on to the next.
#[inline(always)]
pub fn open_conn() -> Option<u64> {
    let last = LAST_CONN.get_ptr_mut(0)?;
    for _ in 0..8 {
        // SAFETY: the slot is a live map value; a racing update costs one more turn.
        let conn = unsafe {
            *last += 1;
            *last
        };
        if CONNS.insert(conn, Conn::default(), u64::from(BPF_NOEXIST)).is_ok() {
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
pub fn close_conn(conn: u64) {
    let _ = CONNS.remove(conn);
}

/// Remembers a call until its exit.
#[inline(always)]
pub fn remember(call: u8, fd: i32, conn: u64, ptr: u64, aux: u64, watch: Watch) {
    let value = Inflight {
        enter_ns: now(),
        conn,
        ptr,
        aux,
        fd,
        call,
        class: watch.class,
        sock_type: watch.sock_type,
        pad: 0,
    };
    if INFLIGHT.insert(thread(), value, 0).is_err() {
        count(Counter::FullInflight);
    }
}

/// The sort of call that the current thread is in, where it was remembered.
#[inline(always)]
pub fn in_flight() -> Option<u8> {
    // SAFETY: only this thread writes its entry.
    unsafe { INFLIGHT.get(thread()) }.map(|value| value.call)
}

/// Forgets the call that the current thread is in.
#[inline(always)]
pub fn forget() {
    let _ = INFLIGHT.remove(thread());
}

/// The call that the current thread returns from, if it was remembered and is of this sort.
#[inline(always)]
pub fn recall(call: u8) -> Option<Inflight> {
    let key = thread();
    // SAFETY: only this thread writes its entry.
    let value = *unsafe { INFLIGHT.get(key) }?;
    if value.call != call {
        return None;
    }
    let _ = INFLIGHT.remove(key);
    Some(value)
}
