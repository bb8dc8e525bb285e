//! What is known besides the connections at a moment: what inputs said, what was lost.

use crate::context::{Context, Fact, Losses};
use crate::diagnose::{Counts, SummaryBuilder};
use crate::model::{ClockPair, KtimeNs, Line, Summary};

use super::log::Told;

/// Known so far.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) context: Context,
    losses: Losses,
    clock: ClockPair,
}

impl Default for Known {
    fn default() -> Self {
        let clock = ClockPair { ktime: KtimeNs(0), wall_ns: 0 };
        Self { context: Context::default(), losses: Losses::default(), clock }
    }
}

impl Known {
    pub(super) fn take(&mut self, told: &Told) {
        match told {
            Told::Fact(fact) => {
                match &**fact {
                    Fact::Clock(clock) => self.clock = *clock,
                    Fact::Head(head) => self.clock = head.clock,
                    _ => {}
                }
                self.context.take(fact);
            }
            Told::Line(line) => {
                if let Line::Lost(lost) = &**line {
                    self.losses.add(lost);
                }
            }
        }
    }

    /// Events lost.
    pub(super) fn lost(&self) -> u64 {
        self.losses.events(&self.context.counters)
    }

    /// The summary of these connections.
    pub(super) fn summary(&self, connections: &SummaryBuilder, count: u64) -> Summary {
        let counts = Counts::of(&self.context, &self.losses, count);
        connections.build_with(counts, &self.context, &self.clock)
    }
}
