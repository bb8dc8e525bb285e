//! `ping`: the article's loop without a MySQL client. Connections to a server, some at once, each timed from its first SYN to the first packet.
//!
//! Nobody is logged in. After the greeting the connection is closed in order, which the server still counts as interrupted: `Aborted_connects`
//! rises by one each time, and so does, where the server looks its clients up, this host's count towards `max_connect_errors`: one more and the host gets
//! error 1129 until somebody logs in from it or the host cache is flushed. So there is a [`allowed`] number of them.

mod attempt;

use std::{net::SocketAddr, pin::pin, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

pub use attempt::attempt;

use crate::{
    decode::first_packet::max_connect_errors,
    model::{
        Protocol,
        ping::{PingAttempt, PingStop},
    },
};

/// What to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where.
    pub address: SocketAddr,
    /// Connections in all.
    pub count: usize,
    /// So many at once.
    pub at_once: usize,
    /// From one connection's beginning to the next one's, for each of those at once.
    pub interval: Duration,
    /// A connection that is not greeted within this is given up.
    pub timeout: Duration,
    /// Also as many as get this host blocked.
    pub force: bool,
    /// Whose greeting is waited for.
    pub protocol: Protocol,
}

/// What whoever watches is told.
#[derive(Debug)]
pub enum News<'a> {
    /// A connection has ended.
    Attempt(&'a PingAttempt, Option<&'a str>),
    /// So many are made and no more, since this server would block this host.
    Limited {
        /// How many.
        allowed: usize,
        /// The server's limit where nobody set it.
        limit: usize,
        /// Its version, where it is known.
        version: Option<&'a str>,
    },
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Done {
    /// The connections, in the order begun.
    pub attempts: Vec<PingAttempt>,
    /// The server's version.
    pub version: Option<String>,
    /// Why there are not more.
    pub stopped: Option<PingStop>,
}

/// So many of `count` connections leave the host unblocked, by the limit of a server of this version, and what the limit is.
fn allowed(settings: &Settings, version: Option<&str>) -> (usize, usize) {
    let limit = max_connect_errors(version.unwrap_or_default());
    // The server does not keep count of those that come over the loopback.
    let counts = settings.protocol == Protocol::Mysql
        && !settings.force
        && !settings.address.ip().to_canonical().is_loopback();
    let allowed = if counts { settings.count.min(limit - 1) } else { settings.count };
    (allowed, limit)
}

/// Makes the connections. `interrupt` ends it: connections that have not ended are then left out.
pub async fn run(
    settings: &Settings,
    mut news: impl FnMut(News<'_>),
    interrupt: impl Future<Output = ()>,
) -> Done {
    let mut done = Done::default();
    let interrupted = {
        let mut all = pin!(all(settings, &mut done, &mut news));
        let interrupted = tokio::select! {
            () = &mut all => false,
            () = interrupt => true,
        };
        if interrupted {
            // Those that had ended by then may not have been taken note of yet.
            tokio::select! {
                biased;
                () = &mut all => {}
                () = std::future::ready(()) => {}
            }
        }
        interrupted
    };
    if interrupted {
        done.stopped = Some(PingStop::Interrupted);
    }
    done.attempts.sort_by_key(|attempt| attempt.number);
    done
}

async fn all(settings: &Settings, done: &mut Done, news: &mut impl FnMut(News<'_>)) {
    let mut count = settings.count;
    let mut begun = 0;
    // Where it matters how many the server bears, the first connection goes alone and finds out.
    if allowed(settings, None).0 < count {
        let first = Instant::now();
        several(settings, 1..=1, done, news).await;
        begun = 1;
        let (allowed, limit) = allowed(settings, done.version.as_deref());
        if allowed < count {
            count = allowed;
            done.stopped = Some(PingStop::MaxConnectErrors);
            news(News::Limited { allowed, limit, version: done.version.as_deref() });
        }
        sleep_until(first + settings.interval).await;
    }
    several(settings, begun + 1..=count, done, news).await;
}

/// The connections of these numbers, [`Settings::at_once`] of them side by side.
async fn several(
    settings: &Settings,
    numbers: std::ops::RangeInclusive<usize>,
    done: &mut Done,
    news: &mut impl FnMut(News<'_>),
) {
    let (sender, mut ended) = mpsc::channel(settings.at_once.max(1));
    let mut workers = JoinSet::new();
    for worker in 0..settings.at_once {
        let mine: Vec<usize> = numbers.clone().skip(worker).step_by(settings.at_once).collect();
        if !mine.is_empty() {
            workers.spawn(one_after_another(settings.clone(), mine, sender.clone()));
        }
    }
    drop(sender);
    while let Some((attempt, version)) = ended.recv().await {
        news(News::Attempt(&attempt, version.as_deref()));
        if done.version.is_none() {
            done.version = version;
        }
        done.attempts.push(attempt);
    }
}

async fn one_after_another(
    settings: Settings,
    numbers: Vec<usize>,
    ended: mpsc::Sender<(PingAttempt, Option<String>)>,
) {
    let mut next = Instant::now();
    for number in numbers {
        sleep_until(next).await;
        next = Instant::now() + settings.interval;
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        if ended
            .send(attempt(number, settings.address, settings.timeout, settings.protocol).await)
            .await
            .is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
