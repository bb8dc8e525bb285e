//! Which processes are traced, and who asks.

use wrapwatch_common::maps::{NOBODY, SEVERAL, Target};

use crate::{
    kernel,
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
    // SAFETY: values are written by user space only, whole and before they count; a torn read is of one integer.
    unsafe { TARGETS.get(process()) }.copied()
}
