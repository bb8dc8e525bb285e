//! State that all CPUs and user space write, at an address that the programs know: no look-up leads there.

use core::{arch::asm, cell::UnsafeCell};

use zerocopy::IntoBytes;

/// A value in a section of its own, which the loader makes a map.
#[repr(transparent)]
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: it holds integers (`IntoBytes`: no padding, and of what is in Shared no pointers), each read and written whole by one instruction; which of two writers is the last is the caller's concern.
unsafe impl<T: IntoBytes> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where it is: always a live map value.
    #[inline(always)]
    pub const fn ptr(&self) -> *mut T {
        self.0.get()
    }
}

/// Reads a member. Volatile: others write it, and the compiler would take what stands there at first for the value.
macro_rules! load {
    ($shared:path, $($member:tt)+) => {
        // SAFETY: a live map value's member, aligned as its type is.
        unsafe { core::ptr::addr_of!((*$shared.ptr()).$($member)+).read_volatile() }
    };
}
pub(crate) use load;

/// Adds to a member as one step.
macro_rules! add {
    ($shared:path, $member:ident, $n:expr) => {
        // SAFETY: a live map value's member, an aligned `u64`.
        unsafe { $crate::shared::add_to(core::ptr::addr_of_mut!((*$shared.ptr()).$member), $n) }
    };
}
pub(crate) use add;

/// Adds as one step. `core` has no such thing for this target, and programs can have the sum from Linux 5.12 only.
///
/// # Safety
/// It must be in a live map value, and aligned.
#[inline(always)]
pub unsafe fn add_to(slot: *mut u64, n: u64) {
    // SAFETY: the caller vouches for it; nothing else is touched.
    unsafe { asm!("lock *(u64 *)({slot} + 0) += {n}", slot = in(reg) slot, n = in(reg) n, options(nostack)) };
}
