//! Recording: what a session gives, into a trace file.
//!
//! The [`Recorder`] observes a live trace. It makes the file once everything is attached, so a trace that cannot begin leaves none behind, and has it written at
//! least once a second. The session's own lines are not recorded: they follow from the records. The flight recorder's conditions look at them; where there are none, no lines of
//! connections are made.
//!
//! When the trace cannot be written any more (no space left, its directory removed) the session ends as if asked to: a recorder next to a database must not
//! insist. What was written so far stays readable; [`Recorder::finish`] says what happened. Only the flight recorder goes on without space, as it makes some itself
//! by forgetting the oldest.

mod flight;
mod out;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use flight::{Flight, FlightPlan};
use out::Out;

use crate::{
    model::{KtimeNs, Line},
    observe::Observer,
    trace::{BlockSink as _, CreateError, End, Input, SaveError, WriteError, Writer, WriterOptions},
};

/// How often it is looked whether the file still has its name.
const LOOK_NS: u64 = 1_000_000_000;

/// Into which files a trace goes.
#[derive(Clone, Debug)]
pub enum Plan {
    /// One.
    Single,
    /// Several in turn.
    Rotated {
        /// A further one begins before this one has so many bytes.
        max_bytes: u64,
        /// Finished ones that stay; `None`: all.
        keep: Option<usize>,
    },
    /// A ring of the last minutes, and a trace of it when something happens.
    Flight(FlightPlan),
}

impl Plan {
    /// How it is written: a burst in one block must not fill more than the part of a file that is left beside what each repeats.
    fn writer(&self) -> WriterOptions {
        let options = WriterOptions::default();
        let most = match self {
            Self::Rotated { max_bytes, .. } => usize::try_from(max_bytes / 4).unwrap_or(usize::MAX),
            Self::Flight(plan) => plan.ring.block_bytes(),
            Self::Single => options.block_bytes,
        };
        WriterOptions { block_bytes: options.block_bytes.min(most), ..options }
    }
}

/// What ended a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// There is no such directory.
    #[error("cannot create {}: there is no directory {}", path.display(), dir.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// Where it should be.
        dir: PathBuf,
    },
    /// It could not be written any more.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// It was removed, and what it held was brought elsewhere.
    #[error("{} was removed while it was being written; {what} is in {}", path.display(), rescued.display())]
    Removed {
        /// The file.
        path: PathBuf,
        /// How much of it could be saved.
        what: &'static str,
        /// Its copy.
        rescued: PathBuf,
    },
    /// It was removed, and what it held is lost.
    #[error("{} was removed while it was being written, and what was recorded is lost: {why}", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
        /// Why it could not be brought elsewhere.
        why: String,
    },
    /// The flight recorder could not save what it was asked to.
    #[error("{why}: {source}; what it holds is in {}", ring.display())]
    Save {
        /// For what.
        why: String,
        /// Why not.
        source: SaveError,
        /// Its ring, which stays.
        ring: PathBuf,
    },
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Since when, by the kernel side's clock.
    pub from: KtimeNs,
    /// Until when.
    pub to: KtimeNs,
    /// Connections whose story is over.
    pub connections: u64,
    /// Records.
    pub records: u64,
    /// Events lost, before they came here or because they could not be written.
    pub lost: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Finished {
    /// How far it came.
    pub progress: Progress,
    /// Traces there are now; the one being written to first.
    pub traces: Vec<PathBuf>,
}

/// Writes a trace.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    plan: Plan,
    force: bool,
    options: Vec<(String, String)>,
    writer: Option<Writer<Out>>,
    flight: Option<Flight>,
    failed: Option<RecordError>,
    messages: Vec<String>,
    end: Option<End>,
    progress: Progress,
    looked: KtimeNs,
}

impl Recorder {
    /// Will write to `path`. What can be known to fail, fails now. `options` are noted in the head.
    pub fn new(
        path: &Path,
        plan: Plan,
        force: bool,
        options: Vec<(String, String)>,
    ) -> Result<Self, RecordError> {
        out::check(path, &plan, force)?;
        Ok(Self {
            path: path.to_owned(),
            plan,
            force,
            options,
            writer: None,
            flight: None,
            failed: None,
            messages: Vec::new(),
            end: None,
            progress: Progress::default(),
            looked: KtimeNs(0),
        })
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let mut progress = self.progress;
        if let Some(writer) = &self.writer {
            progress.records = writer.records();
            progress.lost += writer.dropped();
            progress.bytes = writer.size();
        }
        progress
    }

    /// Whether it takes nothing any more: what could not be written once is not tried again. A file without a name still takes everything, and is
    /// rescued with it.
    pub fn is_closed(&self) -> bool {
        matches!(self.failed, Some(RecordError::Write(_)))
    }

    /// What there was to say since the last time, one line each.
    pub fn take_messages(&mut self) -> Vec<String> {
        let mut messages = std::mem::take(&mut self.messages);
        messages.extend(self.flight.iter_mut().flat_map(Flight::take_messages));
        messages
    }

    /// Ends the file. To be called once the session is over, however it ended.
    pub fn finish(mut self) -> Result<Finished, RecordError> {
        let progress = self.progress();
        let Some(mut writer) = self.writer.take() else {
            return self.failed.map_or_else(|| Ok(Finished::default()), Err);
        };
        let end = self.end.take().unwrap_or_else(|| End {
            at: progress.to,
            reason: "it could not go on".to_owned(),
            ..End::default()
        });
        let mut traces = vec![self.path.clone()];
        let mut saved = Ok(());
        if let Some(flight) = self.flight.take() {
            saved = flight.finish(&mut writer, end.at).map(|found| traces = found);
        }
        let (out, ended) = writer.finish(end);
        let progress = Progress { bytes: out.size(), ..progress };
        let linked = out.is_linked();
        match self.failed.take() {
            _ if !linked => return Err(out.rescue(&self.path)),
            Some(failed) => return Err(failed),
            None => ended?,
        }
        saved?;
        out.leave();
        Ok(Finished { progress, traces })
    }

    fn begin(&mut self, head: &crate::trace::Head) -> Result<(), RecordError> {
        let mut head = head.clone();
        head.options.extend(self.options.drain(..));
        self.progress.from = head.clock.ktime;
        self.progress.to = head.clock.ktime;
        self.looked = head.clock.ktime;
        let out = Out::create(&self.path, &self.plan, self.force)?;
        if let Plan::Flight(plan) = &self.plan {
            self.flight = Some(Flight::new(plan, &self.path, head.clock.ktime));
        }
        self.writer = Some(Writer::new(out, &head, self.plan.writer())?);
        Ok(())
    }

    /// Has the writer do something. Where it fails for good, the session is told to end.
    fn write(
        &mut self,
        write: impl FnOnce(&mut Writer<Out>) -> Result<(), WriteError>,
    ) -> Result<(), RecordError> {
        if self.is_closed() {
            return Ok(());
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        match write(writer) {
            Err(WriteError::NotARecord { have }) => log::warn!("{have} bytes that are not a record"),
            Err(error @ WriteError::NoRoom { .. }) if self.flight.is_some() => {
                log::warn!("not kept in the ring: {error}");
            }
            Err(error) if self.flight.is_some() && error.is_full() => {
                // Counted as lost; said once for a time without space.
                if let Some(flight) = &mut self.flight {
                    flight.full(self.progress.to);
                }
            }
            other => other?,
        }
        Ok(())
    }

    fn time(&mut self, now: KtimeNs) -> Result<(), RecordError> {
        self.progress.to = now;
        self.write(|writer| writer.tick(now))?;
        if let (Some(flight), Some(writer)) = (&mut self.flight, &mut self.writer) {
            flight.turn(writer, now);
        }
        if self.failed.is_none() && now.since(self.looked) >= LOOK_NS {
            self.looked = now;
            if let Some(writer) = &self.writer
                && !writer.out().is_linked()
            {
                // Told in full by finish().
                let why = "its directory was removed".to_owned();
                return Err(RecordError::Gone { path: self.path.clone(), why });
            }
        }
        Ok(())
    }

    fn take(&mut self, input: &Input<'_>) -> Result<(), RecordError> {
        match input {
            Input::Head(head) => return self.begin(head),
            Input::End(end) => {
                self.progress.to = end.at;
                self.end = Some(end.clone().into_owned());
                return Ok(());
            }
            Input::Sample(sample) => {
                if let (Some(flight), Some(writer)) = (&mut self.flight, &mut self.writer) {
                    flight.see_sample(sample, writer);
                }
            }
            Input::Loss(lost) => self.progress.lost += lost.events,
            _ => {}
        }
        self.write(|writer| writer.write(input))
    }

    fn see_line(&mut self, line: &Line) {
        if let (Some(flight), Some(writer)) = (&mut self.flight, &mut self.writer) {
            flight.see_line(line, writer, self.progress.to);
        }
    }

    /// Keeps the first error and has the session end.
    fn keep(&mut self, result: Result<(), RecordError>) -> io::Result<()> {
        let Err(error) = result else { return Ok(()) };
        self.failed.get_or_insert(error);
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

impl Observer for Recorder {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        let taken = self.take(input);
        self.keep(taken)
    }

    /// The flight recorder's conditions look at them.
    fn wants_connections(&self) -> bool {
        matches!(self.plan, Plan::Flight(_))
    }

    fn count(&mut self, connections: u64) {
        self.progress.connections = connections;
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.see_line(line);
        if self.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn tick(&mut self, now: KtimeNs) -> io::Result<()> {
        let taken = self.time(now);
        self.keep(taken)
    }
}
