//! What was lost: by the losses told, and by the kernel side's counters, which know more where a loss was not told of.

use std::collections::BTreeMap;

use wrapwatch_common::counters::{Counter, CounterClass};

use crate::model::Lost;

/// One of each kind that shows in no connection's own numbers.
pub(crate) const ANY: [(Counter, u64); 4] = [
    (Counter::LostAccept, 1),
    (Counter::LostSockState, 1),
    (Counter::LostSockError, 1),
    (Counter::LostOther, 1),
];

/// The sum of the losses that were told.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    events: u64,
    accepts: u64,
    untracked: u64,
}

impl Losses {
    /// Takes a loss, and gives its counters.
    pub(crate) fn add(&mut self, lost: &Lost) -> Vec<(Counter, u64)> {
        let by: Vec<(Counter, u64)> =
            lost.by.iter().filter_map(|(name, n)| Some((counter(name)?, *n))).collect();
        self.events = self.events.saturating_add(lost.events);
        for (counter, n) in &by {
            match counter {
                Counter::LostAccept => self.accepts = self.accepts.saturating_add(*n),
                Counter::FullConns => self.untracked = self.untracked.saturating_add(*n),
                _ => {}
            }
        }
        by
    }

    pub(crate) fn events(&self, counters: &BTreeMap<String, u64>) -> u64 {
        let counted = counters.iter().filter(|(name, _)| is_loss(name)).map(|(_, n)| *n);
        counted.fold(0, u64::saturating_add).max(self.events)
    }

    pub(crate) fn accepts(&self, counters: &BTreeMap<String, u64>) -> u64 {
        counters.get("lost_accept").copied().unwrap_or(0).max(self.accepts)
    }

    /// Connections of which nothing was seen: there was no room to follow them.
    pub(crate) fn untracked(&self, counters: &BTreeMap<String, u64>) -> u64 {
        counters.get("full_conns").copied().unwrap_or(0).max(self.untracked)
    }
}

/// Whether it is calls that were left out, and nothing else.
pub(crate) fn is_of_skips(by: &[(Counter, u64)]) -> bool {
    by.iter().all(|(counter, _)| counter.class() == CounterClass::Skipped)
}

fn counter(name: &str) -> Option<Counter> {
    Counter::ALL.iter().find(|(_, known)| *known == name).map(|(counter, _)| *counter)
}

/// Whether what this counter counts is missing. Of one that came later that is to be supposed.
fn is_loss(name: &str) -> bool {
    counter(name).is_none_or(|counter| matches!(counter.class(), CounterClass::Lost | CounterClass::Full))
}
