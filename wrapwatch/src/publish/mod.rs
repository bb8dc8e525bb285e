//! Publishing a trace while it grows: an unprivileged reader of the files that a recorder writes, with the same engine, and [`Metrics`] as the observer.
//!
//! The recorder opens no socket and knows nothing of this. [`Publisher::poll`] reads what there is and says when there is nothing more for now; it never waits. It follows
//! a recording over rotation, finds the next one where a recorder is started anew, reads on behind a cut, and counts what it missed.
//!
//! # Nothing twice
//! With a file for its [`Position`]s, a later run reads the files that are still there again, so that it knows what is open, and begins to count behind what the earlier
//! run had published. Counters begin at 0 then, as Prometheus expects of a process that was started anew. What is sent lags behind what is counted while a collector is
//! down, so that it has a position of its own: a later run sends what the earlier one could not.

mod beside;
mod follow;
mod http;
#[cfg(feature = "otlp")]
pub mod otlp;
mod place;
mod position;
mod sending;
mod story;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use follow::Step;
pub use follow::{Follower, Growth, tell};
pub use http::{Form, Listening};
use position::{Kept, Position};
use story::Story;

use crate::metrics::Metrics;
use crate::model::WallTime;
use crate::trace::ReadError;

/// Without a sample for so long, the recorder is silent.
const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Threshold for stalls, checks that take this long, and for slow clients, where the trace does not say.
const SLOW_NS: u64 = 100_000_000;

/// Why a trace cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The system said so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something in a file.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What.
        source: ReadError,
    },
    /// Nothing is there.
    #[error("no trace in {} (a ring of a flight recorder, or a folder with rings)", .0.display())]
    Nothing(PathBuf),
    /// It begins otherwise than a trace.
    #[error("{} is not a wrapwatch trace", .0.display())]
    NotATrace(PathBuf),
    /// The position cannot be read or written.
    #[error("cannot keep the position in {}: {source}", path.display())]
    Position {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What [`Publisher::poll`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There is more to read.
    More,
    /// There is nothing more for now; without `follow`: at all.
    Idle,
}

/// Reads a trace that may grow, see the [module](self).
#[derive(Debug)]
pub struct Publisher {
    follower: Follower,
    follow: bool,
    story: Story,
    /// Since when is counted.
    begun: WallTime,
    position_file: Option<PathBuf>,
    /// How far the run before had counted, while this one has not come there.
    resume: Option<Position>,
    /// How far what was counted has been published, by this run or an earlier one.
    counted: Option<Position>,
    /// How far everything has been sent, by this run or an earlier one.
    sent: Option<Position>,
    /// How far the runs before had sent, while this one has not come there.
    resend: Option<Position>,
}

impl Publisher {
    /// Of the trace, ring or folder of rings at `path`, from its oldest file on; `follow`: also of what is still to be written, so that it need not be there yet.
    pub fn new(path: &Path, follow: bool, position_file: Option<PathBuf>) -> Result<Self, PublishError> {
        let follower = Follower::new(path, follow)?;
        let kept = match &position_file {
            Some(file) => Kept::read(file).map_err(|source| position_error(file, source))?,
            None => None,
        };
        Ok(Self {
            follower,
            follow,
            story: Story::default(),
            begun: now(),
            position_file,
            resume: kept.map(|kept| kept.counted),
            counted: kept.map(|kept| kept.counted),
            sent: kept.and_then(|kept| kept.sent),
            resend: None,
        })
    }

    /// Has what was counted sent, as it is now; not while what an earlier run counted or sent is read again.
    pub fn send_counted(&mut self) {
        if self.is_ready() && self.is_sending() {
            let trace = self.follower.path().display().to_string();
            let now = now().max(self.begun);
            self.story.send_counted(&trace, (self.begun, now));
        }
    }

    /// What was counted so far.
    pub const fn metrics(&self) -> &Metrics {
        &self.story.metrics
    }

    /// Whether what was counted is to be published: not while what was published by an earlier run is read again.
    pub const fn is_ready(&self) -> bool {
        self.resume.is_none()
    }

    /// Whether what is told is to be sent: not while what an earlier run had sent is read again.
    pub const fn is_sending(&self) -> bool {
        self.resend.is_none()
    }

    /// Bytes read so far, and bytes there are; 0 where that is not known.
    pub fn bytes(&self) -> (u64, u64) {
        self.follower.bytes()
    }

    /// What was missed since the last call, for a person.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.story.notes)
    }

    /// What was counted so far has been published: a later run goes on from here. What was told and is not sent yet, it tells again.
    pub fn published(&mut self) -> Result<(), PublishError> {
        self.now().map_or(Ok(()), |now| self.keep(now))
    }

    /// What was told so far is sent, as far as it is: a later run sends the rest only. How much is counted stays as it was published last.
    pub fn sent(&mut self) -> Result<(), PublishError> {
        match self.counted {
            Some(counted) if self.is_sending() => self.keep(counted),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, counted: Position) -> Result<(), PublishError> {
        let (Some(file), Some(now)) = (&self.position_file, self.now()) else { return Ok(()) };
        if self.resend.is_none() {
            self.sent = self.story.sent(now).or(self.sent);
        }
        Kept { counted, sent: self.sent }.write(file).map_err(|source| position_error(file, source))?;
        self.counted = Some(counted);
        Ok(())
    }

    /// How far it has read.
    fn now(&self) -> Option<Position> {
        Some(Position::new(self.story.recording?, self.follower.taken()?))
    }

    /// Reads on: up to so many inputs. An error is final.
    pub fn poll(&mut self, inputs: usize) -> Result<Polled, PublishError> {
        for _ in 0..inputs {
            let Self { follower, story, resume, counted, sent, resend, .. } = self;
            let step = follower.step(&mut |input, taken| {
                let (at, first) = (story.at(input), story.recording.is_none());
                let passed = |position: &mut Position| position.is_before(at, taken);
                if let Some(position) = resume.take_if(passed) {
                    story.metrics.zero();
                    if first {
                        story.missed(position.missed(at));
                    }
                }
                let begin = at.filter(|_| first).map(|recording| Position::new(recording, 0));
                *counted = counted.or(begin);
                if story.is_sent() {
                    *sent = sent.or(begin);
                }
                if let Some(position) = resend.take_if(passed) {
                    story.forget();
                    if first {
                        story.never_sent(position.missed(at));
                    }
                }
                story.take(input);
            })?;
            self.story.notes.append(&mut self.follower.notes);
            if step == Step::Nothing {
                return self.idle();
            }
        }
        Ok(Polled::More)
    }

    fn idle(&mut self) -> Result<Polled, PublishError> {
        if !self.follow {
            if self.follower.has_read_nothing() {
                return Err(PublishError::Nothing(self.follower.path().to_owned()));
            }
            self.story.finish();
        }
        // All there is was published before.
        if self.resume.take().is_some() {
            self.story.metrics.zero();
        }
        if self.resend.take().is_some() {
            self.story.forget();
        }
        self.story.flush();
        let last = self.story.metrics.last_sample();
        let age = last.and_then(|at| SystemTime::now().duration_since(at.0.into()).ok());
        if age.is_some_and(|age| age > SILENT_AFTER) {
            self.story.metrics.silent();
        }
        Ok(Polled::Idle)
    }
}

/// What time it is.
fn now() -> WallTime {
    WallTime(jiff::Timestamp::now())
}

fn position_error(path: &Path, source: io::Error) -> PublishError {
    PublishError::Position { path: path.to_owned(), source }
}

/// Writes the metrics into a text file that the node exporter's textfile collector reads, in one step: where that fails, the old one stays.
pub fn write_textfile(path: &Path, metrics: &Metrics) -> io::Result<()> {
    beside::replace(path, metrics.prometheus_text().as_bytes(), 0o644)
}
