//! Inputs of one recording after another → engine → metrics.

use super::SLOW_NS;
use super::position::{Position, Recording};
use super::sending::Sending;
use crate::engine::{Engine, Options};
use crate::metrics::Metrics;
use crate::model::{Line, WallTime};
use crate::observe::Observer as _;
use crate::trace::{CONTINUED, Damage, DamageKind, Head, Input};

/// What is told, and what was counted of it.
#[derive(Debug, Default)]
pub(super) struct Story {
    engine: Option<Engine>,
    pub(super) recording: Option<Recording>,
    pub(super) metrics: Metrics,
    /// What is sent of it.
    pub(super) sent: Option<Box<dyn Sending>>,
    /// What was missed, for a person.
    pub(super) notes: Vec<String>,
}

impl Story {
    /// The recording that an input is of.
    pub(super) fn at(&self, input: &Input<'_>) -> Option<Recording> {
        match input {
            Input::Head(head) => Some(Recording { clock: head.clock, file: head.file }),
            _ => self.recording,
        }
    }

    /// Takes an input.
    pub(super) fn take(&mut self, input: &Input<'_>) {
        if let Input::Head(head) = input {
            self.head(head);
        }
        self.feed(input);
        // The last connections are told with what comes later, and nothing does.
        if matches!(input, Input::End(end) if end.reason != CONTINUED) {
            self.finish();
        }
    }

    fn feed(&mut self, input: &Input<'_>) {
        // Metrics are in memory: nothing fails.
        let _ = self.metrics.input(input);
        if let Some(sent) = &mut self.sent {
            let _ = sent.input(input);
        }
        let engine = self.engine.get_or_insert_with(|| engine(SLOW_NS));
        engine.feed(input);
        while let Some(line) = self.engine.as_mut().and_then(Engine::next_line) {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &Line) {
        let _ = self.metrics.line(line);
        if let Some(sent) = &mut self.sent {
            let _ = sent.line(line);
        }
    }

    /// What was told so far has been sent by an earlier run.
    pub(super) fn forget(&mut self) {
        if let Some(sent) = &mut self.sent {
            sent.forget();
        }
    }

    /// Whether it is to be sent.
    pub(super) const fn is_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// How far everything has been sent, where `now` is how far it is told.
    pub(super) fn sent(&mut self, now: Position) -> Option<Position> {
        self.flush();
        self.sent.as_ref().and_then(|sent| sent.sent(now))
    }

    /// Nothing more comes for now.
    pub(super) fn flush(&mut self) {
        if let Some(sent) = &mut self.sent {
            let _ = sent.flush();
        }
    }

    /// Sends what was counted, once it is known of which machine.
    pub(super) fn send_counted(&mut self, trace: &str, times: (WallTime, WallTime)) {
        if let Some(sent) = self.sent.as_mut().filter(|_| self.recording.is_some()) {
            sent.counted(&self.metrics, trace, times);
        }
    }

    /// Each file begins with one. What is open at another recording's beginning is told as far as it went.
    fn head(&mut self, head: &Head) {
        let now = Recording { clock: head.clock, file: head.file };
        match self.recording.replace(now) {
            Some(before) if before.clock == now.clock => {
                let missed = now.file.saturating_sub(before.file.saturating_add(1));
                self.missed(missed);
                if missed > 0 {
                    self.feed(&GAP.into());
                }
            }
            before => {
                if before.is_some() {
                    self.finish();
                }
                let recorded = head.options.get("slow_ns").and_then(|ns| ns.parse().ok());
                let slow_ns = recorded.unwrap_or(SLOW_NS);
                self.engine = Some(engine(slow_ns));
                if let Some(sent) = &mut self.sent {
                    sent.recorded_slow(slow_ns);
                }
            }
        }
    }

    /// So many files were gone before they could be read.
    pub(super) fn missed(&mut self, files: u64) {
        if files > 0 {
            self.metrics.files_missed(files);
            self.notes.push(format!("{files} files of the recording were gone before they could be read: what they held is not counted"));
        }
    }

    /// So many files were gone, of which all but the first were not sent; that one perhaps to its end.
    pub(super) fn never_sent(&mut self, files: u64) {
        if files > 0 {
            self.notes
                .push(format!("{files} files of the recording were gone and may not all have been sent"));
        }
    }

    /// Nothing more of this recording comes.
    pub(super) fn finish(&mut self) {
        let Some(mut engine) = self.engine.take() else { return };
        engine.finish();
        while let Some(line) = engine.next_line() {
            self.line(&line);
        }
        self.flush();
    }
}

/// Files are missing: what they held is not known.
const GAP: Damage = Damage {
    kind: DamageKind::Dropped,
    offset: 0,
    skipped_bytes: 0,
    missing_bytes: None,
    blocks: None,
    records: None,
    from_ns: None,
    to_ns: None,
};

fn engine(slow_ns: u64) -> Engine {
    Engine::new(Options { slow_ns, ..Options::default() })
}
