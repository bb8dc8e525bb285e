//! Calls between their enter and their exit: slots by thread, a table for threads whose slot is taken.

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use wrapwatch_common::{
    counters::Counter,
    maps::{Inflight, SEVERAL, Slot, Watch, call_slot},
    syscalls::call,
};

use super::targets;
use crate::{
    counts::count,
    kernel::now,
    maps::{BUSY, CALLS, INFLIGHT},
    shared::{add, add_to, load},
};

/// Remembers a call until its exit.
///
/// Of the threads that share a slot the one that finds nobody else counted has it; the others' calls go into the table. There is no compare-and-swap
/// for programs on Linux 5.10, and this needs none: of several that add at once, only the first can read 1.
#[inline(always)]
pub fn remember(sort: u8, fd: i32, conn: u64, ptr: u64, aux: u64, watch: Watch) {
    let thread = targets::thread();
    let Some(slot) = CALLS.get_ptr_mut(call_slot(thread as u32)) else { return };
    let value = Inflight {
        enter_ns: now(),
        conn,
        ptr,
        aux,
        fd,
        call: sort,
        class: watch.class,
        sock_type: watch.sock_type,
        counted: 1,
    };
    // SAFETY: a live map value; beside the number of entries only the thread that has the slot writes it.
    unsafe {
        // A call whose exit was not seen; of what may have begun before the thread was traced, none need be.
        if (*slot).thread == thread {
            if (*slot).call.call != call::MIDWAY {
                count(Counter::LostEnd);
            }
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
    let thread = targets::thread();
    let only = targets::only();
    if only != SEVERAL && only != (thread >> 32) as u32 {
        return None;
    }
    let slot = CALLS.get_ptr_mut(call_slot(thread as u32))?;
    // SAFETY: a live map value. Of one target its threads alone are counted; of several not all are.
    let entries = unsafe { core::ptr::addr_of!((*slot).entries).read_volatile() };
    if only != SEVERAL && entries == 0 { None } else { Some((thread, slot)) }
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
            give_back(slot);
            return Some(value);
        }
    }
    // SAFETY: only this thread writes its entry.
    let value = *unsafe { INFLIGHT.get(thread) }?;
    if value.call != call {
        return None;
    }
    forget_in_table(slot, thread);
    Some(value)
}

/// Forgets the call that the current thread is in.
#[inline(always)]
pub fn forget() {
    let thread = targets::thread();
    let Some(slot) = CALLS.get_ptr_mut(call_slot(thread as u32)) else { return };
    // SAFETY: as in `in_flight`.
    if unsafe { (*slot).thread } == thread {
        give_back(slot);
    } else {
        forget_in_table(slot, thread);
    }
}

/// Gives the slot back that the current thread has.
#[inline(always)]
fn give_back(slot: *mut Slot) {
    // SAFETY: a live map value that this thread has.
    unsafe { (*slot).thread = 0 };
    count_call(slot, u64::MAX);
}

/// Forgets a call that is in the table.
#[inline(always)]
fn forget_in_table(slot: *mut Slot, thread: u64) {
    // SAFETY: only this thread writes its entry.
    let Some(counted) = (unsafe { INFLIGHT.get(thread) }).map(|value| value.counted) else { return };
    if INFLIGHT.remove(thread).is_ok() && counted != 0 {
        count_call(slot, u64::MAX);
    }
}
