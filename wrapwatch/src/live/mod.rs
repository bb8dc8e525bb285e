//! A live trace: makes inputs of what the ring has and of what /proc shows, feeds the engine with them, answers its questions. What comes of it is handed to
//! an [`crate::observe::Observer`], which is given the inputs as well.
//!
//! Nothing here decides what an input means, and nothing goes into the engine but inputs: so a recorded trace tells the same.

mod error;
mod feed;
mod hooks_off;
mod inputs;
mod looks;
mod losses;
mod meter;
mod pace;
mod run;
mod seed;
mod session;
pub(crate) mod signals;
mod target;
mod targets;

use std::time::Duration;

use caps::Capability;
pub use error::SessionError;
pub use meter::Measure;
pub use session::Session;
pub use target::Process;

use crate::{
    host::wanted::Wanted,
    model::{Share, Summary},
    probe,
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
    /// Threshold for stalls: checks that take this long.
    pub slow_ns: u64,
    /// Put uprobes on libwrap.
    pub uprobes: bool,
    /// How often to measure what the server pays, and what it may pay.
    pub measure: Measure,
    /// How to load the kernel side.
    pub probe: probe::Options,
    /// Capabilities that the observer needs while the trace goes on; all others are given up once everything is attached.
    pub keep: Vec<Capability>,
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
    /// The kernel runs the hooks no more.
    HooksOff {
        /// Why not.
        why: &'static str,
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
            Self::HooksOff { why } => {
                format!(
                    "the kernel runs the hooks no more, since {why}: within the last second connections may be missing"
                )
            }
        }
    }

    /// Whether it did not do what was asked.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::TooExpensive { .. } | Self::HooksOff { .. })
    }
}

/// The end of a trace.
#[derive(Clone, Debug)]
pub struct End {
    /// Why.
    pub why: Ended,
    /// Its summary, which the observer was given as its last line.
    pub summary: Summary,
}
