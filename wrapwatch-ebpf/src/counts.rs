//! What is counted beside the records.

use wrapwatch_common::counters::Counter;

use crate::{maps::COUNTS, shared};

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: Counter) {
    let Some(slot) = COUNTS.get_ptr_mut(counter as u32) else { return };
    // SAFETY: a live map value, aligned as its type is.
    unsafe { shared::add_to(slot, 1) };
}
