//! Does a call matter? Look-ups, and the life of connections, watched descriptors and remembered calls.

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    helpers::bpf_get_current_pid_tgid,
    maps::Array,
};
use wrapwatch_common::{
    counters::Counter,
    maps::{Conn, Inflight, NOBODY, Target, Thread, Watch, call_slot, watch_key},
    records::Class,
};

use crate::{
    emit::{count, now},
    maps::{
        ALL_CALLS, ALL_CONNS, ALL_FDS, CALLS, CONNS, FDS, INFLIGHT, LAST_CONN, ONLY_TARGET, TARGETS, THREADS,
        WATCH,
    },
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
    match only_target() {
        0 => {
            // SAFETY: nothing of the value is read.
            unsafe { TARGETS.get(process()) }.is_some()
        }
        only => only == process(),
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

#[inline(always)]
fn only_target() -> u32 {
    ONLY_TARGET.get(0).copied().unwrap_or(0)
}

/// Whether a descriptor of a target may be watched: no needs no look-up, and where there are no `entries` not even the descriptor, which takes the
/// call of a helper. Entries: connections, without which nothing but a close matters, or watched descriptors.
#[inline(always)]
pub fn may_be_watched(entries: &Array<u64>, fd: impl FnOnce() -> i32) -> bool {
    let only = only_target();
    if only == 0 {
        return true;
    }
    if entries.get(0).is_some_and(|entries| *entries == 0) {
        return false;
    }
    let fd = fd();
    fd >= 0 && FDS.get(fd as u32).is_none_or(|process| *process == only)
}

/// Whether the current thread is a target's and may be in a call that was remembered: no needs no look-up. Asked at every exit of the machine: mostly
/// nobody is in one, which is found out without the call of a helper.
#[inline(always)]
pub fn may_be_in_flight() -> bool {
    let only = only_target();
    if only != 0 && ALL_CALLS.get(0).is_some_and(|entries| *entries == 0) {
        return false;
    }
    let thread = thread();
    let process = (thread >> 32) as u32;
    if only == 0 {
        // SAFETY: nothing of the value is read.
        return unsafe { TARGETS.get(process) }.is_some();
    }
    only == process && CALLS.get(call_slot(thread as u32)).is_none_or(|entries| *entries != 0)
}

/// Notes whose the descriptor is, for [`may_be_watched`].
#[inline(always)]
fn mark_fd(fd: i32, process: u32) {
    if let Some(slot) = FDS.get_ptr_mut(fd as u32) {
        // SAFETY: a live map value. Nobody else writes it meanwhile: a descriptor's number is one thread's from its opening to its closing.
        unsafe { slot.write_volatile(process) };
    }
}

/// Notes that the thread has an entry more, or (`u64::MAX`) less, for [`may_be_in_flight`].
#[inline(always)]
fn add_call(thread: u64, n: u64) {
    add(CALLS.get_ptr_mut(call_slot(thread as u32)), n);
    add(ALL_CALLS.get_ptr_mut(0), n);
}

/// Adds to a map's value as one step. `core` has no such thing for this target, and programs can have the sum from Linux 5.12 only.
#[inline(always)]
pub fn add(slot: Option<*mut u64>, n: u64) {
    let Some(slot) = slot else { return };
    // SAFETY: a live map value, aligned as its type is; nothing else is touched.
    unsafe { asm!("lock *(u64 *)({slot} + 0) += {n}", slot = in(reg) slot, n = in(reg) n, options(nostack)) };
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
    if !may_be_watched(&ALL_FDS, || fd) {
        return None;
    }
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
    let process = process();
    let key = watch_key(process, fd);
    if WATCH.insert(key, value, u64::from(BPF_NOEXIST)).is_ok() {
        add(ALL_FDS.get_ptr_mut(0), 1);
        mark_fd(fd, process);
    } else if WATCH.insert(key, value, u64::from(BPF_EXIST)).is_err() {
        count(Counter::FullWatch);
    }
}

/// Forgets a descriptor of the current process.
#[inline(always)]
pub fn unwatch(fd: i32) {
    if WATCH.remove(watch_key(process(), fd)).is_ok() {
        add(ALL_FDS.get_ptr_mut(0), u64::MAX);
        mark_fd(fd, 0);
    }
}

/// Whether a connection is still open.
#[inline(always)]
pub fn open(conn: u64) -> bool {
    CONNS.get_ptr(conn).is_some()
}

/// The open connection that the current thread works for.
#[inline(always)]
pub fn working_for() -> Option<u64> {
    worked_for(thread())
}

/// The same of any thread.
#[inline(always)]
pub fn worked_for(thread: u64) -> Option<u64> {
    // SAFETY: as in `watched`.
    let conn = unsafe { THREADS.get(thread) }?.conn;
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
            add(ALL_CONNS.get_ptr_mut(0), 1);
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
    if CONNS.remove(conn).is_ok() {
        add(ALL_CONNS.get_ptr_mut(0), u64::MAX);
    }
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
    let key = thread();
    if INFLIGHT.insert(key, value, u64::from(BPF_NOEXIST)).is_ok() {
        add_call(key, 1);
    } else if INFLIGHT.insert(key, value, u64::from(BPF_EXIST)).is_err() {
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
    let key = thread();
    if INFLIGHT.remove(key).is_ok() {
        add_call(key, u64::MAX);
    }
}

/// The call that the current thread returns from, if it was remembered and is of this sort.
#[inline(always)]
pub fn recall(call: u8) -> Option<Inflight> {
    if !may_be_in_flight() {
        return None;
    }
    // SAFETY: only this thread writes its entry.
    let value = *unsafe { INFLIGHT.get(thread()) }?;
    if value.call != call {
        return None;
    }
    forget();
    Some(value)
}
