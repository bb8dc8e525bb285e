//! Do the clients wait for each other? Where each new connection comes right after an earlier one of the same client was served, arrivals follow
//! the service, and what they would have been with a faster one cannot be told from them.

use std::net::IpAddr;

use crate::model::{Connection, KtimeNs};

/// With the correlator's hash: a few nanoseconds, and random.
type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// Clients kept in mind.
const CLIENTS_MAX: usize = 1 << 16;
/// Ends remembered of each.
const ENDS: usize = 8;
/// Shorter waits throttle nobody.
const WAIT_MIN_NS: u64 = 20_000_000;
/// Fewer connections show nothing.
const COUNT_MIN: u64 = 10;

#[derive(Debug, Default)]
pub(super) struct ClosedLoop {
    ends: HashMap<IpAddr, ([KtimeNs; ENDS], usize)>,
    slow: u64,
    followed: u64,
}

impl ClosedLoop {
    pub(super) fn add(&mut self, connection: &Connection, client: Option<IpAddr>) {
        let (Some(client), Some(queued), Some(total)) = (client, connection.queued_ns, connection.total_ns)
        else {
            return;
        };
        let arrival = KtimeNs(connection.accepted_ktime.0.saturating_sub(queued));
        let room = self.ends.len() < CLIENTS_MAX || self.ends.contains_key(&client);
        if !room {
            return;
        }
        let (ends, next) = self.ends.entry(client).or_default();
        if total >= WAIT_MIN_NS {
            self.slow += 1;
            let near = (total / 8).min(50_000_000);
            let follows = |end: &&KtimeNs| end.0 > 0 && **end <= arrival && arrival.since(**end) <= near;
            self.followed += u64::from(ends.iter().any(|end| follows(&end)));
        }
        if let Some(slot) = ends.get_mut(*next % ENDS) {
            *slot = arrival.plus(total);
        }
        *next = (*next + 1) % ENDS;
    }

    /// Whether most slow connections came right after another one of their client had ended.
    pub(super) const fn is_closed(&self) -> bool {
        self.slow >= COUNT_MIN && self.followed.saturating_mul(2) > self.slow
    }
}
