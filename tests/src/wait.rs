//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::time::{ClockId, clock_gettime};

/// No condition takes longer to come true, on a machine with much other work either.
const LIMIT: Duration = Duration::from_mins(1);

/// Returns once `condition` is true, or fails with `what` when it is not within a minute.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !condition()? {
        if Instant::now() >= deadline {
            bail!("{what}: not within {} s", LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Returns once the clock of file times has moved on. It does so with the scheduler's tick (4 ms at 250 Hz), before Linux 6.13: a file that is edited within
/// the tick of a check counts as edited before it.
pub fn next_tick() -> Result<()> {
    let tick = || clock_gettime(ClockId::CLOCK_REALTIME_COARSE);
    let before = tick()?;
    wait_for("the next tick", || Ok(tick()? != before))
}
