//! Time in which an accept thread could have run and had no CPU.
//!
//! An answer that has arrived waits for its thread to be scheduled, and looks like a slow nameserver. The scheduler counts this time for each thread
//! (`run_delay`, the second number of /proc/PID/task/TID/schedstat). The records at the ends of waits carry the count, so it is known how much of each
//! wait is not the nameserver's fault, though not where in it. A thread becomes ready when what it waits for is there, so the delay is taken from the
//! ends of the waits in that interval: blaming nobody is better than blaming the wrong one. What an interval had before the check is taken
//! to have been spent there: the thread had to wake up to accept.
//!
//! The count itself can be wrong. Since Linux 6.12 a thread that falls asleep may stay in its queue for a moment (`sched_delayed` in kernel/sched/fair.c), and where
//! it is moved to another CPU then, `sched_info` takes the whole sleep for a delay (inferred; seen on 6.12 and 6.18). So threads are looked at, too: one that was
//! seen asleep in a wait was so from the wait's beginning on, and an interval whose count leaves no room for that has none.

use std::collections::VecDeque;

use crate::model::{KtimeNs, StallCause};

use super::parts::Span;

/// Delays remembered of a thread; those of one check are asked for at its end.
const SAMPLES_MAX: usize = 4096;
/// By how much the scheduler's clock and that of the records may differ: this, and one part in [`CLOCKS_PART`] of what is measured (clocks are slewed by
/// 500 parts in a million at most, adjtimex(2)).
const CLOCKS_NS: u64 = 2_000_000;
const CLOCKS_PART: u64 = 1000;
/// An interval with at least this share of delay, in percent, is nothing but delay.
const MOSTLY_PERCENT: u64 = 90;

/// Delays of one thread, by interval.
#[derive(Debug, Default)]
pub(super) struct RunDelays {
    last: Option<(KtimeNs, u64)>,
    delays: VecDeque<(KtimeNs, KtimeNs, u64)>,
    /// When the thread was seen asleep.
    asleep: VecDeque<KtimeNs>,
}

impl RunDelays {
    /// Takes a sample of the thread's count.
    pub(super) fn sample(&mut self, at: KtimeNs, total_ns: u64) {
        if let Some((from, before)) = self.last.replace((at, total_ns)) {
            let delay = total_ns.saturating_sub(before).min(at.since(from));
            if delay > 0 {
                if self.delays.len() >= SAMPLES_MAX {
                    self.delays.pop_front();
                }
                self.delays.push_back((from, at, delay));
            }
        }
    }

    /// The thread was seen asleep. In order.
    pub(super) fn seen_asleep(&mut self, at: KtimeNs) {
        if self.asleep.len() >= SAMPLES_MAX {
            self.asleep.pop_front();
        }
        self.asleep.push_back(at);
    }

    /// What ended before `at` is not asked for any more.
    pub(super) fn forget_before(&mut self, at: KtimeNs) {
        while self.asleep.front().is_some_and(|&seen| seen < at) {
            self.asleep.pop_front();
        }
        while self.delays.front().is_some_and(|&(_, to, _)| to <= at) {
            self.delays.pop_front();
        }
    }

    /// Stretches without CPU between `from` and `to`, given the waits and calls in it.
    pub(super) fn spans(&self, waits: &[Span], from: KtimeNs, to: KtimeNs) -> Vec<Span> {
        let (mut off, mut inside) = (Vec::new(), Vec::new());
        for &(began, ended, delay) in
            self.delays.iter().filter(|(began, ended, _)| *began < to && *ended > from)
        {
            if self.is_refuted(waits, began, ended, delay) {
                continue;
            }
            let (began_in, ended_in) = (began.max(from), ended.min(to));
            if delay.saturating_mul(100) >= ended.since(began).saturating_mul(MOSTLY_PERCENT) {
                off.push(Span { from: began_in, to: ended_in, cause: StallCause::OffCpu, server: None });
                continue;
            }
            let mut left = delay.saturating_sub(from.since(began));
            let waiting = |wait: &&Span| {
                matches!(
                    wait.cause,
                    StallCause::Dns | StallCause::Ident | StallCause::Spawn | StallCause::Syslog
                )
            };
            let waits = waits.iter().filter(waiting);
            inside.extend(waits.filter_map(|wait| wait.within(began_in, ended_in)));
            inside.sort_unstable_by_key(|wait| std::cmp::Reverse((wait.to, wait.ns())));
            for wait in inside.drain(..) {
                let ns = wait.ns().min(left);
                if ns == 0 {
                    break;
                }
                left -= ns;
                let from = KtimeNs(wait.to.0.saturating_sub(ns));
                off.push(Span { from, to: wait.to, cause: StallCause::OffCpu, server: None });
            }
        }
        off
    }

    /// Whether more delay was counted between two samples than there can have been, for the thread was seen asleep in waits.
    fn is_refuted(&self, waits: &[Span], began: KtimeNs, ended: KtimeNs, delay: u64) -> bool {
        let whole = ended.since(began);
        let asleep = self.asleep_ns(waits, began, ended);
        let tolerance = CLOCKS_NS.saturating_add(whole / CLOCKS_PART);
        delay > whole.saturating_sub(asleep).saturating_add(tolerance)
    }

    /// How long the thread was certainly asleep: in each wait until it was last seen so.
    fn asleep_ns(&self, waits: &[Span], began: KtimeNs, ended: KtimeNs) -> u64 {
        if self.asleep.is_empty() {
            return 0;
        }
        let seen = |wait: Span| {
            let last = self.asleep.iter().rev().find(|&&at| wait.from < at && at <= wait.to)?;
            Some((wait.from, *last))
        };
        let mut asleep: Vec<(KtimeNs, KtimeNs)> =
            waits.iter().filter_map(|wait| seen(wait.within(began, ended)?)).collect();
        asleep.sort_unstable();
        let (mut sum, mut at) = (0_u64, began);
        for (from, to) in asleep {
            sum = sum.saturating_add(to.since(from.max(at)));
            at = at.max(to);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn dns(from: u64, to: u64) -> Span {
        Span { from: KtimeNs(from * MS), to: KtimeNs(to * MS), cause: StallCause::Dns, server: None }
    }

    fn off(delays: &RunDelays, waits: &[Span]) -> Vec<(u64, u64)> {
        let spans = delays.spans(waits, KtimeNs(0), KtimeNs(1000 * MS));
        spans.iter().map(|span| (span.from.0 / MS, span.to.0 / MS)).collect()
    }

    #[test]
    fn a_delay_is_taken_from_the_ends_of_the_waits() {
        let mut delays = RunDelays::default();
        delays.sample(KtimeNs(0), 5 * MS);
        delays.sample(KtimeNs(100 * MS), 35 * MS);
        assert_eq!(off(&delays, &[dns(10, 30), dns(40, 60)]), [(40, 60), (20, 30)]);
        assert_eq!(off(&delays, &[]), []);
    }

    #[test]
    fn waking_up_to_accept_is_not_the_checks() {
        let mut delays = RunDelays::default();
        delays.sample(KtimeNs(0), 0);
        delays.sample(KtimeNs(600 * MS), 350 * MS);
        let off = |from: u64| {
            let spans = delays.spans(&[dns(100, 400)], KtimeNs(from * MS), KtimeNs(1000 * MS));
            spans.iter().map(|span| (span.from.0 / MS, span.to.0 / MS)).collect::<Vec<_>>()
        };
        assert_eq!((off(400), off(300), off(50)), (vec![], vec![(350, 400)], vec![(100, 400)]));
    }

    #[test]
    fn a_thread_that_never_ran_waited_for_nobody() {
        let mut delays = RunDelays::default();
        delays.sample(KtimeNs(0), 0);
        delays.sample(KtimeNs(100 * MS), 95 * MS);
        delays.sample(KtimeNs(200 * MS), 95 * MS);
        assert_eq!(off(&delays, &[dns(150, 180)]), [(0, 100)]);
        delays.forget_before(KtimeNs(100 * MS));
        assert_eq!(off(&delays, &[]), []);
    }

    #[test]
    fn a_sleep_that_was_counted_is_no_delay() {
        let asked = |delay: u64, seen: &[u64]| {
            let mut delays = RunDelays::default();
            delays.sample(KtimeNs(100 * MS), 0);
            delays.sample(KtimeNs(600 * MS), delay * MS);
            for at in seen {
                delays.seen_asleep(KtimeNs(at * MS));
            }
            // Two queries at once, so the sleep counts once.
            off(&delays, &[dns(100, 600), dns(150, 600)])
        };
        // All of it was counted.
        assert_eq!(asked(499, &[]), [(100, 600)]);
        assert_eq!(asked(499, &[200]), []);
        assert_eq!(asked(499, &[90, 100, 601]), [(100, 600)], "not in the wait");
        // The answer came at 400 ms, and the thread had no CPU from then on.
        assert_eq!(asked(200, &[200, 300, 399]), [(400, 600)]);
        assert_eq!(asked(200, &[200, 300, 401]), [(400, 600)], "within what the clocks may differ");
        assert_eq!(asked(200, &[200, 300, 450]), []);
    }
}
