//! `wrapwatch publish --otlp`: clients, stalls and metrics, sent to a collector.

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::{common::duration, otlp_args::sampling, output};
use crate::export::otlp::Sampling;
use crate::publish::{
    Publisher,
    otlp::{Endpoint, Outbox, Wanted, send},
};

/// How long, when asked to end, what was not sent yet may take.
const SEND_REST: Duration = Duration::from_secs(5);
/// OpenTelemetry's name for what metrics are sent by: `none` for not at all.
const METRICS_EXPORTER: &str = "OTEL_METRICS_EXPORTER";

/// What of it is sent.
#[derive(Debug, clap::Args)]
pub struct OtlpArgs {
    /// Send slow and failed clients as traces, stalls as logs, and metrics, to the OpenTelemetry collector at OTEL_EXPORTER_OTLP_ENDPOINT [default http://localhost:4318]
    #[arg(long, group = "target", requires = "follow")]
    otlp: bool,
    /// With --otlp: threshold for slow clients [default: as recorded]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "otlp")]
    slow: Option<Duration>,
    /// With --otlp: besides slow and failed clients, also send this share of the others
    #[arg(long, value_name = "PERCENT", value_parser = sampling, default_value = "0%", requires = "otlp")]
    sample: Sampling,
    /// With --otlp: also send the names that were looked up; there are as many as clients
    #[arg(long, requires = "otlp")]
    names: bool,
}

impl OtlpArgs {
    /// Begins to send, where that is asked for.
    pub fn begin(
        &self,
        publisher: &Rc<RefCell<Publisher>>,
        is_quiet: bool,
    ) -> anyhow::Result<Option<Sending>> {
        if !self.otlp {
            return Ok(None);
        }
        let endpoint = Endpoint::from_variables(|name| std::env::var(name).ok())?;
        if !is_quiet {
            output::note(&format!("sending to {endpoint}"));
        }
        let (outbox, publisher) = (Outbox::default(), publisher.clone());
        let slow_ns = self.slow.map(|slow| u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX));
        let wanted = Wanted { slow_ns, sampling: self.sample, names: self.names };
        publisher.borrow_mut().send_to(&outbox, wanted);
        let reading = publisher.clone();
        let ready = move || reading.borrow().is_sending();
        tokio::task::spawn_local(send(outbox.clone(), endpoint, ready, output::note));
        Ok(Some(Sending { outbox, publisher }))
    }
}

/// It is sent.
pub struct Sending {
    outbox: Outbox,
    publisher: Rc<RefCell<Publisher>>,
}

impl Sending {
    /// Sends what is counted, unless somebody scrapes it and wants it once only.
    pub fn send_counted(&self) {
        if std::env::var(METRICS_EXPORTER).as_deref() != Ok("none") {
            self.publisher.borrow_mut().send_counted();
        }
    }

    /// Counts what became of what is sent.
    pub fn count(&self) {
        let publisher = self.publisher.borrow();
        for (signal, tally) in self.outbox.tallies() {
            publisher.metrics().sent(signal.into(), tally.sent, tally.dropped);
        }
    }

    /// Gives what still waits a moment, and says what is not sent; `is_kept`: where the next run finds how far it is sent.
    pub async fn send_rest(&self, is_kept: bool) {
        // What waits was sent by an earlier run: it was read again only.
        if !self.publisher.borrow().is_sending() {
            return;
        }
        let sent = async {
            while !self.outbox.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(SEND_REST, sent).await.is_err() {
            let unsent = self.outbox.unsent();
            let fate = if is_kept { "the next run sends them" } else { "they are lost" };
            output::note(&format!(
                "the collector has not taken {unsent} spans, log records and data points: {fate}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::export::otlp::{Signal, TakeBatches as _};

    #[test]
    fn what_an_earlier_run_sent_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (trace, position) = (dir.path().join("a.wwt"), dir.path().join("position"));
        let place = serde_json::json!({ "clock": { "ktime": 1, "wall_ns": 1 }, "file": 0, "inputs": 9 });
        let at_once = |is_resumed: bool| {
            let mut kept = place.clone();
            if is_resumed {
                kept["sent"] = place.clone();
            }
            std::fs::write(&position, kept.to_string()).unwrap();
            let mut publisher = Publisher::new(&trace, true, Some(position.clone())).unwrap();
            let mut outbox = Outbox::default();
            publisher.send_to(&outbox, Wanted { slow_ns: None, sampling: Sampling::NONE, names: false });
            assert_eq!(publisher.is_sending(), !is_resumed);
            outbox.batch(Signal::Traces, 3, Vec::new()).unwrap();
            let sending = Sending { outbox, publisher: Rc::new(RefCell::new(publisher)) };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _entered = runtime.enter();
            pin!(sending.send_rest(true)).poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        assert_eq!([true, false].map(at_once), [true, false]);
    }
}
