//! What was told, in order of time and in bounded memory: the newest.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::context::Fact;
use crate::diagnose::took_ns;
use crate::model::Line;

use super::size;

/// Room for entries, or what they take of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    pub(super) entries: usize,
    /// In memory.
    pub(super) bytes: usize,
    /// Of them files.
    pub(super) files: usize,
}

impl Room {
    /// Of usual connections all fit into so many bytes, of those that somebody made large fewer.
    pub(super) const MOST: Self = Self { entries: 100_000, bytes: 320 << 20, files: 24 << 20 };

    fn of(told: &Told) -> Self {
        let rest = match told {
            Told::Line(line) => size::of_line(line),
            Told::Fact(fact) => size::of_fact(fact),
        };
        let entry = size_of::<Entry>() + size_of::<Line>().max(size_of::<Fact>());
        Self { entries: 1, bytes: entry + rest, files: told.file_bytes() }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            bytes: self.bytes.saturating_add(other.bytes),
            files: self.files.saturating_add(other.files),
        }
    }

    const fn without(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_sub(other.entries),
            bytes: self.bytes.saturating_sub(other.bytes),
            files: self.files.saturating_sub(other.files),
        }
    }

    const fn is_in(self, most: Self) -> bool {
        self.entries <= most.entries && self.bytes <= most.bytes && self.files <= most.files
    }

    /// No less than half of it.
    const fn is_half_of(self, most: Self) -> bool {
        self.entries >= most.entries / 2 || self.bytes >= most.bytes / 2
    }
}

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
    most: Room,
    taken: Room,
}

impl Log {
    pub(super) fn new(most: Room) -> Self {
        Self { entries: VecDeque::new(), first: 0, most, taken: Room::default() }
    }

    /// Number of the oldest that is kept.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Number that the next one gets.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    /// What is kept.
    pub(super) const fn most(&self) -> Room {
        self.most
    }

    /// Takes what is told now, and lets go of what has no room; gives the moment at which it stands.
    pub(super) fn push(&mut self, told: Told, now: Timestamp, mut gone: impl FnMut(&Entry)) -> Timestamp {
        let before = self.entries.back().map_or(Timestamp::MIN, |last| last.at);
        let at = told_at(&told).unwrap_or(now).max(before);
        self.taken = self.taken.and(Room::of(&told));
        while !self.taken.is_in(self.most) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.first = self.first.saturating_add(1);
            self.taken = self.taken.without(Room::of(&oldest.told));
            gone(&oldest);
        }
        self.entries.push_back(Entry { at, told });
        at
    }

    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Whether what comes after this moment has as much room as what came before it, and there is not much left.
    pub(super) fn is_taken_by_what_follows(&self, at: Timestamp) -> bool {
        let kept = self.entries.len() as u64;
        let follow = self.end().saturating_sub(self.by(at));
        follow > 0 && self.taken.is_half_of(self.most) && follow >= kept / 2
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
