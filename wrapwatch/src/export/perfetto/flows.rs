//! Arrows from the connection that held the accept thread to the one that was queued behind it, whichever of the two is told first. Each arrow that ends somewhere begins
//! somewhere.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::out::{Event, Out, Track};
use crate::model::{Connection, KtimeNs};

/// Connections remembered, and arrows that wait for their beginning, each.
const KEPT_MAX: usize = 1 << 16;

/// When a connection held its accept thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) thread: Track,
    pub(super) from: KtimeNs,
    pub(super) to: KtimeNs,
}

/// An arrow whose end was written.
#[derive(Debug)]
pub(super) struct Flow {
    id: u64,
    name: String,
    /// Since when the client was queued, and when it was accepted.
    queued: KtimeNs,
    accepted: KtimeNs,
    /// The accept thread that accepted it.
    thread: Track,
}

impl Flow {
    /// Begins it where its client was queued, within the check that held it up, and not after its end.
    pub(super) fn begin(self, out: &mut Out<impl Write>, held: Held) -> io::Result<()> {
        let at = self.queued.clamp(held.from, held.to.max(held.from)).min(self.accepted);
        out.instant(at, held.thread, Event { name: self.name, to: vec![self.id], ..Event::default() })
    }
}

/// What arrows are made of.
#[derive(Debug)]
pub(super) struct Flows {
    ids: u64,
    held: BTreeMap<u64, Held>,
    /// Arrows from connections that were not told yet.
    waiting: BTreeMap<u64, Vec<Flow>>,
    waiting_count: usize,
}

impl Flows {
    pub(super) const fn new() -> Self {
        Self { ids: 0, held: BTreeMap::new(), waiting: BTreeMap::new(), waiting_count: 0 }
    }

    /// A connection is told: the arrows that waited for it.
    pub(super) fn told(&mut self, conn: u64, held: Held) -> Vec<Flow> {
        if self.held.len() >= KEPT_MAX {
            self.held.pop_first();
        }
        self.held.insert(conn, held);
        let flows = self.waiting.remove(&conn).unwrap_or_default();
        self.waiting_count -= flows.len();
        flows
    }

    /// A connection was queued behind these: begins the arrows that can begin, and gives those that end at it.
    pub(super) fn blocked(
        &mut self,
        blockers: &[u64],
        connection: &Connection,
        thread: Track,
        queued: KtimeNs,
        out: &mut Out<impl Write>,
    ) -> io::Result<Vec<u64>> {
        let peer = connection.peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
        let mut ids = Vec::new();
        for blocker in blockers {
            let held = self.held.get(blocker).copied();
            if held.is_none() && self.waiting_count >= KEPT_MAX {
                continue;
            }
            self.ids += 1;
            ids.push(self.ids);
            let name = format!("holds up {peer}");
            let flow = Flow { id: self.ids, name, queued, accepted: connection.accepted_ktime, thread };
            if let Some(held) = held {
                flow.begin(out, held)?;
            } else {
                self.waiting_count += 1;
                self.waiting.entry(*blocker).or_default().push(flow);
            }
        }
        Ok(ids)
    }

    /// The rest are from connections that were never told: on the accept thread they begin all the same.
    pub(super) fn finish(&mut self, out: &mut Out<impl Write>) -> io::Result<()> {
        for flow in std::mem::take(&mut self.waiting).into_values().flatten() {
            let held = Held { thread: flow.thread, from: flow.queued, to: flow.accepted };
            flow.begin(out, held)?;
        }
        Ok(())
    }
}
