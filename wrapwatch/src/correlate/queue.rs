//! Who held the accept thread while a client was queued (head-of-line blocking).
//!
//! An accept thread does one thing after another, so what it did is a list of holds in order of time. A client waits from
//! ESTABLISHED to accept's return; every hold that overlaps this window is one it waited behind.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{COMPUTING_MAX_NS, KtimeNs, StallCause};

use super::parts::Span;
use super::servers::ServerId;

/// Most connections named in `queued_behind`.
const NAMED_MAX: usize = 5;

/// As [`Held::conn`]: somebody who has no connection.
pub(super) const NOBODY: u64 = 0;

/// A connection's hold on its accept thread.
#[derive(Debug)]
pub(super) struct Held {
    pub conn: u64,
    /// Accept returned.
    pub from: KtimeNs,
    /// The end of the check, or of the server's own lookups after it.
    pub busy_until: KtimeNs,
    /// The next accept where one was queued, else that end.
    pub to: KtimeNs,
    /// What the wrapper check was spent on.
    pub check: Arc<[Span]>,
    /// The server's own lookups in its accept thread.
    pub own: Arc<[Span]>,
    /// Something of it was not seen: it may have been in more than these.
    pub unsure: bool,
}

/// Time by cause and server; few entries, so a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(Vec<(StallCause, Option<ServerId>, u64)>);

impl Tally {
    pub(super) fn add(&mut self, cause: StallCause, server: Option<ServerId>, ns: u64) {
        if ns == 0 {
            return;
        }
        match self.0.iter_mut().find(|(c, s, _)| *c == cause && *s == server) {
            Some((_, _, sum)) => *sum = sum.saturating_add(ns),
            None => self.0.push((cause, server, ns)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StallCause, Option<ServerId>, u64)> + '_ {
        self.0.iter().copied()
    }

    /// All of a cause, or of every cause.
    pub(super) fn sum(&self, cause: Option<StallCause>) -> u64 {
        let wanted = self.0.iter().filter(|(c, ..)| cause.is_none_or(|cause| cause == *c));
        wanted.fold(0, |sum, (_, _, ns)| sum.saturating_add(*ns))
    }
}

/// What a client waited behind.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Longest first.
    pub conns: Vec<u64>,
    pub count: u64,
    /// What of the wait earlier checks explain.
    pub checks: Tally,
    /// What of it the server's own lookups in the accept thread explain.
    pub own: Tally,
    /// The wait began before what is remembered of the thread.
    pub cut: bool,
}

impl Behind {
    /// What the checks were in that is known: not what they were in besides.
    pub(super) fn named_ns(&self) -> u64 {
        self.checks.sum(None).saturating_sub(self.checks.sum(Some(StallCause::Other)))
    }

    /// What the checks were in besides, beyond what computing takes.
    pub(super) fn unwatched_ns(&self) -> u64 {
        self.checks.sum(Some(StallCause::Other)).saturating_sub(COMPUTING_MAX_NS.saturating_mul(self.count))
    }

    /// All that the checks, and the server's own lookups, take of the wait.
    pub(super) fn held_ns(&self) -> u64 {
        self.checks.sum(None).saturating_add(self.own.sum(None))
    }
}

/// The holds of one accept thread, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    holds: VecDeque<Held>,
    forgot: bool,
}

impl History {
    pub(super) fn push(&mut self, held: Held, limit: usize) {
        if self.holds.len() >= limit.max(1) {
            self.holds.pop_front();
            self.forgot = true;
        }
        // What a thread did it did one after the other; it may be known later.
        let before = self.holds.iter().rposition(|known| known.to <= held.to);
        self.holds.insert(before.map_or(0, |before| before + 1), held);
    }

    /// The last hold, if it is this connection's.
    pub(super) fn last_mut(&mut self, conn: u64) -> Option<&mut Held> {
        self.holds.back_mut().filter(|held| held.conn == conn)
    }

    /// So long a client that waited from `from` to `to` waited behind others of which something was not seen, while the thread was in nothing that was. To be asked when it is told:
    /// by then what other threads did for them has come; `is_unsure` says of those that are open still.
    pub(super) fn unsure_ns(
        &mut self,
        conn: u64,
        (from, to): (KtimeNs, KtimeNs),
        is_unsure: impl Fn(u64) -> Option<bool>,
    ) -> u64 {
        let mut sum = 0_u64;
        let holds = self.holds.iter_mut().rev().take_while(|held| held.to > from);
        for held in holds.filter(|held| held.conn != conn) {
            held.unsure = is_unsure(held.conn).unwrap_or(held.unsure);
            let ns = held.to.min(to).since(held.from.max(from));
            if held.unsure && ns > 0 {
                let seen = held.check.iter().chain(held.own.iter()).filter_map(|span| span.within(from, to));
                let seen = seen.map(|span| span.ns()).fold(0, u64::saturating_add);
                sum = sum.saturating_add(ns.saturating_sub(seen));
            }
        }
        sum
    }

    /// A connection's story is over, and something of it was not seen.
    pub(super) fn was_unsure(&mut self, conn: u64) {
        if let Some(held) = self.holds.iter_mut().rfind(|held| held.conn == conn) {
            held.unsure = true;
        }
    }

    /// Whether the thread had become free at most this long before `at`, and was.
    pub(super) fn is_freed(&self, at: KtimeNs, within_ns: u64) -> bool {
        let last = self.holds.iter().rev().find(|held| held.from < at);
        last.is_some_and(|held| held.busy_until <= at && at.since(held.busy_until) <= within_ns)
    }

    /// What a client that waited from `from` to `to` waited behind: the others' holds.
    pub(super) fn behind(&self, conn: u64, from: KtimeNs, to: KtimeNs) -> Behind {
        let mut behind = Behind::default();
        let mut named: Vec<(u64, u64)> = Vec::new();
        let holds = self.holds.iter().rev().take_while(|held| held.to > from);
        for held in holds.filter(|held| held.conn != conn) {
            let ns = held.to.min(to).since(held.from.max(from));
            if ns == 0 {
                continue;
            }
            if held.conn != NOBODY {
                behind.count += 1;
                named.push((ns, held.conn));
            }
            if named.len() > 4 * NAMED_MAX {
                keep_longest(&mut named);
            }
            for (spans, tally) in [(&held.check, &mut behind.checks), (&held.own, &mut behind.own)] {
                for span in spans.iter().filter_map(|span| span.within(from, to)) {
                    tally.add(span.cause, span.server, span.ns());
                }
            }
        }
        keep_longest(&mut named);
        behind.conns = named.into_iter().map(|(_, conn)| conn).collect();
        behind.cut = self.forgot && self.holds.front().is_none_or(|oldest| oldest.from > from);
        behind
    }
}

/// Longest first; of equals the earlier connection.
fn keep_longest(named: &mut Vec<(u64, u64)>) {
    named.sort_unstable_by_key(|&(ns, conn)| (std::cmp::Reverse(ns), conn));
    named.truncate(NAMED_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(conn: u64, from: u64, check_end: u64, to: u64) -> Held {
        let span = Span { from: KtimeNs(from), to: KtimeNs(check_end), cause: StallCause::Dns, server: None };
        Held {
            conn,
            from: KtimeNs(from),
            busy_until: KtimeNs(check_end),
            to: KtimeNs(to),
            check: Arc::new([span]),
            own: Arc::new([]),
            unsure: false,
        }
    }

    #[test]
    fn only_what_overlaps_the_wait_counts() {
        let mut history = History::default();
        history.push(held(1, 0, 90, 100), 10);
        history.push(held(2, 100, 150, 150), 10);
        history.push(held(3, 200, 290, 300), 10);
        history.push(held(4, 300, 310, 320), 10);
        let behind = history.behind(0, KtimeNs(250), KtimeNs(320));
        assert_eq!((behind.conns.as_slice(), behind.count, behind.cut), ([3, 4].as_slice(), 2, false));
        // 250..290 of connection 3 and 300..310 of connection 4: the hand-over is not the check.
        assert_eq!(behind.checks.sum(Some(StallCause::Dns)), 50);
        assert_eq!(history.behind(0, KtimeNs(160), KtimeNs(190)).count, 0);
    }

    #[test]
    fn five_are_named_the_longest_first_and_all_are_counted() {
        let mut history = History::default();
        for conn in 0..100 {
            history.push(held(conn, conn * 1000, conn * 1000 + conn, conn * 1000 + conn), 50);
        }
        let behind = history.behind(0, KtimeNs(60_000), KtimeNs(100_000));
        assert_eq!(
            (behind.conns.as_slice(), behind.count, behind.cut),
            ([99, 98, 97, 96, 95].as_slice(), 40, false)
        );
        assert!(history.behind(0, KtimeNs(10), KtimeNs(100_000)).cut);
    }
}
