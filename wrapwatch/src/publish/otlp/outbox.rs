//! Batches that wait to be sent, in bounded memory, and what became of those that do not wait any more.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;

use crate::export::otlp::{Signal, TakeBatches};
use crate::publish::position::Position;

/// Bytes that may wait.
const WAITING_MAX_BYTES: usize = 16 << 20;

/// Spans, log records or data points that are sent together.
#[derive(Debug)]
pub(in crate::publish) struct Batch {
    pub(super) signal: Signal,
    /// How many were put in before it, and itself.
    number: u64,
    items: u64,
    pub(super) json: Vec<u8>,
}

/// What became of spans, log records or data points.
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
    /// Batches put in.
    put: u64,
    /// Number and items of the one that is taken out and neither sent nor put back.
    under_way: Option<(u64, u64)>,
    tallies: BTreeMap<Signal, Tally>,
    /// A place in the trace, and the last batch of what is told up to it.
    told: Option<(u64, Position)>,
    /// The last such place whose batches are all gone.
    sent: Option<Position>,
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
        self.unsent() == 0
    }

    /// Spans, log records and data points that are not sent yet.
    pub fn unsent(&self) -> u64 {
        let inner = self.0.borrow();
        let waiting: u64 = inner.waiting.iter().map(|batch| batch.items).sum();
        waiting + inner.under_way.map_or(0, |(_, items)| items)
    }

    /// What is told up to this place has been put in. The last place, this or one before, up to which it is all gone: taken, or dropped and counted.
    pub(in crate::publish) fn told(&self, place: Position) -> Option<Position> {
        let mut inner = self.0.borrow_mut();
        inner.settle();
        if inner.told.is_none() {
            inner.told = Some((inner.put, place));
            inner.settle();
        }
        inner.sent
    }

    /// As if nothing had ever been put in.
    pub(in crate::publish) fn clear(&self) {
        *self.0.borrow_mut() = Inner::default();
    }

    pub(in crate::publish) fn take(&self) -> Option<Batch> {
        let mut inner = self.0.borrow_mut();
        let batch = inner.waiting.pop_front()?;
        inner.bytes -= batch.json.len();
        inner.under_way = Some((batch.number, batch.items));
        Some(batch)
    }

    pub(in crate::publish) fn taken(&self, batch: &Batch, rejected: u64) {
        let mut inner = self.0.borrow_mut();
        inner.under_way = None;
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
        inner.under_way = None;
        inner.bytes += batch.json.len();
        inner.waiting.push_front(batch);
        inner.fit();
    }
}

impl Inner {
    /// A place whose batches are gone is one up to which everything was sent.
    fn settle(&mut self) {
        let waiting = self.waiting.front().map(|batch| batch.number);
        let oldest = self.under_way.map(|(number, _)| number).or(waiting);
        let gone = self.told.take_if(|(last, _)| oldest.is_none_or(|oldest| oldest > *last));
        self.sent = gone.map(|(_, place)| place).or(self.sent);
    }

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
        inner.put += 1;
        let number = inner.put;
        inner.waiting.push_back(Batch { signal, number, items, json });
        inner.fit();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClockPair, KtimeNs};
    use crate::publish::position::Recording;

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
    #[test]
    fn a_place_is_sent_once_all_before_it_is_gone() {
        let outbox = Outbox::default();
        let put = |bytes: usize| outbox.clone().batch(Signal::Logs, 1, vec![b' '; bytes]).unwrap();
        let clock = ClockPair { ktime: KtimeNs(1), wall_ns: 1 };
        let place = |inputs: u64| Position::new(Recording { clock, file: 0 }, inputs);
        put(10);
        let first = outbox.take().unwrap();
        put(WAITING_MAX_BYTES);
        assert_eq!(outbox.told(place(7)), None);
        // The second is dropped for a third; the first is still under way.
        put(10);
        assert_eq!(outbox.told(place(8)), None);
        outbox.taken(&first, 0);
        assert_eq!(outbox.told(place(9)), Some(place(7)));
        assert_eq!(outbox.unsent(), 1);
        let third = outbox.take().unwrap();
        outbox.refused(&third);
        assert_eq!(outbox.told(place(10)), Some(place(10)));
    }
}
