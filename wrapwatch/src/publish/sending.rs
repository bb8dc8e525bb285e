//! Whoever sends what is told, as the story sees it.

use std::fmt;

use super::position::Position;
use crate::metrics::Metrics;
use crate::model::WallTime;
use crate::observe::Observer;

/// Takes what is told, to send it elsewhere. What it takes is in memory: nothing fails.
pub(super) trait Sending: Observer + fmt::Debug {
    /// Clients that waited so long are slow, as the recording has it.
    fn recorded_slow(&mut self, slow_ns: u64);

    /// What was told so far has been sent by an earlier run.
    fn forget(&mut self);

    /// What was counted, from and until when, of this trace.
    fn counted(&mut self, metrics: &Metrics, trace: &str, times: (WallTime, WallTime));

    /// How far everything has been sent, where `now` is how far it is told.
    fn sent(&self, now: Position) -> Option<Position>;
}
