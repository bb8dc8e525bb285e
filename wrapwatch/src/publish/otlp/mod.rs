//! What is told, sent to an OpenTelemetry collector over HTTP: batches wait in an [`Outbox`] of bounded size until the collector has taken them. One that is down, slow or busy
//! is tried again, later and later; what no longer fits meanwhile is dropped, oldest first, and counted.

mod endpoint;
mod outbox;
mod sender;
#[cfg(test)]
mod sent_once;

use std::collections::BTreeSet;
use std::time::Duration;

use endpoint::Posted;
pub use endpoint::{Endpoint, EndpointError};
pub use outbox::{Outbox, Tally};
pub use sender::Wanted;

use crate::export::otlp::Signal;

/// First pause after a failure; each one after that is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// And the longest.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// How often it is looked whether there is something to send.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Sends what comes, for ever. `ready`: whether anything may be sent yet; `note` is told of a failure once, and of its end.
pub async fn send(outbox: Outbox, endpoint: Endpoint, ready: impl Fn() -> bool, note: impl Fn(&str)) {
    let mut trouble = Trouble::default();
    loop {
        let Some(batch) = ready().then(|| outbox.take()).flatten() else {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        let signal = batch.signal;
        match endpoint.post(signal, &batch.json).await {
            Posted::Taken { rejected } => {
                outbox.taken(&batch, rejected);
                if trouble.ends(signal) {
                    note(&format!("{endpoint}: reached again"));
                }
            }
            Posted::Refused(why) => {
                outbox.refused(&batch);
                if trouble.begins(signal) {
                    note(&format!("{endpoint}: {why}; what it does not take is dropped"));
                }
            }
            Posted::Later { why, after } => {
                outbox.back(batch);
                if trouble.begins(signal) {
                    note(&format!("{endpoint}: {why}; tried again until it is taken"));
                }
                tokio::time::sleep(trouble.pause(after)).await;
            }
        }
    }
}

/// What the collector does not take now. It is one collector: that two signals fail is one piece of news.
#[derive(Debug)]
struct Trouble {
    signals: BTreeSet<Signal>,
    pause: Duration,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { signals: BTreeSet::new(), pause: PAUSE_FIRST }
    }
}

impl Trouble {
    /// Whether all was well before.
    fn begins(&mut self, signal: Signal) -> bool {
        let all_well = self.signals.is_empty();
        self.signals.insert(signal);
        all_well
    }

    /// Whether all is well now, and was not.
    fn ends(&mut self, signal: Signal) -> bool {
        self.pause = PAUSE_FIRST;
        self.signals.remove(&signal) && self.signals.is_empty()
    }

    /// How long to wait: at least as long as without the collector's wish, which may be none at all.
    fn pause(&mut self, after: Option<Duration>) -> Duration {
        let pause = after.unwrap_or_default().clamp(self.pause, PAUSE_MAX);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_fails_is_told_of_once_whatever_the_signal() {
        let mut trouble = Trouble::default();
        assert!(!trouble.ends(Signal::Logs));
        assert!(trouble.begins(Signal::Traces));
        assert!(!trouble.begins(Signal::Logs) && !trouble.begins(Signal::Traces));
        // It takes one of them, and the other still not.
        assert!(!trouble.ends(Signal::Logs) && !trouble.ends(Signal::Logs));
        assert!(!trouble.begins(Signal::Traces));
        assert!(trouble.ends(Signal::Traces));
        assert!(trouble.begins(Signal::Logs));
    }

    #[test]
    fn it_is_waited_longer_and_longer_and_not_less_than_the_collector_wishes() {
        let mut trouble = Trouble::default();
        let wishes = [None, Some(0), Some(30), None, Some(3_600), Some(0), None, None];
        let pauses = wishes.map(|wish| trouble.pause(wish.map(Duration::from_secs)).as_secs());
        assert_eq!(pauses, [1, 2, 30, 8, 60, 32, 60, 60]);
        trouble.ends(Signal::Traces);
        assert_eq!(trouble.pause(None), PAUSE_FIRST);
    }
}
