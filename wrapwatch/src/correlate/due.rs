//! When connections that have ended are told.

use std::collections::VecDeque;

use crate::model::KtimeNs;

/// Times and connections, soonest first. A list: nearly all come at its end and leave from its beginning, and there are no more than open connections.
#[derive(Debug, Default)]
pub(super) struct Due(VecDeque<(KtimeNs, u64)>);

impl Due {
    pub(super) fn insert(&mut self, at: KtimeNs, conn: u64) {
        if let Err(place) = self.0.binary_search(&(at, conn)) {
            self.0.insert(place, (at, conn));
        }
    }

    pub(super) fn remove(&mut self, at: KtimeNs, conn: u64) {
        if let Ok(place) = self.0.binary_search(&(at, conn)) {
            self.0.remove(place);
        }
    }

    /// The soonest.
    pub(super) fn first(&self) -> Option<(KtimeNs, u64)> {
        self.0.front().copied()
    }
}
