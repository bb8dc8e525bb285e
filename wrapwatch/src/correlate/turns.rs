//! What an accept thread turns to: the next client, or, where one thread serves all, one that it had accepted before. What it did until then becomes its history.

use std::sync::Arc;

use wrapwatch_common::maps::thread_key;
use wrapwatch_common::records as abi;

use crate::model::{COMPUTING_MAX_NS, KtimeNs, Missing, StallCause};

use super::Correlator;
use super::open_connection::OpenConnection;
use super::parts::Span;
use super::queue::{Held, NOBODY};

impl Correlator {
    /// The accept thread turns from its last connection to this one.
    pub(super) fn hold(&mut self, ongoing: &mut OpenConnection) {
        let key = thread_key(ongoing.tgid, ongoing.tid);
        self.thread(key);
        let thread = self.threads.entry(key).or_default();
        thread.turned = ongoing.accepted;
        let lost = std::mem::take(&mut thread.lost_accept);
        if let Some(last) = thread.current.replace(ongoing.conn) {
            self.leave(key, last);
            let established = ongoing.established;
            let unseen = established.is_none() && ongoing.client.is_some() && self.sees_queue_of(ongoing);
            let thread = self.threads.entry(key).or_default();
            let mut queued = false;
            if let Some(held) = thread.history.last_mut(last) {
                queued = established.is_some_and(|established| established <= held.busy_until);
                if queued {
                    held.to = ongoing.accepted.max(held.busy_until);
                }
            }
            if let Some(last_ongoing) = self.open.get_mut(&last) {
                if unseen {
                    last_ongoing.miss(Missing::NextHandshakeUnseen);
                }
                last_ongoing.next_accept = Some((ongoing.accepted, queued));
                if last_ongoing.shutdown.is_some()
                    && last_ongoing.closed.is_none()
                    && last_ongoing.first_packet.is_none()
                {
                    last_ongoing.miss(Missing::CloseUnseen);
                }
            }
            self.schedule(last);
        }
        let Some(thread) = self.threads.get_mut(&key) else { return };
        thread.delays.forget_before(ongoing.accepted);
        if let Some(established) = ongoing.established {
            ongoing.behind = thread.history.behind(ongoing.conn, established, ongoing.accepted);
            if lost || self.accepts_lost_at.is_some_and(|lost_at| lost_at >= established) {
                ongoing.miss(Missing::AcceptsLost);
            }
            // An accept may be among them: whom this one waited behind.
            if self.skipped_until.is_some_and(|until| until >= established) {
                ongoing.miss(Missing::CallsSkipped);
            }
        }
    }

    /// A check begins in the accept thread. Where that serves all, it asks when a client's request has come, and may have turned to others since it accepted this one. Where it
    /// has not, only libwrap's own function tells the check's beginning from what came before.
    pub(super) fn check_begins(&mut self, conn: u64, at: KtimeNs) {
        let Some(ongoing) = self.open.get(&conn) else { return };
        let (key, accepted) = (thread_key(ongoing.tgid, ongoing.tid), ongoing.accepted);
        let Some(thread) = self.threads.get_mut(&key) else { return };
        // What the server looks up itself before it asks holds the thread as the check does.
        let at_once = at.since(accepted) <= COMPUTING_MAX_NS
            || ongoing.check.asked.is_empty()
            || !ongoing.resolver.lookups.is_empty();
        if thread.current == Some(conn) && thread.turned <= accepted && at_once {
            return;
        }
        thread.turned = at;
        if let Some(last) = thread.current.replace(conn).filter(|last| *last != conn) {
            self.leave(key, last);
        }
        let behind = self.threads.get(&key).map(|thread| thread.history.behind(conn, accepted, at));
        if let (Some(behind), Some(ongoing)) = (behind, self.open.get_mut(&conn)) {
            // What it did for it when it accepted it is history; the check is not.
            (ongoing.behind_before, ongoing.late, ongoing.over) = (behind, true, None);
        }
    }

    /// An accept thread asks libwrap about somebody who has no connection that is followed.
    pub(super) fn unowned_check_begins(&mut self, hdr: &abi::Header) {
        if let Some(thread) = self.threads.get_mut(&thread_key(hdr.tgid, hdr.tid)) {
            thread.unowned_check = Some(KtimeNs(hdr.ts_ns));
        }
    }

    /// That is over: what it looked up meanwhile is not known.
    pub(super) fn unowned_check_ends(&mut self, hdr: &abi::Header) {
        let Some(thread) = self.threads.get_mut(&thread_key(hdr.tgid, hdr.tid)) else { return };
        let Some(from) = thread.unowned_check.take() else { return };
        let to = KtimeNs(hdr.ts_ns).max(from);
        let check = Arc::new([Span { from, to, cause: StallCause::Other, server: None }]);
        let held = Held { conn: NOBODY, from, busy_until: to, to, check, own: Arc::default(), unsure: false };
        thread.history.push(held, self.shared.limits.history);
    }

    /// An accept thread turns from a connection to another: what it did for it becomes history. To one for which it did nothing yet it may come back.
    pub(super) fn leave(&mut self, key: u64, last: u64) {
        let Some(ongoing) = self.open.get_mut(&last) else { return };
        if !ongoing.is_checked_by_acceptor() {
            // A check in another process goes on.
            let given = ongoing.given.map(|(at, _)| at);
            self.held_until(key, last, given);
        } else if ongoing.is_begun() {
            self.close_check(last, false);
            self.prolong_hold(key, last);
        } else if !std::mem::replace(&mut ongoing.passed, true) {
            let accepted = ongoing.accepted;
            self.held_until(key, last, Some(accepted));
        }
    }

    /// The check is over: what the accept thread did for it becomes history. With `still`, one that is going on lasts until now.
    pub(super) fn close_check(&mut self, conn: u64, still: bool) {
        let Some(ongoing) = self.open.get_mut(&conn).filter(|ongoing| ongoing.over.is_none()) else { return };
        let mut end = ongoing.check_end();
        if still && ongoing.in_check() == Some(true) {
            let seen_busy =
                self.threads.get(&thread_key(ongoing.tgid, ongoing.tid)).map(|thread| thread.seen_busy);
            if self.steps_lost_at.is_some_and(|lost| lost >= ongoing.last_step && Some(lost) > seen_busy) {
                // That it lasts is not known: no time is made up.
                ongoing.miss(Missing::CheckEndUnseen);
            } else {
                end = self.now;
            }
        }
        let end = end.max(ongoing.accepted);
        let key = thread_key(ongoing.tgid, ongoing.tid);
        let target = self.shared.targets.get(&ongoing.tgid);
        let mut spans = ongoing.take_spans(end, target.and_then(|target| target.info.resolver_wait_ns));
        if let Some(thread) = self.threads.get(&key).filter(|_| ongoing.is_checked_by_acceptor()) {
            spans.extend(thread.delays.spans(&spans, ongoing.turned_to(), end));
        }
        let off = |&(from, to)| Span { from, to, cause: StallCause::OffCpu, server: None };
        spans.extend(target.into_iter().flat_map(|target| target.stops.iter().map(off)));
        let divided: Arc<[Span]> = self.divider.partition(&spans, ongoing.check_begin(), end).into();
        ongoing.over = Some((end, divided.clone()));
        if self.threads.contains_key(&key) && ongoing.is_checked_by_acceptor() {
            // Before a check, after it and without one, the server's own lookups in its accept thread hold it all the same.
            let busy_until = ongoing.lookups_end().map_or(end, |last| last.max(end));
            let (check, around) = if ongoing.is_checked() {
                (divided, [(ongoing.turned_to(), ongoing.check_begin()), (end, busy_until)])
            } else {
                (Arc::default(), [(ongoing.accepted, busy_until), (end, end)])
            };
            let mut own: Arc<[Span]> = Arc::default();
            for (from, to) in around.into_iter().filter(|(from, to)| from < to) {
                let more = lookups_of(self.divider.partition(&spans, from, to));
                own = own.iter().copied().chain(more).collect();
            }
            // That it was accepted, and nothing done for it, is history already.
            if ongoing.passed && check.is_empty() && own.is_empty() {
                return;
            }
            let held = Held {
                conn,
                from: ongoing.turned_to(),
                busy_until,
                to: busy_until,
                check,
                own,
                unsure: false,
            };
            if let Some(thread) = self.threads.get_mut(&key) {
                thread.history.push(held, self.shared.limits.history);
            }
        }
        spans.clear();
        ongoing.check.spans = spans;
    }

    /// A hold that was written down early: the server looked the client up by itself since.
    pub(super) fn prolong_hold(&mut self, key: u64, conn: u64) {
        let Some(ongoing) = self.open.get_mut(&conn) else { return };
        let Some((last, thread)) = ongoing.lookups_end().zip(self.threads.get_mut(&key)) else { return };
        let Some(held) = thread.history.last_mut(conn) else { return };
        if last > held.busy_until {
            let since = self.divider.partition(&ongoing.take_spans(last, None), held.busy_until, last);
            held.own = held.own.iter().copied().chain(lookups_of(since)).collect();
            (held.busy_until, held.to) = (last, last);
        }
    }

    /// A connection whose accept thread gave it to a process or thread, at a time that is known, held that thread until then.
    fn held_until(&mut self, key: u64, conn: u64, given: Option<KtimeNs>) {
        let (Some(given), Some(ongoing)) = (given, self.open.get(&conn)) else { return };
        let (from, to) = (ongoing.accepted, given.max(ongoing.accepted));
        let held = Held {
            conn,
            from,
            busy_until: to,
            to,
            check: Arc::default(),
            own: Arc::default(),
            unsure: false,
        };
        if let Some(thread) = self.threads.get_mut(&key) {
            thread.history.push(held, self.shared.limits.history);
        }
    }

    /// Makes sure that there is room for an accept thread.
    pub(super) fn thread(&mut self, key: u64) {
        if self.threads.contains_key(&key) || self.threads.len() < self.shared.limits.threads.max(1) {
            return;
        }
        let idle = self.threads.iter().map(|(key, thread)| (thread.turned, *key)).min();
        if let Some((_, idle)) = idle {
            self.threads.remove(&idle);
        }
    }
}

/// Of what time was spent on, the lookups.
fn lookups_of(divided: &[Span]) -> impl Iterator<Item = Span> + '_ {
    divided.iter().copied().filter(|span| span.cause == StallCause::Dns)
}
