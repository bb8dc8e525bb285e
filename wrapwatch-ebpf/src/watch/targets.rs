//! Which processes are traced, and who asks.

use wrapwatch_common::{
    counters::Counter,
    maps::{NOBODY, SEVERAL, Target, thread_key},
};

use crate::{
    counts::count,
    kernel::{self, now},
    maps::{GATE, TARGETS},
    shared::load,
};

/// The current thread's key; its high half is the process.
#[inline(always)]
pub fn thread() -> u64 {
    kernel::current()
}

/// The current process.
#[inline(always)]
pub fn process() -> u32 {
    (thread() >> 32) as u32
}

/// Whether the current process is a target. Asked at every hooked call of the machine: of one target it takes a comparison, of several a look-up.
#[inline(always)]
pub fn is_current() -> bool {
    match only() {
        SEVERAL => {
            // SAFETY: nothing of the value is read.
            unsafe { TARGETS.get(process()) }.is_some()
        }
        only => only == process(),
    }
}

/// The current thread as records name it: the process is that which user space has entered.
#[inline(always)]
pub fn named() -> u64 {
    let thread = thread();
    let process = (thread >> 32) as u32;
    if only() != SEVERAL {
        return thread;
    }
    // SAFETY: as in `current`.
    match unsafe { TARGETS.get(process) } {
        Some(target) => thread_key(target.server, thread as u32),
        None => thread,
    }
}

/// Makes a process that a target has made one, too; false where there is no room. It goes on as what that is, until it calls `execve`. User space has every process
/// looked up before it has any followed.
#[inline(always)]
pub fn add(process: u32, target: Target) -> bool {
    let added = TARGETS.insert(process, Target { generation: generation(), ..target }, 0).is_ok();
    if !added {
        count(Counter::FullTargets);
    }
    added
}

/// Whether the current process is one that a target has made.
#[inline(always)]
pub fn is_made() -> bool {
    only() == SEVERAL && current().is_some_and(|target| target.server != process())
}

/// A mark of what a process is now: not the one of anything that had its number a moment ago.
#[inline(always)]
pub fn generation() -> u16 {
    (now() >> 10) as u16
}

/// The current process ends: whoever gets its number next is no target. User space hears of the end later.
#[inline(always)]
pub fn remove() {
    let process = process();
    let _ = TARGETS.remove(process);
    if only() == process {
        // SAFETY: a live map value. User space writes it too: what it writes is about another target, or comes to the same.
        unsafe { core::ptr::addr_of_mut!((*GATE.ptr()).only_target).write_volatile(NOBODY) };
    }
}

/// The only target; [`NOBODY`] where there is none, [`SEVERAL`] where there are or were several.
#[inline(always)]
pub fn only() -> u32 {
    load!(GATE, only_target)
}

/// The current process, if it is a target.
#[inline(always)]
pub fn current() -> Option<Target> {
    // SAFETY: an entry is written whole, by user space before it counts, or by the process itself and the one that made it before it runs.
    unsafe { TARGETS.get(process()) }.copied()
}
