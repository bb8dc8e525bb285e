//! What one input says besides connections, to keep: whoever goes back to a moment of a trace takes again what was said until then.

use super::{Context, FileVersion};
use crate::model::{ClockPair, Degradation};
use crate::trace::{Damage, End, Head, Input, Sample, Target};

/// One of them.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The head, its targets included.
    Head(Box<Head>),
    /// A target.
    Target(Box<Target>),
    /// A file.
    File(Box<FileVersion>),
    /// The same moment on both clocks.
    Clock(ClockPair),
    /// A sample.
    Sample(Box<Sample>),
    /// Something that cannot be seen.
    Degradation(Box<Degradation>),
    /// Something is missing.
    Damage(Damage),
    /// The recorder ended by itself.
    End(Box<End>),
}

impl Fact {
    /// What this input says; none where it is a record, time, or a loss, of which lines are told.
    pub fn of(input: &Input<'_>) -> Option<Self> {
        Some(match input {
            Input::Head(head) => Self::Head(Box::new(head.as_ref().clone())),
            Input::Target(target) => Self::Target(Box::new(target.as_ref().clone())),
            Input::File(file) => Self::File(Box::new(FileVersion::of(file))),
            Input::Clock(clock) => Self::Clock(*clock),
            Input::Sample(sample) => Self::Sample(Box::new(sample.as_ref().clone())),
            Input::Degradation(degradation) => Self::Degradation(Box::new(degradation.as_ref().clone())),
            Input::Damage(damage) => Self::Damage(*damage),
            Input::End(end) => Self::End(Box::new(end.as_ref().clone())),
            Input::Record(_) | Input::Time(_) | Input::Loss(_) => return None,
        })
    }

    /// What its file takes in memory, about; what is no file is small.
    pub fn file_bytes(&self) -> usize {
        if let Self::File(file) = self { file.memory_bytes() } else { 0 }
    }
}

impl Context {
    /// Takes what an input said.
    pub fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Head(head) => {
                self.head(head);
                head.targets.iter().for_each(|target| self.target(target));
            }
            Fact::Target(target) => self.target(target),
            Fact::File(file) => self.file_version(file.as_ref().clone()),
            Fact::Clock(_) => {}
            Fact::Sample(sample) => self.sample(sample),
            Fact::Degradation(degradation) => self.degradation(degradation),
            Fact::Damage(damage) => self.damage(*damage),
            Fact::End(end) => self.end(end),
        }
    }
}
