//! Which stalls are new: each is told once a second while it lasts.

use std::collections::BTreeMap;

use crate::model::{ClockPair, Stall};
use crate::trace::Head;

/// Accept threads remembered; beyond it that of the lowest number is forgotten.
const KEPT_MAX: usize = 4096;

/// The stall that each accept thread was last told to be in.
#[derive(Debug)]
pub struct NewStalls {
    recording: Option<ClockPair>,
    last: BTreeMap<(u32, u32), Option<u64>>,
}

impl NewStalls {
    /// None yet.
    pub const fn new() -> Self {
        Self { recording: None, last: BTreeMap::new() }
    }

    /// Another recording's processes and connections are others, whatever their numbers. Each file of a recording begins with the same clock.
    pub fn head(&mut self, head: &Head) {
        if self.recording.replace(head.clock) != Some(head.clock) {
            self.last.clear();
        }
    }

    /// Whether it is told for the first time.
    pub fn is_new(&mut self, stall: &Stall) -> bool {
        let thread = (stall.pid, stall.tid);
        if self.last.get(&thread) == Some(&stall.conn) {
            return false;
        }
        if self.last.len() >= KEPT_MAX && !self.last.contains_key(&thread) {
            self.last.pop_first();
        }
        self.last.insert(thread, stall.conn);
        true
    }
}

impl Default for NewStalls {
    fn default() -> Self {
        Self::new()
    }
}
