//! What was told, in order of time and in bounded memory: the newest.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::context::Fact;
use crate::diagnose::took_ns;
use crate::model::Line;

use super::known::Known;

/// Entries that are kept.
pub(super) const MOST: usize = 100_000;
/// What files among them may take in memory.
const FILES_MOST_BYTES: usize = 24 << 20;

/// Something that was told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A line. The summary is none: the view sums up by itself.
    Line(Box<Line>),
    /// What an input said besides connections.
    Fact(Box<Fact>),
}

impl Told {
    fn file_bytes(&self) -> usize {
        if let Self::Fact(fact) = self { fact.file_bytes() } else { 0 }
    }
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
    /// What was said by entries that are gone.
    gone: Known,
    file_bytes: usize,
}

impl Log {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), first: 0, most, gone: Known::default(), file_bytes: 0 }
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
        self.file_bytes = self.file_bytes.saturating_add(told.file_bytes());
        while self.entries.len() >= self.most || self.file_bytes > FILES_MOST_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.first = self.first.saturating_add(1);
            self.file_bytes = self.file_bytes.saturating_sub(oldest.told.file_bytes());
            self.gone.take(&oldest.told);
        }
        self.entries.push_back(Entry { at, told });
    }

    /// Whether entries go when this one comes.
    pub(super) fn makes_room_for(&self, told: &Told) -> bool {
        self.entries.len() >= self.most
            || self.file_bytes.saturating_add(told.file_bytes()) > FILES_MOST_BYTES
    }

    /// What was known before the oldest that is kept.
    pub(super) const fn known_before(&self) -> &Known {
        &self.gone
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
        Line::Connection(connection) | Line::Request(connection) => {
            let began = connection.established.unwrap_or(connection.accepted).0;
            let took = i64::try_from(took_ns(connection)).ok()?;
            began.checked_add(SignedDuration::from_nanos(took)).ok()
        }
        Line::Stall(stall) => Some(stall.at.0),
        _ => None,
    }
}
