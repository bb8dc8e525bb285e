//! What the log comes to, up to a moment: the verdict so far, nameservers, rules, seconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::context::Fact;
use crate::diagnose::SummaryBuilder;
use crate::model::{Connection, Line, Stall, Summary};

use super::known::Known;
use super::log::{Log, Told};

/// Seconds that are kept.
const SECONDS_MOST: usize = 100_000;
/// Rules told apart.
const RULES_MOST: usize = 1_000;
/// Notes kept.
const NOTES_MOST: usize = 100;
/// A stall is told each second: one that is older than this is over.
const STALL_FRESH_S: i64 = 2;

/// One second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    pub(super) connections: u64,
    /// Accept threads were held so long.
    pub(super) busy_ns: u64,
    /// The fullest queue, and its limit.
    pub(super) queue: Option<(u32, u32)>,
}

/// What a rule's lookups cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RuleUse {
    pub(super) connections: u64,
    pub(super) dns_ns: u64,
}

/// A rule: its table, its line, its text.
pub(super) type RuleKey = (Arc<str>, u32, Option<Arc<str>>);

/// The sums.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    end: u64,
    pub(super) known: Known,
    builder: SummaryBuilder,
    connections: u64,
    summary: Option<Summary>,
    pub(super) seconds: BTreeMap<i64, Second>,
    pub(super) rules: BTreeMap<RuleKey, RuleUse>,
    stalls: BTreeMap<(u32, u32), Stall>,
    /// Calls were left out, or a loss whose size is not known.
    pub(super) left_out: bool,
    pub(super) notes: Vec<Line>,
    pub(super) more_notes: u64,
    pub(super) queue: Option<(u32, u32)>,
}

impl View {
    /// Comes to what was told before the entry of this number; `gone` has what is no longer in the log.
    pub(super) fn go_to(&mut self, log: &Log, gone: &Self, end: u64) {
        if end < self.end || self.end < log.first() {
            *self = Self { end: log.first(), ..gone.clone() };
        }
        while self.end < end {
            if let Some(entry) = log.get(self.end) {
                self.take(entry.at, &entry.told);
            }
            self.end += 1;
        }
    }

    /// One more thing.
    pub(super) fn take(&mut self, at: Timestamp, told: &Told) {
        self.known.take(told);
        self.summary = None;
        match told {
            Told::Line(line) => self.line(at, line),
            Told::Fact(fact) => {
                if let Fact::Sample(sample) = &**fact
                    && let Some(fullest) = sample.listeners.iter().max_by_key(|listener| listener.queued)
                {
                    self.queued(at, (fullest.queued, fullest.queue_limit));
                }
            }
        }
    }

    fn line(&mut self, at: Timestamp, line: &Line) {
        match line {
            Line::Connection(connection) | Line::Request(connection) => self.connection(connection),
            Line::Stall(stall) => {
                self.stalls.retain(|_, told| is_fresh(told, stall.at.0));
                self.stalls.insert((stall.pid, stall.tid), stall.clone());
                if let (Some(queued), Some(limit)) = (stall.queued, stall.queue_limit) {
                    self.queued(at, (queued, limit));
                }
            }
            Line::Lost(lost) => {
                self.left_out |= lost.events == 0;
                self.note(line);
            }
            Line::Degradation(_) => self.note(line),
            Line::Summary(_) => {}
        }
    }

    fn note(&mut self, line: &Line) {
        if self.notes.len() < NOTES_MOST {
            self.notes.push(line.clone());
        } else {
            self.more_notes += 1;
        }
    }

    fn queued(&mut self, at: Timestamp, queue: (u32, u32)) {
        self.queue = Some(queue);
        let second = self.second(at.as_second());
        second.queue = second.queue.max(Some(queue));
    }

    fn second(&mut self, second: i64) -> &mut Second {
        if self.seconds.len() >= SECONDS_MOST {
            self.seconds.pop_first();
        }
        self.seconds.entry(second).or_default()
    }

    fn connection(&mut self, connection: &Connection) {
        self.builder.add(connection);
        self.connections += 1;
        self.stalls.retain(|_, stall| stall.conn != Some(connection.conn) || stall.pid != connection.pid);
        self.second(connection.accepted.0.as_second()).connections += 1;
        self.busy(connection);
        if let Some(rule) = &connection.rule {
            let key = (rule.file.clone(), rule.line, rule.text.clone());
            if self.rules.len() < RULES_MOST || self.rules.contains_key(&key) {
                let used = self.rules.entry(key).or_default();
                used.connections += 1;
                used.dns_ns = used.dns_ns.saturating_add(connection.parts.dns_ns);
            }
        }
    }

    /// Spreads the time that it held its accept thread over the seconds in which it did.
    fn busy(&mut self, connection: &Connection) {
        const SECOND_NS: i128 = 1_000_000_000;
        let mut from = connection.accepted.0.as_nanosecond();
        let end = from.saturating_add(i128::from(connection.service_ns));
        // A thread that was held for longer fills more bars than any screen has.
        for _ in 0..600 {
            if from >= end {
                return;
            }
            let second = from.div_euclid(SECOND_NS);
            let until = end.min((second + 1).saturating_mul(SECOND_NS));
            let Ok(number) = i64::try_from(second) else { return };
            let busy = u64::try_from(until - from).unwrap_or(0);
            let slot = self.second(number);
            slot.busy_ns = slot.busy_ns.saturating_add(busy);
            from = until;
        }
    }

    /// The sums in the words of a summary.
    pub(super) fn summary(&mut self) -> &Summary {
        let (known, builder, connections) = (&self.known, &self.builder, self.connections);
        self.summary.get_or_insert_with(|| known.summary(builder, connections))
    }

    /// The stall that goes on at this moment, of several the longest.
    pub(super) fn stall(&self, now: Timestamp) -> Option<&Stall> {
        let fresh = self.stalls.values().filter(|stall| is_fresh(stall, now));
        fresh.max_by_key(|stall| stall.blocked_ns)
    }
}

fn is_fresh(stall: &Stall, now: Timestamp) -> bool {
    now.as_second().saturating_sub(stall.at.0.as_second()) <= STALL_FRESH_S
}
