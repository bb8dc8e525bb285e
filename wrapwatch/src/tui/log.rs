//! What was told, in order of time and in bounded memory: the newest.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::diagnose::took_ns;
use crate::model::Line;

/// Entries that are kept.
pub(super) const MOST: usize = 100_000;

/// Something that was told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A line. The summary is none: the view sums up by itself.
    Line(Box<Line>),
    /// Length of the fullest accept queue, and its limit.
    Queue(u32, u32),
}

/// One thing, and when it was told; never before what was told earlier.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) told: Told,
}

/// The newest entries. Each has a number, which it keeps.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    first: u64,
    most: usize,
}

impl Log {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), first: 0, most }
    }

    /// Number of the oldest that is kept.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Number that the next one gets.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    pub(super) fn push(&mut self, told: Told, now: Timestamp) {
        let before = self.entries.back().map_or(Timestamp::MIN, |last| last.at);
        let at = told_at(&told).unwrap_or(now).max(before);
        if self.is_full() {
            self.entries.pop_front();
            self.first = self.first.saturating_add(1);
        }
        self.entries.push_back(Entry { at, told });
    }

    /// The next one takes the place of the oldest.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.most
    }

    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The end of what was told by this moment.
    pub(super) fn by(&self, at: Timestamp) -> u64 {
        self.first.saturating_add(self.entries.partition_point(|entry| entry.at <= at) as u64)
    }

    /// The first moment that is known: what is told before a trace has begun has no time.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let known = self.entries.partition_point(|entry| entry.at <= Timestamp::UNIX_EPOCH);
        self.entries.get(known).map(|entry| entry.at)
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.entries.back().map(|entry| entry.at)
    }
}

/// When a line is due by what it says; none for one without a time.
fn told_at(told: &Told) -> Option<Timestamp> {
    let Told::Line(line) = told else { return None };
    match &**line {
        Line::Connection(connection) => {
            let began = connection.established.unwrap_or(connection.accepted).0;
            let took = i64::try_from(took_ns(connection)).ok()?;
            began.checked_add(SignedDuration::from_nanos(took)).ok()
        }
        Line::Stall(stall) => Some(stall.at.0),
        _ => None,
    }
}
