//! Arrows from the connection that held the accept thread to the one that was queued behind it, whichever of the two is told first. Each arrow that ends somewhere begins
//! somewhere.
//!
//! An arrow is seen by who selects a slice at one of its ends. So it begins at the slice of the accept thread itself: the last of these are kept until it is known who was queued.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::out::{Event, Out, Track};
use crate::model::{Connection, KtimeNs};

/// Slices kept: more than wait in any queue.
const KEPT_MAX: usize = 1 << 12;
/// Arrows that wait for their beginning.
const WAITING_MAX: usize = 1 << 16;

/// What an accept thread did for a connection, not written yet.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) thread: Track,
    pub(super) from: KtimeNs,
    pub(super) to: KtimeNs,
    /// Its slice.
    pub(super) slice: Event,
    /// What is within, as it is written.
    pub(super) within: Vec<u8>,
}

impl Held {
    fn write(self, out: &mut Out<impl Write>) -> io::Result<()> {
        out.begin(self.from, self.thread, self.slice)?;
        out.written(&self.within)?;
        out.end(self.to, self.thread)
    }
}

/// An arrow whose end was written.
#[derive(Debug)]
struct Flow {
    id: u64,
    name: String,
    /// Since when the client was queued, and the accept thread that accepted it.
    queued: KtimeNs,
    thread: Track,
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

    /// A connection is told; the arrows that waited for it begin at it.
    pub(super) fn told(&mut self, conn: u64, mut held: Held, out: &mut Out<impl Write>) -> io::Result<()> {
        let flows = self.waiting.remove(&conn).unwrap_or_default();
        self.waiting_count -= flows.len();
        held.slice.to.extend(flows.iter().map(|flow| flow.id));
        if let Some(same) = self.held.insert(conn, held) {
            same.write(out)?;
        }
        let oldest = if self.held.len() > KEPT_MAX { self.held.pop_first() } else { None };
        oldest.map_or(Ok(()), |(_, oldest)| oldest.write(out))
    }

    /// Who these are, of those that are kept.
    pub(super) fn names(&self, conns: &[u64]) -> Option<String> {
        let held = conns.iter().filter_map(|conn| self.held.get(conn));
        let names: Vec<&str> = held.map(|held| held.slice.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// A connection was queued behind these, and accepted by this thread: the arrows that end at it.
    pub(super) fn blocked(
        &mut self,
        blockers: &[u64],
        connection: &Connection,
        thread: Track,
        queued: KtimeNs,
    ) -> Vec<u64> {
        let mut ids = Vec::new();
        for blocker in blockers {
            self.ids += 1;
            let id = self.ids;
            if let Some(held) = self.held.get_mut(blocker) {
                held.slice.to.push(id);
            } else if self.waiting_count < WAITING_MAX {
                self.waiting_count += 1;
                let peer = connection.peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
                let flow = Flow { id, name: format!("holds up {peer}"), queued, thread };
                self.waiting.entry(*blocker).or_default().push(flow);
            } else {
                continue;
            }
            ids.push(id);
        }
        ids
    }

    /// Writes the rest. Arrows from connections that were never told, or long ago, begin at a mark on the accept thread.
    pub(super) fn finish(&mut self, out: &mut Out<impl Write>) -> io::Result<()> {
        for held in std::mem::take(&mut self.held).into_values() {
            held.write(out)?;
        }
        for flow in std::mem::take(&mut self.waiting).into_values().flatten() {
            let event = Event { name: flow.name, to: vec![flow.id], ..Event::default() };
            out.instant(flow.queued, flow.thread, event)?;
        }
        Ok(())
    }
}
