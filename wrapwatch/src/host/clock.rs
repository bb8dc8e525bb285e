//! The two clocks side by side.

use nix::time::{ClockId, clock_gettime};

use crate::model::{ClockPair, KtimeNs};

const NS: i64 = 1_000_000_000;

/// Now, on the kernel side's clock.
pub fn now() -> KtimeNs {
    KtimeNs(u64::try_from(read(ClockId::CLOCK_MONOTONIC)).unwrap_or(0))
}

/// The same moment on both clocks: the wall clock read between two reads of the monotonic one, the closest of a few tries.
pub fn pair() -> ClockPair {
    let mut best = one();
    for _ in 0..4 {
        let next = one();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

fn one() -> (i64, ClockPair) {
    let before = read(ClockId::CLOCK_MONOTONIC);
    let wall_ns = read(ClockId::CLOCK_REALTIME);
    let after = read(ClockId::CLOCK_MONOTONIC);
    let middle = before + (after - before) / 2;
    (after - before, ClockPair { ktime: KtimeNs(u64::try_from(middle).unwrap_or(0)), wall_ns })
}

fn read(clock: ClockId) -> i64 {
    // These clocks exist on every Linux; 0 would show at once in the output.
    clock_gettime(clock).map_or(0, |t| t.tv_sec() * NS + t.tv_nsec())
}
