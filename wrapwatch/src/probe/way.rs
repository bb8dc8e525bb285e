//! The kernel's own way to a program, which its count of run times leaves out: everybody pays it whose calls the hooks see, also where the programs let them go.
//! It is what a call takes more with the hooks than without.

use std::{
    os::fd::RawFd,
    time::{Duration, Instant},
};

use nix::sys::socket::accept;

use crate::model::quotient;

/// Calls of a turn, and turns: short ones, of which the shortest is one that nobody came into.
const CALLS: u32 = 100;
const TURNS: u32 = 20;
/// Programs that a call of `accept` meets, of whichever set: where it begins and where it ends.
const RUNS: u64 = 2;
/// What is no descriptor.
const NONE: RawFd = -1;

/// What a turn of calls takes without hooks.
#[derive(Clone, Copy)]
pub(super) struct Without(Duration);

impl Without {
    /// To be called before anything is attached.
    pub(super) fn measure() -> Self {
        Self(shortest())
    }

    /// Nanoseconds for each run of a program, now that the hooks are there. To be called while this process is no target.
    pub(super) fn way_ns(self) -> f64 {
        let more = shortest().saturating_sub(self.0).as_nanos();
        quotient(u64::try_from(more).unwrap_or(0), u64::from(CALLS) * RUNS)
    }
}

fn shortest() -> Duration {
    let turn = || {
        let began = Instant::now();
        for _ in 0..CALLS {
            let _ = accept(NONE);
        }
        began.elapsed()
    };
    (0..TURNS).map(|_| turn()).min().unwrap_or_default()
}
