//! A live trace: probes attached, records decoded and correlated, what comes of it handed to a [`Sink`].
//!
//! Everything that tells the story goes through `decode` and `correlate`, so a recorded trace tells the same. What is sampled beside the events (queue lengths,
//! whether the server is stopped, changed tables) is looked at here, on a timer.

mod asides;
mod error;
mod run;
mod seed;
pub(crate) mod signals;
mod tracee;

use std::time::Duration;

use caps::Capability;
pub use error::SessionError;
pub use run::Session;
pub use tracee::Tracee;

use crate::{
    host::process::{ProcessInfo, Wanted},
    model::{ClockPair, KtimeNs, Line, Summary},
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
    /// How to load the kernel side.
    pub probe: probe::Options,
}

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Ctrl-C or SIGTERM.
    Asked,
    /// Its time was up.
    Duration,
    /// No target is left.
    TargetsGone,
    /// Whoever took the output does not want any more.
    OutputClosed,
}

impl Ended {
    /// In words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Asked => "asked to end",
            Self::Duration => "its time was up",
            Self::TargetsGone => "every target has exited",
            Self::OutputClosed => "the output was closed",
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
    Snapshot(&'a trace::SnapshotMeta, &'a [u8]),
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
}

/// The end of a trace.
#[derive(Clone, Debug)]
pub struct End {
    /// Why.
    pub why: Ended,
    /// Its summary, which the sink was given as its last line.
    pub summary: Summary,
}
