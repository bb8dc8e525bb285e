//! The flight recorder: what it waits for, and saving when it came.

use std::{
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use super::{Out, RecordError};
use crate::{
    model::{KtimeNs, Line},
    trace::{Condition, Early, FlightOptions, FlightRing, Sample, Save, SaveError, Saved, Trigger, Writer},
};

/// How often it is said that there is no space.
const FULL_NS: u64 = 60_000_000_000;

/// What the flight recorder keeps, and when it saves.
#[derive(Clone, Debug)]
pub struct FlightPlan {
    /// How much.
    pub ring: FlightOptions,
    /// On any of these; none: at the end only.
    pub when: Vec<Condition>,
    /// So long afterwards.
    pub after_ns: u64,
    /// What happens within this time afterwards is not saved for again.
    pub cooldown_ns: u64,
}

/// A trace being saved.
#[derive(Debug)]
struct Saving {
    why: String,
    to: PathBuf,
    thread: JoinHandle<Result<Saved, SaveError>>,
}

/// Its state.
#[derive(Debug)]
pub struct Flight {
    path: PathBuf,
    when: Vec<Condition>,
    trigger: Trigger,
    saving: Vec<Saving>,
    saved: Vec<PathBuf>,
    failed: Option<(String, SaveError)>,
    messages: Vec<String>,
    full_until: KtimeNs,
    short_until: KtimeNs,
    /// When the recording began.
    began: KtimeNs,
}

impl Flight {
    pub(super) fn new(plan: &FlightPlan, path: &Path, began: KtimeNs) -> Self {
        Self {
            path: path.to_owned(),
            when: plan.when.clone(),
            trigger: Trigger::new(plan.after_ns, plan.cooldown_ns),
            saving: Vec::new(),
            saved: Vec::new(),
            failed: None,
            messages: Vec::new(),
            full_until: KtimeNs(0),
            short_until: KtimeNs(0),
            began,
        }
    }

    pub(super) fn take_messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }

    /// There is no space for the ring.
    pub(super) fn full(&mut self, now: KtimeNs) {
        if now >= self.full_until {
            self.full_until = now.plus(FULL_NS);
            self.messages.push(format!(
                "no space left for the ring of {}: what happens now is not kept",
                self.path.display()
            ));
        }
    }

    /// Looks at what is told, whether it is what is waited for.
    pub(super) fn see_line(&mut self, line: &Line, writer: &mut Writer<Out>, now: KtimeNs) {
        let met = self.when.iter().copied().find(|condition| match line {
            Line::Connection(connection) | Line::Request(connection) => condition.connection(connection),
            Line::Stall(stall) => condition.stall(stall),
            Line::Lost(lost) => condition.lost(lost),
            Line::Degradation(_) | Line::Summary(_) => false,
        });
        if let Some(condition) = met {
            self.happened(condition, began(line, now), writer, now);
        }
    }

    pub(super) fn see_sample(&mut self, sample: &Sample, writer: &mut Writer<Out>) {
        if let Some(condition) = self.when.iter().copied().find(|condition| condition.sample(sample)) {
            self.happened(condition, sample.at, writer, sample.at);
        }
    }

    /// What is waited for has happened, and began at `from`: from now on the ring keeps it until it is saved.
    fn happened(&mut self, condition: Condition, from: KtimeNs, writer: &mut Writer<Out>, now: KtimeNs) {
        self.take_early(writer, now);
        let why = condition.to_string();
        if self.trigger.is_open(now) {
            // What began before the recording is kept from its beginning on.
            let from = from.max(self.began);
            if let Err(error) = pin(writer, &why, from, now) {
                self.short(why, error, now);
                return;
            }
            self.messages.push(format!("{why}: a trace will be saved"));
        }
        self.trigger.happened(now, &why);
    }

    /// The ring had lost it already. Said once for a time.
    fn short(&mut self, why: String, error: SaveError, now: KtimeNs) {
        if now >= self.short_until {
            self.short_until = now.plus(FULL_NS);
            self.fail(why, error);
        }
    }

    /// Saves what is due; to be called often.
    pub(super) fn turn(&mut self, writer: &mut Writer<Out>, now: KtimeNs) {
        self.take_early(writer, now);
        if let Some(why) = self.trigger.due(now) {
            self.save(writer, why, now);
        }
        let (done, going): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.saving).into_iter().partition(|saving| saving.thread.is_finished());
        self.saving = going;
        for saving in done {
            self.reap(saving, writer);
        }
    }

    fn take_early(&mut self, writer: &mut Writer<Out>, now: KtimeNs) {
        let early = ring(writer).and_then(FlightRing::take_early);
        if let Some(Early { why, save }) = early {
            self.trigger.saved_early(now);
            self.messages.push(format!("{why}: saved now, not later, because the ring has no room for more"));
            self.begin(why, save);
        }
    }

    fn save(&mut self, writer: &mut Writer<Out>, why: String, now: KtimeNs) {
        let flushed = writer.flush_block();
        // Room for the last block may have cost the first one: it was saved with that.
        let early = ring(writer).and_then(FlightRing::take_early);
        let save = match (early, flushed) {
            (Some(early), _) => early.save,
            (None, Err(error)) => Err(error.into()),
            (None, Ok(())) => ring(writer).map_or_else(|| Err(no_ring()), |ring| ring.save(&why, now)),
        };
        self.begin(why, save);
    }

    /// Writes a trace in a thread of its own: it reads up to the whole ring, and the records must not wait for that.
    fn begin(&mut self, why: String, save: Result<Save, SaveError>) {
        match save {
            Ok(save) => {
                let to = save.to().to_owned();
                self.saving.push(Saving { why, to, thread: std::thread::spawn(move || save.run()) });
            }
            Err(error) => self.fail(why, error),
        }
    }

    fn reap(&mut self, saving: Saving, writer: &mut Writer<Out>) {
        if let Some(ring) = ring(writer) {
            ring.saved(&saving.to);
        }
        match saving.thread.join() {
            Ok(Ok(saved)) => {
                self.messages.push(format!(
                    "{}: saved to {} ({} bytes)",
                    saving.why,
                    saved.path.display(),
                    saved.bytes
                ));
                self.saved.push(saved.path);
            }
            Ok(Err(error)) => self.fail(saving.why, error),
            Err(_) => {
                let source = std::io::Error::other("saving ended unexpectedly").into();
                self.fail(saving.why, SaveError::Read { path: self.path.clone(), source });
            }
        }
    }

    fn fail(&mut self, why: String, error: SaveError) {
        self.messages.push(format!("{why}: {error}"));
        self.failed = Some((why, error));
    }

    /// Saves what is still waiting for its end, and waits for what is being saved. Gives the traces there are.
    pub(super) fn finish(
        mut self,
        writer: &mut Writer<Out>,
        now: KtimeNs,
    ) -> Result<Vec<PathBuf>, RecordError> {
        self.take_early(writer, now);
        let pending = self.trigger.pending();
        // Without a condition, it is whoever ends it who has seen something.
        let asked = self.when.is_empty().then(|| "the last minutes".to_owned());
        if let Some(why) = pending.or(asked) {
            self.save(writer, why, now);
        }
        for saving in std::mem::take(&mut self.saving) {
            self.reap(saving, writer);
        }
        match (self.failed, writer.out()) {
            (Some((why, source)), Out::Flight(ring)) => {
                Err(RecordError::Save { why, source, ring: ring.dir().to_owned() })
            }
            _ => Ok(self.saved),
        }
    }
}

fn ring(writer: &mut Writer<Out>) -> Option<&mut FlightRing> {
    match writer.out_mut() {
        Out::Flight(ring) => Some(ring),
        Out::Single(_) | Out::Rotated(_) => None,
    }
}

fn no_ring() -> SaveError {
    SaveError::Read { path: PathBuf::new(), source: std::io::Error::other("no flight recorder").into() }
}

/// When what is told began: a connection with its wait in the queue, a stall with the check.
fn began(line: &Line, now: KtimeNs) -> KtimeNs {
    match line {
        Line::Connection(connection) | Line::Request(connection) => {
            KtimeNs(connection.accepted_ktime.0.saturating_sub(connection.queued_ns.unwrap_or(0)))
        }
        Line::Stall(stall) => KtimeNs(now.0.saturating_sub(stall.blocked_ns)),
        Line::Lost(_) | Line::Degradation(_) | Line::Summary(_) => now,
    }
}

fn pin(writer: &mut Writer<Out>, why: &str, from: KtimeNs, now: KtimeNs) -> Result<(), SaveError> {
    writer.flush_block()?;
    ring(writer).map_or_else(|| Err(no_ring()), |ring| ring.pin(why, from, now))
}
