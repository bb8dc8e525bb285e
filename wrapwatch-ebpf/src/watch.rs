//! Does a call matter? Look-ups, and the life of connections, watched descriptors and remembered calls.

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    helpers::bpf_get_current_pid_tgid,
};
use wrapwatch_common::{
    counters::Counter,
    maps::{Conn, Inflight, NOBODY, Slot, Target, Thread, Watch, call_slot, syscall, watch_key},
    records::Class,
};

use crate::{
    emit::{count, now},
    maps::{BUSY, CALLS, CONNS, FDS, GATE, INFLIGHT, LAST_CONN, TARGETS, THREADS, WATCH},
    shared::{add, add_to, load},
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
    if only_target() == process {
        // SAFETY: a live map value. User space writes it too: what it writes is about another target, or comes to the same.
        unsafe { core::ptr::addr_of_mut!((*GATE.ptr()).only_target).write_volatile(NOBODY) };
    }
}

#[inline(always)]
fn only_target() -> u32 {
    load!(GATE, only_target)
}

/// Whether a call of this number can do nothing that matters, whoever makes it: no connection is open. Asked at every call of the machine, before
/// anything else.
#[inline(always)]
pub fn is_idle(number: u32) -> bool {
    const WORDS: u32 = syscall::NUMBERS / 64;
    load!(GATE, conns) == 0 && load!(GATE, always[(number / 64 % WORDS) as usize]) >> (number % 64) & 1 == 0
}

/// Whether a descriptor of a target may be watched. No takes no look-up, and where none is watched not even the descriptor, which takes the call of a helper.
#[inline(always)]
pub fn may_be_watched(fd: impl FnOnce() -> i32) -> bool {
    if load!(BUSY, fds) == 0 {
        return false;
    }
    let only = only_target();
    if only == 0 {
        return true;
    }
    let fd = fd();
    fd >= 0 && FDS.get(fd as u32).is_none_or(|slot| slot.process == only)
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
    if load!(BUSY, fds) == 0 || fd < 0 {
        return None;
    }
    let process = process();
    if let Some(slot) = FDS.get(fd as u32) {
        if slot.process == process {
            return Some(*slot);
        }
        if only_target() != 0 {
            return None;
        }
    }
    // SAFETY: an entry is changed only by threads that use this descriptor; a stale one gives a stale connection number, never a bad access.
    unsafe { WATCH.get(watch_key(process, fd)) }.copied()
}

/// Watches a descriptor of the current process.
#[inline(always)]
pub fn watch(fd: i32, conn: u64, class: Class, sock_type: u8) {
    watch_as(fd, conn, class as u8, sock_type);
}

/// As [`watch`], by the class's number.
#[inline(always)]
pub fn watch_as(fd: i32, conn: u64, class: u8, sock_type: u8) {
    let process = process();
    let value = Watch { conn, class, sock_type, pad: 0, process };
    if let Some(slot) = FDS.get_ptr_mut(fd as u32) {
        // SAFETY: a live map value. Nobody else writes it meanwhile: a descriptor's number is one thread's from its opening to its closing, and
        // a slot is taken by the only target alone.
        let is_mine = unsafe { (*slot).process } == process;
        if is_mine || only_target() == process {
            // SAFETY: as above.
            unsafe { *slot = value };
            if !is_mine {
                add!(BUSY, fds, 1);
            }
            return;
        }
    }
    let key = watch_key(process, fd);
    if WATCH.insert(key, value, u64::from(BPF_NOEXIST)).is_ok() {
        add!(BUSY, fds, 1);
    } else if WATCH.insert(key, value, u64::from(BPF_EXIST)).is_err() {
        count(Counter::FullWatch);
    }
}

/// Forgets a descriptor of the current process.
#[inline(always)]
pub fn unwatch(fd: i32) {
    let process = process();
    if let Some(slot) = FDS.get_ptr_mut(fd as u32) {
        // SAFETY: as in `watch_as`.
        if unsafe { (*slot).process } == process {
            // SAFETY: as above.
            unsafe { (*slot).process = 0 };
            add!(BUSY, fds, u64::MAX);
            return;
        }
        if only_target() != 0 {
            return;
        }
    }
    if WATCH.remove(watch_key(process, fd)).is_ok() {
        add!(BUSY, fds, u64::MAX);
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
/// what makes it unique: of two CPUs that read the same last number, one goes on to the next. It never goes back, also where a thread is preempted here.
#[inline(always)]
pub fn open_conn() -> Option<u64> {
    let last = LAST_CONN.get_ptr_mut(0)?;
    for _ in 0..8 {
        // SAFETY: the slot is a live map value, an aligned `u64`; a racing update costs one more turn.
        let conn = unsafe {
            add_to(last, 1);
            last.read_volatile()
        };
        if CONNS.insert(conn, Conn::default(), u64::from(BPF_NOEXIST)).is_ok() {
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
pub fn close_conn(conn: u64) {
    if CONNS.remove(conn).is_ok() {
        add!(GATE, conns, u64::MAX);
    }
}

/// Remembers a call until its exit.
///
/// Of the threads that share a slot the one that finds nobody else counted has it; the others' calls go into the table. There is no compare-and-swap
/// for programs on Linux 5.10, and this needs none: of several that add at once, only the first can read 1.
#[inline(always)]
pub fn remember(call: u8, fd: i32, conn: u64, ptr: u64, aux: u64, watch: Watch) {
    let thread = thread();
    let Some(slot) = CALLS.get_ptr_mut(call_slot(thread as u32)) else { return };
    let value = Inflight {
        enter_ns: now(),
        conn,
        ptr,
        aux,
        fd,
        call,
        class: watch.class,
        sock_type: watch.sock_type,
        counted: 1,
    };
    // SAFETY: a live map value; beside the number of entries only the thread that has the slot writes it.
    unsafe {
        // A call whose exit was not seen.
        if (*slot).thread == thread {
            (*slot).call = value;
            return;
        }
        count_call(slot, 1);
        if core::ptr::addr_of!((*slot).entries).read_volatile() == 1 {
            (*slot).call = value;
            (*slot).thread = thread;
            return;
        }
    }
    if INFLIGHT.insert(thread, value, u64::from(BPF_NOEXIST)).is_ok() {
        return;
    }
    count_call(slot, u64::MAX);
    if INFLIGHT.insert(thread, value, u64::from(BPF_EXIST)).is_err() {
        count(Counter::FullInflight);
    }
}

/// Notes that a slot has an entry more, or (`u64::MAX`) less.
#[inline(always)]
fn count_call(slot: *mut Slot, n: u64) {
    // SAFETY: every caller's slot is a live map value.
    unsafe { add_to(core::ptr::addr_of_mut!((*slot).entries), n) };
    add!(BUSY, calls, n);
}

/// The current thread and its slot, where the thread or another that shares it may be in a call that was remembered. Asked at every exit of the machine:
/// mostly nobody is in one, which is found out without the call of a helper.
#[inline(always)]
fn slot_in_use() -> Option<(u64, *mut Slot)> {
    if load!(BUSY, calls) == 0 {
        return None;
    }
    let thread = thread();
    let only = only_target();
    if only != 0 && only != (thread >> 32) as u32 {
        return None;
    }
    let slot = CALLS.get_ptr_mut(call_slot(thread as u32))?;
    // SAFETY: a live map value. Of one target its threads alone are counted; of several not all are.
    let entries = unsafe { core::ptr::addr_of!((*slot).entries).read_volatile() };
    if only != 0 && entries == 0 { None } else { Some((thread, slot)) }
}

/// The sort of call that the current thread is in, where it was remembered.
#[inline(always)]
pub fn in_flight() -> Option<u8> {
    let (thread, slot) = slot_in_use()?;
    // SAFETY: a live map value; only the thread that has the slot writes it.
    unsafe {
        if (*slot).thread == thread {
            return Some((*slot).call.call);
        }
    }
    // SAFETY: only this thread writes its entry.
    unsafe { INFLIGHT.get(thread) }.map(|value| value.call)
}

/// Forgets the call that the current thread is in.
#[inline(always)]
pub fn forget() {
    let thread = thread();
    let Some(slot) = CALLS.get_ptr_mut(call_slot(thread as u32)) else { return };
    // SAFETY: as in `in_flight`.
    if unsafe { (*slot).thread } == thread {
        leave(slot);
    } else {
        forget_other(slot, thread);
    }
}

/// Gives the slot back that the current thread has.
#[inline(always)]
fn leave(slot: *mut Slot) {
    // SAFETY: a live map value that this thread has.
    unsafe { (*slot).thread = 0 };
    count_call(slot, u64::MAX);
}

/// Forgets a call that is in the table.
#[inline(always)]
fn forget_other(slot: *mut Slot, thread: u64) {
    // SAFETY: only this thread writes its entry.
    let Some(counted) = (unsafe { INFLIGHT.get(thread) }).map(|value| value.counted) else { return };
    if INFLIGHT.remove(thread).is_ok() && counted != 0 {
        count_call(slot, u64::MAX);
    }
}

/// The call that the current thread returns from, if it was remembered and is of this sort.
#[inline(always)]
pub fn recall(call: u8) -> Option<Inflight> {
    let (thread, slot) = slot_in_use()?;
    // SAFETY: as in `in_flight`.
    unsafe {
        if (*slot).thread == thread {
            if (*slot).call.call != call {
                return None;
            }
            let value = (*slot).call;
            leave(slot);
            return Some(value);
        }
    }
    // SAFETY: only this thread writes its entry.
    let value = *unsafe { INFLIGHT.get(thread) }?;
    if value.call != call {
        return None;
    }
    forget_other(slot, thread);
    Some(value)
}
