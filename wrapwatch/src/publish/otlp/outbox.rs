//! Batches that wait to be sent, in bounded memory, and what became of those that do not wait any more.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;

use crate::export::otlp::{Signal, TakeBatches};

/// Bytes that may wait.
const WAITING_MAX_BYTES: usize = 16 << 20;

/// Spans or log records that are sent together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) signal: Signal,
    items: u64,
    pub(super) json: Vec<u8>,
}

/// What became of spans or log records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Taken by the collector.
    pub sent: u64,
    /// Not sent, or not taken: there were too many, or it said no.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Batch>,
    bytes: usize,
    /// Taken out and neither sent nor put back.
    under_way: bool,
    tallies: BTreeMap<Signal, Tally>,
}

/// Shared by who fills it and who empties it.
#[derive(Clone, Debug, Default)]
pub struct Outbox(Rc<RefCell<Inner>>);

impl Outbox {
    /// What became of what was put in, by signal.
    pub fn tallies(&self) -> BTreeMap<Signal, Tally> {
        self.0.borrow().tallies.clone()
    }

    /// Whether everything is sent.
    pub fn is_empty(&self) -> bool {
        let inner = self.0.borrow();
        inner.waiting.is_empty() && !inner.under_way
    }

    /// As if nothing had ever been put in.
    pub(in crate::publish) fn clear(&self) {
        *self.0.borrow_mut() = Inner::default();
    }

    pub(super) fn take(&self) -> Option<Batch> {
        let mut inner = self.0.borrow_mut();
        let batch = inner.waiting.pop_front()?;
        inner.bytes -= batch.json.len();
        inner.under_way = true;
        Some(batch)
    }

    pub(super) fn taken(&self, batch: &Batch, rejected: u64) {
        let mut inner = self.0.borrow_mut();
        inner.under_way = false;
        let tally = inner.tallies.entry(batch.signal).or_default();
        let rejected = rejected.min(batch.items);
        tally.sent += batch.items - rejected;
        tally.dropped += rejected;
    }

    pub(super) fn refused(&self, batch: &Batch) {
        self.taken(batch, batch.items);
    }

    /// It is still to be sent, before all others; unless it has no room any more, being the oldest.
    pub(super) fn back(&self, batch: Batch) {
        let mut inner = self.0.borrow_mut();
        inner.under_way = false;
        inner.bytes += batch.json.len();
        inner.waiting.push_front(batch);
        inner.fit();
    }
}

impl Inner {
    fn fit(&mut self) {
        while self.bytes > WAITING_MAX_BYTES
            && let Some(batch) = self.waiting.pop_front()
        {
            self.bytes -= batch.json.len();
            self.tallies.entry(batch.signal).or_default().dropped += batch.items;
        }
    }
}

impl TakeBatches for Outbox {
    fn batch(&mut self, signal: Signal, items: u64, json: Vec<u8>) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        inner.bytes += json.len();
        inner.waiting.push_back(Batch { signal, items, json });
        inner.fit();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_oldest_first_and_counted() {
        let outbox = Outbox::default();
        let put = |items: u64, bytes: usize| {
            let json = vec![u8::try_from(items).unwrap(); bytes];
            outbox.clone().batch(Signal::Traces, items, json).unwrap();
        };
        put(3, WAITING_MAX_BYTES / 2);
        put(4, WAITING_MAX_BYTES / 2);
        let first = outbox.take().unwrap();
        assert!(!outbox.is_empty());
        put(5, WAITING_MAX_BYTES / 4);
        // There is no room for it any more.
        outbox.back(first);
        assert_eq!(outbox.tallies()[&Signal::Traces], Tally { sent: 0, dropped: 3 });
        let next = outbox.take().unwrap();
        assert_eq!(next.items, 4);
        outbox.taken(&next, 1);
        let last = outbox.take().unwrap();
        outbox.refused(&last);
        assert_eq!(outbox.tallies()[&Signal::Traces], Tally { sent: 3, dropped: 3 + 1 + 5 });
        assert!(outbox.is_empty() && outbox.take().is_none());
    }
}
