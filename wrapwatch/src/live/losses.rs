//! What the kernel side lost, and the calls that the kernel left out, since it was last asked.
//!
//! Counters are read before the ring is emptied and told of afterwards: what was lost by then was lost before the last record that is taken, or among them, and a
//! check whose records came through is not taken for sure because its end was lost behind it.

use wrapwatch_common::counters::{Counter, CounterClass};

use crate::{
    host::clock,
    model::{KtimeNs, Lost},
    probe::{Counts, Probe},
};

/// The counters as they were when they were last told of.
#[derive(Debug)]
pub(super) struct Losses {
    told: Counts,
    told_at: KtimeNs,
    /// When it was last asked whether the kernel left out calls.
    skips_asked: KtimeNs,
}

/// The counters at one time.
#[derive(Debug)]
pub(super) struct Reading {
    counts: Counts,
    at: KtimeNs,
}

impl Losses {
    pub(super) fn new(counts: Counts) -> Self {
        let now = clock::now();
        Self { told: counts, told_at: now, skips_asked: now }
    }

    /// The counters as last told of.
    pub(super) const fn counts(&self) -> &Counts {
        &self.told
    }

    /// Reads the counters: before the ring is emptied.
    pub(super) fn read(&self, probe: &Probe) -> Reading {
        let mut counts = probe.counts();
        // Asked for at another time.
        counts.set(Counter::SkippedCalls, self.told.get(Counter::SkippedCalls));
        Reading { counts, at: clock::now() }
    }

    /// What was lost until they were read; to be fed once the ring was emptied.
    pub(super) fn told(&mut self, reading: Reading) -> Option<Lost> {
        let before = std::mem::replace(&mut self.told, reading.counts);
        let since = std::mem::replace(&mut self.told_at, reading.at);
        let losses = Counter::ALL.iter().filter(|(counter, _)| counter.class().is_missing());
        let by: Vec<(String, u64)> = losses
            .map(|&(counter, name)| {
                (name.to_owned(), self.told.get(counter).saturating_sub(before.get(counter)))
            })
            .filter(|(_, n)| *n > 0)
            .collect();
        let events = by.iter().map(|(_, n)| n).sum();
        (!by.is_empty()).then_some(Lost { events, by, since_ns: Some(since.0), until_ns: Some(reading.at.0) })
    }

    /// When it was last asked for calls that were left out.
    pub(super) const fn skips_asked(&self) -> KtimeNs {
        self.skips_asked
    }

    /// The calls that the kernel left out since this was last asked. Before the ring is emptied: it concerns what is in there.
    pub(super) fn skips(&mut self, probe: &Probe) -> Option<Lost> {
        // What is left out while this is asked for may be counted now or the next time.
        let asked = clock::now();
        let skipped = probe.skipped_calls();
        let (since, until) = (std::mem::replace(&mut self.skips_asked, asked), clock::now());
        let n = skipped.saturating_sub(self.told.get(Counter::SkippedCalls));
        if n == 0 {
            return None;
        }
        self.told.set(Counter::SkippedCalls, skipped);
        let by = Counter::ALL.iter().filter(|(counter, _)| counter.class() == CounterClass::Skipped);
        // They are anybody's, and most would not have been events.
        let by = by.map(|(_, name)| ((*name).to_owned(), n)).collect();
        Some(Lost { events: 0, by, since_ns: Some(since.0), until_ns: Some(until.0) })
    }
}
