//! A live trace: probes attached, records decoded and correlated, what comes of it handed to a [`Sink`].
//!
//! Everything that tells the story goes through `decode` and `correlate`, so a recorded trace tells the same. What is sampled beside the events (queue lengths,
//! whether the server is stopped, changed tables) is looked at here, on a timer.

mod asides;
mod error;
mod meter;
mod run;
mod seed;
pub(crate) mod signals;
mod targets;
mod tracee;

use std::time::Duration;

use caps::Capability;
pub use error::SessionError;
pub use meter::Measure;
pub use run::Session;
pub use tracee::Tracee;

use crate::{
    host::process::{ProcessInfo, Wanted},
    model::{ClockPair, Cost, KtimeNs, Line, Share, Summary},
    probe, trace,
};

/// What to trace and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which processes.
    pub wanted: Wanted,
    /// Wait for one to start, and for the next when it ends.
    pub wait: bool,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// A check this long is a stall.
    pub slow_ns: u64,
    /// Put uprobes on libwrap.
    pub uprobes: bool,
    /// How often to measure what the server pays, and what it may pay.
    pub measure: Measure,
    /// How to load the kernel side.
    pub probe: probe::Options,
}

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// Ctrl-C or SIGTERM.
    Asked,
    /// Its time was up.
    Duration,
    /// No target is left.
    TargetsGone,
    /// Whoever took the output does not want any more.
    OutputClosed,
    /// The programs took more of one core than they may.
    TooExpensive {
        /// What they took.
        share: f64,
        /// What they may.
        limit: f64,
    },
}

impl Ended {
    /// In words.
    pub fn reason(self) -> String {
        match self {
            Self::Asked => "asked to end".to_owned(),
            Self::Duration => "its time was up".to_owned(),
            Self::TargetsGone => "every target has exited".to_owned(),
            Self::OutputClosed => "the output was closed".to_owned(),
            Self::TooExpensive { share, limit } => {
                let (took, may) = (share * 100.0, Share(limit).percent());
                format!(
                    "detached: the programs took {took:.4} % of one core, more than the {may} % of --max-overhead"
                )
            }
        }
    }
}

/// Takes what a trace gives. An error of kind `BrokenPipe` ends the trace as if asked to.
pub trait Sink {
    /// A record as the kernel wrote it, before anything was made of it.
    fn record(&mut self, _record: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    /// Whether it wants what is not a line but belongs into a recording; it costs a few reads of /proc a second.
    fn wants_asides(&self) -> bool {
        false
    }

    /// Such a thing.
    fn aside(&mut self, _aside: &Aside<'_>) -> std::io::Result<()> {
        Ok(())
    }

    /// Something to tell.
    fn line(&mut self, line: &Line) -> std::io::Result<()>;

    /// What was told so far is to be seen: nothing more comes at once.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Capabilities that it needs while the trace goes on; all others are given up once everything is attached.
    fn capabilities(&self) -> &[Capability] {
        &[]
    }

    /// A line on the run itself: what is watched, what went.
    fn notice(&mut self, notice: &Notice<'_>) {
        let _ = notice;
    }
}

/// What belongs into a recording besides records, losses and degradations. Everything comes in the order in which it was used here: whoever takes records and
/// asides in that order comes to the same lines.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Aside<'a> {
    /// Everything is attached, and the first targets are traced. Comes once, and before all other asides and records.
    Begun(&'a trace::Head),
    /// A further process is traced from here on.
    Target(&'a trace::Target),
    /// A target's file, at the beginning and whenever it has changed.
    Snapshot(&'a trace::Snapshot),
    /// Both clocks; once a second.
    Clock(ClockPair),
    /// Queues, counters and the like; once a second, just before stalls are looked for.
    Sample(&'a trace::Sample),
    /// What time it is; ten times a second.
    Time(KtimeNs),
    /// No further record will come.
    Ended(&'a trace::End),
}

/// Something about the run itself.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// Nothing to trace yet.
    Waiting(&'a Wanted),
    /// A target is traced from now on.
    Watching(&'a Tracee),
    /// A target has ended.
    Exited(&'a ProcessInfo),
    /// A target was not taken.
    Skipped(&'a SessionError),
    /// A target replaced its program: `twist`, or an upgrade in place.
    Replaced(&'a ProcessInfo),
    /// What it has cost so far; once a second.
    Cost(&'a Cost),
}

/// The end of a trace.
#[derive(Clone, Debug)]
pub struct End {
    /// Why.
    pub why: Ended,
    /// Its summary, which the sink was given as its last line.
    pub summary: Summary,
}
