//! The clock that everything here is measured with: `CLOCK_MONOTONIC`, the kernel side's clock too.

use std::time::Duration;

use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now_ns() -> u64 {
    // CLOCK_MONOTONIC is always there; a time of 0 would show at once in every test.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |at| {
        let at = Duration::from(at);
        u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// Waits for a moment of [`now_ns`]: for arrivals on a schedule, never to synchronise.
pub fn wait_until(at_ns: u64) {
    let at = Duration::from_nanos(at_ns).into();
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at)
        == Err(nix::errno::Errno::EINTR)
    {}
}
