//! A trace told to its end, and what it comes to: for everything that wants a [`Report`].

use std::io::Read;

use super::{Options, Progress, Replay};
use crate::context::Context;
use crate::diagnose::{Diagnosis, Report};
use crate::engine::Filter;
use crate::model::{ClockPair, Line};
use crate::trace::ReadError;

/// How many connections lie between two calls of `progress`.
const PROGRESS_EVERY: u64 = 1024;

/// A trace told to its end.
#[derive(Debug)]
pub struct TraceReport {
    /// What it comes to.
    pub report: Report,
    /// What drawing needs besides: the accept threads' work.
    pub diagnosis: Diagnosis,
    /// What the trace says besides its connections.
    pub context: Context,
    /// Both clocks at its end.
    pub clock: ClockPair,
    /// How much there was.
    pub progress: Progress,
}

/// What to make of it.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Which connections.
    pub filter: Filter,
    /// How many of the slowest connections to keep.
    pub slowest: usize,
    /// The file's name, for the report.
    pub file_name: &'a str,
}

impl TraceReport {
    /// Tells the trace that `source` holds; `progress` is called now and then.
    pub fn read(
        source: impl Read,
        wanted: &Wanted<'_>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, ReadError> {
        let filter = wanted.filter.clone();
        // What-if needs everybody; a time is a trace of its own.
        let everybody = Filter { since: None, until: None, ..filter.clone() }.is_empty();
        let mut replay = Replay::new(source, Options { filter, stalls: false, ..Options::default() });
        let mut diagnosis = Diagnosis::new(wanted.slowest);
        let mut summary = None;
        let mut count = 0_u64;
        while let Some(line) = replay.next_line()? {
            match line {
                Line::Connection(connection) => {
                    diagnosis.add(&connection, replay.context());
                    count += 1;
                    if count.is_multiple_of(PROGRESS_EVERY) {
                        progress(replay.progress());
                    }
                }
                Line::Request(request) => diagnosis.add_request(&request, replay.context()),
                Line::Summary(told) => summary = Some(*told),
                _ => {}
            }
        }
        let summary = summary.unwrap_or_else(|| replay.summary());
        let (clock, progress) = (replay.clock(), replay.progress());
        let report =
            diagnosis.finish(replay.context(), summary, wanted.file_name, progress.connections, everybody);
        Ok(Self { report, diagnosis, context: replay.into_context(), clock, progress })
    }
}
