//! What is told → batches → the outbox.

use std::io;

use super::Outbox;
use crate::export::otlp::{Otlp, OtlpOptions, Sampling};
use crate::metrics::Metrics;
use crate::model::{Line, WallTime};
use crate::observe::Observer;
use crate::publish::position::Position;
use crate::publish::sending::Sending;
use crate::publish::{Publisher, SLOW_NS};
use crate::trace::Input;

/// Which clients are sent.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Those that waited so long; where that is not said, as long as the recording calls slow.
    pub slow_ns: Option<u64>,
    /// And of the others so many.
    pub sampling: Sampling,
    /// With the names that were asked for.
    pub names: bool,
}

#[derive(Debug)]
struct Sender {
    otlp: Otlp<Outbox>,
    outbox: Outbox,
    /// As asked for.
    slow_ns: Option<u64>,
}

impl Publisher {
    /// Has what is told sent as well: stalls, and these clients.
    pub fn send_to(&mut self, outbox: &Outbox, wanted: Wanted) {
        let Wanted { slow_ns, sampling, names } = wanted;
        let options = OtlpOptions { slow_ns: slow_ns.unwrap_or(SLOW_NS), sampling, names };
        let otlp = Otlp::new(outbox.clone(), options);
        self.story.sent = Some(Box::new(Sender { otlp, outbox: outbox.clone(), slow_ns }));
        self.resend = self.sent;
    }
}

impl Sending for Sender {
    fn recorded_slow(&mut self, slow_ns: u64) {
        if self.slow_ns.is_none() {
            self.otlp.set_slow(slow_ns);
        }
    }

    fn forget(&mut self) {
        self.otlp.forget();
        self.outbox.clear();
    }

    fn counted(&mut self, metrics: &Metrics, trace: &str, times: (WallTime, WallTime)) {
        let _ = self.otlp.counted(metrics, trace, times);
    }

    fn sent(&self, now: Position) -> Option<Position> {
        self.outbox.told(now)
    }
}

impl Observer for Sender {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        self.otlp.input(input)
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.otlp.line(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.otlp.flush()
    }
}
