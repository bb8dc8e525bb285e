//! What is told, sent to an OpenTelemetry collector over HTTP: batches wait in an [`Outbox`] of bounded size until the collector has taken them. One that is down, slow or busy
//! is tried again, later and later; what no longer fits meanwhile is dropped, oldest first, and counted.

mod endpoint;
mod outbox;

use std::time::Duration;

use endpoint::Posted;
pub use endpoint::{Endpoint, EndpointError};
pub use outbox::{Outbox, Tally};

/// First pause after a failure; each one after that is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// And the longest.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// How often it is looked whether there is something to send.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Sends what comes, for ever. `ready`: whether anything may be sent yet; `note` is told of a failure once, and of its end.
pub async fn send(outbox: Outbox, endpoint: Endpoint, ready: impl Fn() -> bool, note: impl Fn(&str)) {
    let (mut pause, mut failing) = (PAUSE_FIRST, false);
    loop {
        let Some(batch) = ready().then(|| outbox.take()).flatten() else {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        match endpoint.post(batch.signal, &batch.json).await {
            Posted::Taken { rejected } => {
                outbox.taken(&batch, rejected);
                if std::mem::take(&mut failing) {
                    note(&format!("{endpoint}: reached again"));
                }
                pause = PAUSE_FIRST;
            }
            Posted::Refused(why) => {
                outbox.refused(&batch);
                if !std::mem::replace(&mut failing, true) {
                    note(&format!("{endpoint}: {why}; what it does not take is dropped"));
                }
            }
            Posted::Later { why, after } => {
                outbox.back(batch);
                if !std::mem::replace(&mut failing, true) {
                    note(&format!("{endpoint}: {why}; tried again until it is taken"));
                }
                tokio::time::sleep(after.unwrap_or(pause).min(PAUSE_MAX)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
