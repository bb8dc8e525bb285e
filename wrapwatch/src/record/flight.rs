//! The flight recorder: what it waits for, and saving when it came.

use std::{
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use super::{Out, RecordError};
use crate::{
    model::{KtimeNs, Line},
    trace::{Condition, FlightOptions, Sample, Save, SaveError, Saved, Trigger, Writer},
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
}

impl Flight {
    pub(super) fn new(plan: &FlightPlan, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            when: plan.when.clone(),
            trigger: Trigger::new(plan.after_ns, plan.cooldown_ns),
            saving: Vec::new(),
            saved: Vec::new(),
            failed: None,
            messages: Vec::new(),
            full_until: KtimeNs(0),
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

    pub(super) fn see_line(&mut self, line: &Line, now: KtimeNs) {
        let met = self.when.iter().copied().find(|condition| match line {
            Line::Connection(connection) => condition.connection(connection),
            Line::Stall(stall) => condition.stall(stall),
            Line::Lost(lost) => condition.lost(lost),
            Line::Degradation(_) | Line::Summary(_) => false,
        });
        self.happened(met, now);
    }

    pub(super) fn see_sample(&mut self, sample: &Sample) {
        let met = self.when.iter().copied().find(|condition| condition.sample(sample));
        self.happened(met, sample.at);
    }

    fn happened(&mut self, met: Option<Condition>, now: KtimeNs) {
        let Some(condition) = met else { return };
        let why = condition.to_string();
        if self.trigger.happened(now, &why) {
            self.messages.push(format!("{why}: a trace will be saved"));
        }
    }

    /// Saves what is due; to be called often.
    pub(super) fn turn(&mut self, writer: &mut Writer<Out>, now: KtimeNs) {
        if let Some(why) = self.trigger.due(now) {
            self.save(writer, why, now);
        }
        let (done, going): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.saving).into_iter().partition(|saving| saving.thread.is_finished());
        self.saving = going;
        for saving in done {
            self.reap(saving);
        }
    }

    fn save(&mut self, writer: &mut Writer<Out>, why: String, now: KtimeNs) {
        match begin_save(writer, &why, now) {
            // It reads up to the whole ring: the records must not wait for that.
            Ok(save) => self.saving.push(Saving { why, thread: std::thread::spawn(move || save.run()) }),
            Err(error) => self.fail(why, error),
        }
    }

    fn reap(&mut self, saving: Saving) {
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
        let pending = self.trigger.pending();
        // Without a condition, it is whoever ends it who has seen something.
        let asked = self.when.is_empty().then(|| "the last minutes".to_owned());
        if let Some(why) = pending.or(asked) {
            self.save(writer, why, now);
        }
        for saving in std::mem::take(&mut self.saving) {
            self.reap(saving);
        }
        match (self.failed, writer.out()) {
            (Some((why, source)), Out::Flight(ring)) => {
                Err(RecordError::Save { why, source, ring: ring.dir().to_owned() })
            }
            _ => Ok(self.saved),
        }
    }
}

fn begin_save(writer: &mut Writer<Out>, why: &str, now: KtimeNs) -> Result<Save, SaveError> {
    writer.flush_block()?;
    match writer.out_mut() {
        Out::Flight(ring) => ring.save(why, now),
        Out::Single(_) | Out::Rotated(_) => {
            let source = std::io::Error::other("no flight recorder").into();
            Err(SaveError::Read { path: PathBuf::new(), source })
        }
    }
}
