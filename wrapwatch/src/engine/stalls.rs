//! When a stall is told: at the sample of each second, or, where there are none, at each full second that passes.

use super::Engine;
use crate::model::{KtimeNs, Line};

/// How often a stall is told.
pub(super) const SECOND_NS: u64 = 1_000_000_000;
/// Most seconds of a trace in which nothing happens, not even a sample, that are gone through one by one: a small file can have many hours of them.
const IDLE_SECONDS_MAX: u64 = 4 * 3600;
/// A sample older than this says nothing of the queue now.
const SAMPLE_FRESH_NS: u64 = 3 * SECOND_NS;

/// The seconds of a trace that has no samples.
#[derive(Debug)]
pub(super) struct Seconds {
    next: KtimeNs,
    /// How many seconds may still be gone through in which nothing happens.
    idle: u64,
}

impl Default for Seconds {
    fn default() -> Self {
        Self { next: KtimeNs(0), idle: IDLE_SECONDS_MAX }
    }
}

impl Seconds {
    pub(super) fn is_due(&self, at: KtimeNs) -> bool {
        at >= self.next
    }
}

impl Engine {
    /// The full seconds up to `at`: stalls, also where for a while nothing happened.
    pub(super) fn seconds(&mut self, at: KtimeNs) {
        let mut second = self.seconds.next;
        self.seconds.next = KtimeNs((at.0 / SECOND_NS).saturating_add(1).saturating_mul(SECOND_NS));
        if !self.options.stalls || self.is_sampled() || second.0 == 0 {
            return;
        }
        let idle = at.since(second) / SECOND_NS;
        for behind in 0..=idle.min(self.seconds.idle) {
            self.seconds.idle -= u64::from(behind > 0);
            self.correlator.advance(second);
            self.now = self.now.max(second);
            self.connections();
            if !self.stalls(second) {
                break;
            }
            second = second.plus(SECOND_NS);
        }
    }

    /// Tells what hangs at this second; false where nothing is open that could.
    pub(super) fn stalls(&mut self, now: KtimeNs) -> bool {
        for check in self.correlator.stalls(now, self.options.slow_ns) {
            let queue = self.context.queue.last(check.tgid, now, SAMPLE_FRESH_NS);
            // With its tables closed and nobody waiting, the thread is at its listener again.
            if check.certain || queue.is_some_and(|(queued, _)| queued > 0) {
                let stall = check.stall(now, &self.clock, queue);
                if self.bounds.admits_stall(&stall) {
                    self.lines.push_back(Line::Stall(stall));
                }
            }
        }
        self.correlator.stats().open > 0
    }
}
