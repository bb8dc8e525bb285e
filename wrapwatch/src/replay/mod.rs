//! A trace told again: reader → engine → the lines that `live` would have printed, one after another.
//!
//! Report, diff, replay and export all read traces through this. Memory is bounded by what the engine remembers; a trace of any length can be told.
//!
//! The [crate] has an example. The last line is the summary; [`Replay::context`] has head, files of the targets, samples and damage.

mod lint_input;
mod trace_report;

use std::io::Read;

use crate::context::Context;
use crate::engine::Engine;
pub use crate::engine::Options;
use crate::model::{ClockPair, KtimeNs, Line, Summary};
use crate::trace::{Input, ReadError, Reader};

pub use lint_input::{FileCopy, LintInput};
pub use trace_report::{TraceReport, Wanted};

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file read.
    pub bytes: u64,
    /// Records read.
    pub events: u64,
    /// Connections told, those that the filter left out included.
    pub connections: u64,
}

/// A trace being told, see the [module](self).
#[derive(Debug)]
pub struct Replay<R> {
    reader: Reader<R>,
    engine: Engine,
    ended: bool,
}

impl<R: Read> Replay<R> {
    /// Tells the trace that `source` holds from where it stands. It need not be buffered.
    pub fn new(source: R, options: Options) -> Self {
        Self { reader: Reader::new(source), engine: Engine::new(options), ended: false }
    }

    /// The next line; the last one is the summary, then `None`. An error is final: the source fails, is no trace, or is a later version's.
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        self.next_line_of(|_| Ok(()))
    }

    /// The next line, for whoever wants to see each input before what comes of it.
    pub fn next_line_of<E: From<ReadError>>(
        &mut self,
        mut see: impl FnMut(&Input<'_>) -> Result<(), E>,
    ) -> Result<Option<Line>, E> {
        loop {
            if let Some(line) = self.engine.next_line() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(input) = self.reader.next_input()? {
                see(&input)?;
                self.engine.feed(&input);
            } else {
                self.engine.finish();
                self.ended = true;
            }
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let (events, connections) = (self.engine.events(), self.engine.told());
        Progress { bytes: self.reader.offset(), events, connections }
    }
}

impl<R> Replay<R> {
    /// What the trace says besides its connections, as far as it was read.
    pub const fn context(&self) -> &Context {
        self.engine.context()
    }

    /// What the trace says besides its connections, to keep.
    pub fn into_context(self) -> Context {
        self.engine.into_context()
    }

    /// The trace's time at which the last line was told: replay paces itself by this.
    pub const fn now(&self) -> KtimeNs {
        self.engine.now()
    }

    /// Both clocks, by the last pair read.
    pub const fn clock(&self) -> ClockPair {
        self.engine.clock()
    }

    /// The summary of what was told so far.
    pub fn summary(&self) -> Summary {
        self.engine.summary()
    }

    /// Records that could not be decoded.
    pub const fn undecodable(&self) -> u64 {
        self.engine.undecodable()
    }
}

impl<R: Read> Iterator for Replay<R> {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

#[cfg(test)]
mod tests;
