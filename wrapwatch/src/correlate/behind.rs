//! What a client waited behind, asked when it is told: by then what other threads did has come.

use wrapwatch_common::maps::thread_key;

use crate::model::KtimeNs;

use super::open_connection::OpenConnection;
use super::workers::{self, Work};
use super::{Correlator, UNSEEN_LOOKUP_NS};

impl Correlator {
    /// It was queued behind others: in which of that time they may have been in what was not seen.
    pub(super) fn unsure_behind(&mut self, ongoing: &mut OpenConnection) {
        let Some(thread) = self.threads.get_mut(&thread_key(ongoing.tgid, ongoing.tid)) else { return };
        let Some(established) = ongoing.established.filter(|_| ongoing.behind.count > 0) else { return };
        let is_unsure = |conn| self.open.get(&conn).map(|open| open.is_unsure());
        let wait = (established, ongoing.accepted);
        ongoing.unsure_behind_ns = thread.history.unsure_ns(ongoing.conn, wait, is_unsure);
    }

    /// Where one thread accepts, checks and serves: whose checks it was in after this one's, until it served it.
    pub(super) fn serves_behind(&mut self, ongoing: &mut OpenConnection) {
        let (Some((from, _)), Some((to, by))) = (ongoing.over.as_ref(), ongoing.served()) else { return };
        let from = *from;
        if to.since(from) <= workers::AT_ONCE_NS || ongoing.given.is_some() {
            return;
        }
        let key = thread_key(ongoing.tgid, ongoing.tid);
        let Some(current) = self.threads.get(&key).and_then(|thread| thread.current) else { return };
        // A thread that serves is in no check that it began before.
        let went_on =
            |current: &OpenConnection| by == ongoing.tid && current.accepted < to && current.last_step <= to;
        if self.open.get(&current).is_some_and(|open| open.check.returned.is_some() || went_on(open)) {
            self.close_check(current, false);
        }
        let Some(thread) = self.threads.get(&key) else { return };
        // Another thread may have waited for something else, unless it began when the others' checks were over, and this one was in them all the time: as late as threads
        // are woken, which is the later the less there is of the CPUs.
        let late_ns = workers::AT_ONCE_NS.max(to.since(from) / 20);
        let checks =
            self.open.get(&current).is_some_and(|current| current.over.is_none() && current.accepted < to);
        if by != ongoing.tid && (checks || !thread.history.is_freed(to, late_ns)) {
            return;
        }
        let behind = thread.history.behind(ongoing.conn, from, to);
        if by == ongoing.tid || behind.held_ns().saturating_add(late_ns) >= to.since(from) {
            ongoing.behind_after = behind;
        }
    }

    /// What it waited behind until a thread took it over, or until `now`. What was looked up for it is remembered for those behind it.
    pub(super) fn workers(&mut self, ongoing: &OpenConnection, now: KtimeNs) -> workers::Queued {
        let check_end = ongoing.over.as_ref().map_or(ongoing.accepted, |(end, _)| *end);
        // What ended without another thread did not wait for one.
        let to = ongoing.handover.unwrap_or(if ongoing.ended().is_some() { check_end } else { now });
        let late = to.since(check_end) > workers::AT_ONCE_NS;
        let mut open = Vec::new();
        if late {
            let others = self.open.values();
            let others = others.filter(|other| other.tgid == ongoing.tgid && other.conn != ongoing.conn);
            open.extend(others.flat_map(|other| works(other, to)));
        }
        let workers = &mut self.shared.targets.entry(ongoing.tgid).or_default().workers;
        let mut queued = workers.behind(ongoing.worker, (check_end, to), open);
        // Of a connection whose accept was lost nothing is seen, and it may have held a thread as well.
        if self.accepts_lost_at.is_some_and(|lost| lost.plus(UNSEEN_LOOKUP_NS) >= check_end) {
            queued = queued.all_doubtful(to.since(check_end));
        }
        workers.add(works(ongoing, self.now), self.shared.limits.history);
        queued
    }
}

/// The lookups of a connection that were neither in its accept thread nor in its check; those that go on last until `until`.
fn works(ongoing: &OpenConnection, until: KtimeNs) -> impl Iterator<Item = Work> + '_ {
    let theirs = |tid: u32| tid != ongoing.tid && tid != ongoing.checker;
    let lookups = ongoing.resolver.lookups.iter().filter(move |looking| theirs(looking.tid));
    let lookups = lookups.map(|looking| Work { tid: looking.tid, from: looking.first, to: looking.last });
    let waits = ongoing.resolver.queries.iter().filter(move |asked| theirs(asked.tid));
    let waits = waits.map(move |asked| Work {
        tid: asked.tid,
        from: asked.began(),
        to: asked.end.at().unwrap_or(until),
    });
    // What is missing of a connection may have been a lookup.
    let unseen = (ongoing.seqs.missing() > 0).then(|| Work {
        tid: 0,
        from: ongoing.accepted,
        to: ongoing.ended().unwrap_or(until),
    });
    lookups.chain(waits).chain(unseen)
}
