//! When stalls began, over all that was told: one step of time is one stall, also where its lines are no longer kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use jiff::{SignedDuration, Timestamp};

use crate::model::Stall;

/// Stalls whose beginnings are kept: the newest.
const MOST: usize = 100_000;
/// A stall is told each second: after this it is another one.
const GOES_ON: SignedDuration = SignedDuration::from_secs(2);

/// They, and what goes on.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    at: BTreeSet<Timestamp>,
    /// When those that may go on were last told, by thread and connection.
    told: BTreeMap<(u32, u32, Option<u64>), Timestamp>,
}

impl Beginnings {
    /// A line of a stall, which stands at `at`.
    pub(super) fn take(&mut self, stall: &Stall, at: Timestamp) {
        let now = stall.at.0;
        self.told.retain(|_, told| now.duration_since(*told) <= GOES_ON);
        if self.told.insert((stall.pid, stall.tid, stall.conn), now).is_none() {
            self.at.insert(at);
            if self.at.len() > MOST {
                self.at.pop_first();
            }
        }
    }

    /// All is told again from its beginning.
    pub(super) fn again(&mut self) {
        self.told.clear();
    }

    pub(super) fn before(&self, at: Timestamp) -> Option<Timestamp> {
        self.at.range(..at).next_back().copied()
    }

    pub(super) fn after(&self, at: Timestamp) -> Option<Timestamp> {
        self.at.range((Excluded(at), Unbounded)).next().copied()
    }
}
