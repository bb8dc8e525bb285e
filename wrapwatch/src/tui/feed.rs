//! Inputs and lines, as the state takes them.

use crate::context::Fact;
use crate::model::{ClockPair, KtimeNs, Line};
use crate::trace::{Input, Target};

use super::log::Told;
use super::state::State;

/// What has to be known for it.
#[derive(Debug, Default)]
pub(super) struct Feed {
    clock: Option<ClockPair>,
}

impl Feed {
    /// Whether the state has to do with it: of records it takes only the lines that come of them.
    pub(super) const fn takes(input: &Input<'_>) -> bool {
        !matches!(input, Input::Record(_) | Input::Time(_))
    }

    pub(super) fn input(&mut self, state: &mut State, input: &Input<'_>) {
        match input {
            Input::Clock(clock) => self.clock = Some(*clock),
            // A recording has one; each of its files begins with it.
            Input::Head(_) if self.clock.is_some() => return,
            Input::Head(head) => {
                state.file(head.file);
                self.clock = Some(head.clock);
                state.passed(head.clock.wall(head.clock.ktime).0);
                head.targets.iter().for_each(|target| state.traced(name(target)));
            }
            Input::Target(target) => state.traced(name(target)),
            Input::Sample(sample) => self.tick(state, sample.at),
            _ => {}
        }
        if let Some(fact) = Fact::of(input) {
            state.told(Told::Fact(Box::new(fact)));
        }
    }

    /// Takes a line. The summary is none: the state sums up by itself, up to the moment that it shows.
    pub(super) fn line(state: &mut State, line: &Line) {
        if !matches!(line, Line::Summary(_)) {
            state.told(Told::Line(Box::new(line.clone())));
        }
    }

    /// It is at least so late.
    pub(super) fn tick(&self, state: &mut State, now: KtimeNs) {
        self.clock.into_iter().for_each(|clock| state.passed(clock.wall(now).0));
    }
}

/// A server as the title has it.
pub(super) fn name(target: &Target) -> String {
    if target.comm.is_empty() {
        return format!("pid {}", target.pid);
    }
    format!("{} ({})", target.comm, target.pid)
}
