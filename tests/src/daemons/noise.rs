//! How late the scheduler lets a thread run that has nothing to wait for: what a client's clock may be wrong by on a machine that is busy with other things.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};

use crate::clock::{now_ns, wait_until};

/// It looks that often.
const STEP_NS: u64 = 1_000_000;

/// A thread that wakes up each millisecond and notes how late it was.
pub struct Canary {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Noise>,
}

/// Each time it was late by more than a tenth of a step: when it should have run, and when it did.
#[derive(Clone, Debug, Default)]
pub struct Noise(Vec<(u64, u64)>);

impl Canary {
    /// Begins to look.
    pub fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("canary".into()).spawn(move || {
            let mut noise = Noise::default();
            while !theirs.load(Ordering::Relaxed) {
                let due = now_ns() + STEP_NS;
                wait_until(due);
                let ran = now_ns();
                if ran - due > STEP_NS / 10 {
                    noise.0.push((due, ran));
                }
            }
            noise
        })?;
        Ok(Self { stop, thread })
    }

    /// What it saw.
    pub fn stop(self) -> Result<Noise> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the canary failed"))
    }
}

impl Noise {
    /// The longest that a thread was late for, between two moments.
    pub fn within(&self, from_ns: u64, to_ns: u64) -> u64 {
        let late = self.0.iter().filter(|(due, ran)| *ran >= from_ns && *due <= to_ns);
        late.map(|(due, ran)| ran.saturating_sub(*due)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_late_meanwhile_counts() {
        let noise = Noise(vec![(10, 15), (100, 140), (200, 290)]);
        assert_eq!((noise.within(0, 20), noise.within(16, 150), noise.within(16, 99)), (5, 40, 0));
        assert_eq!(noise.within(120, 130), 40, "it was late all that time");
    }
}
