//! What of a client's wait is unknown, because the trace cannot show it at all or because something of it was not seen.
//!
//! A stretch of a wait is seen where it lies within a call or a query that was seen, or where everything that could have filled it would have been
//! seen. Where that does not hold it is unknown: it may have been a lookup, or not.

use crate::model::{COMPUTING_MAX_NS, KtimeNs, Missing, Stage, StallCause, Unknown, UnknownReason};

use super::blind::Blind;
use super::open_connection::OpenConnection;
use super::parts::Span;
use super::workers::Queued;

/// A client's wait whose unknown parts are asked for.
pub(super) struct Wait<'a> {
    pub ongoing: &'a OpenConnection,
    /// What the check was spent on.
    pub check: &'a [Span],
    pub check_end: KtimeNs,
    /// First packet, close, or as far as it was seen.
    pub until: KtimeNs,
    /// Of the time before the check, and after it, what the server's own lookups took.
    pub own_before_ns: u64,
    /// See [`Self::own_before_ns`].
    pub own_after_ns: u64,
    /// What it waited behind until a thread took it over.
    pub workers: Queued,
    pub missing: &'a [Missing],
    pub blind: Blind,
}

impl Wait<'_> {
    /// What of it is unknown; at most one reason for each stage and kind of stretch.
    pub(super) fn unknown(&self) -> Vec<Unknown> {
        let mut all: Vec<Unknown> = Vec::new();
        let doubt = self.doubt();
        let stages = [self.queue(doubt), self.in_check(doubt), self.after(doubt)];
        for (stage, found) in [Stage::Queue, Stage::Check, Stage::Thread].into_iter().zip(stages) {
            for (reason, ns) in found.into_iter().flatten().filter(|(_, ns)| *ns > 0) {
                match all.iter_mut().find(|known| known.reason == reason && known.stage == stage) {
                    Some(known) => known.ns = known.ns.saturating_add(ns),
                    None => all.push(Unknown { reason, stage, ns }),
                }
            }
        }
        all
    }

    fn has(&self, why: Missing) -> bool {
        self.missing.contains(&why)
    }

    /// Why anything that nothing is known of may have been a lookup, or a table's reading.
    fn doubt(&self) -> Option<UnknownReason> {
        let lost = self.missing.iter().any(|why| matches!(why, Missing::EventsLost { .. }));
        if self.blind.lookups || self.blind.files {
            Some(UnknownReason::NotTraced)
        } else if self.has(Missing::ChecksUnseen) {
            Some(UnknownReason::ChecksUnseen)
        } else if self.blind.gaps {
            Some(UnknownReason::NoTimes)
        } else if lost || self.has(Missing::CheckEndUnseen) {
            Some(UnknownReason::EventsLost)
        } else if self.has(Missing::QueryUnseen) {
            Some(UnknownReason::QueryUnseen)
        } else if self.has(Missing::CallsSkipped) {
            Some(UnknownReason::CallsSkipped)
        } else if self.has(Missing::LogCut) {
            Some(UnknownReason::LogCut)
        } else if self.has(Missing::TooManyUses) {
            Some(UnknownReason::Forgotten)
        } else {
            None
        }
    }

    /// Of the time in the queue: what is neither in others' checks and lookups, nor beyond doubt.
    fn queue(&self, doubt: Option<UnknownReason>) -> [Option<(UnknownReason, u64)>; 2] {
        let Some(established) = self.ongoing.established else { return [None; 2] };
        let queued = self.ongoing.accepted.since(established);
        if self.blind.times {
            return [Some((UnknownReason::NoTimes, queued)), None];
        }
        let behind = &self.ongoing.behind;
        let free = queued.saturating_sub(behind.held_ns());
        let why = if self.has(Missing::AcceptsLost) || self.has(Missing::NextAcceptLost) {
            Some(UnknownReason::QueueUnseen)
        } else if behind.cut {
            Some(UnknownReason::Forgotten)
        } else {
            doubt.filter(|why| matches!(why, UnknownReason::CallsSkipped | UnknownReason::NotTraced))
        };
        let unseen = why
            .map_or((UnknownReason::EventsLost, self.ongoing.unsure_behind_ns.min(free)), |why| (why, free));
        [Some((UnknownReason::UnwatchedCall, behind.unwatched_ns())), Some(unseen)]
    }

    /// Of the check: what is no call that was seen, beyond what computing takes. Before it the server may have looked its client up.
    fn in_check(&self, doubt: Option<UnknownReason>) -> [Option<(UnknownReason, u64)>; 2] {
        if self.blind.times {
            return [Some((UnknownReason::NoTimes, self.check_end.since(self.ongoing.accepted))), None];
        }
        let others = self.check.iter().filter(|span| span.cause == StallCause::Other);
        let other = others.map(Span::ns).fold(0, u64::saturating_add);
        let why = if self.has(Missing::BeganBefore) {
            UnknownReason::BeganBefore
        } else {
            doubt.unwrap_or(UnknownReason::UnwatchedCall)
        };
        let behind = &self.ongoing.behind_before;
        let known = self.own_before_ns.saturating_add(behind.held_ns());
        let before = self.ongoing.check_begin().since(self.ongoing.accepted).saturating_sub(known);
        let doubt = doubt.or(behind.cut.then_some(UnknownReason::Forgotten));
        [Some((why, other.saturating_sub(COMPUTING_MAX_NS))), doubt.map(|why| (why, before))]
    }

    /// After the check: what is no lookup of the server's own, where the thread that worked for the client was not watched all the time.
    fn after(&self, doubt: Option<UnknownReason>) -> [Option<(UnknownReason, u64)>; 2] {
        let whole = self.until.since(self.check_end);
        let behind = &self.ongoing.behind_after;
        // Both are of the same time.
        let others = self.workers.behind_ns.max(behind.held_ns());
        let clients = self.ongoing.client_ns();
        let rest = whole.saturating_sub(clients).saturating_sub(self.own_after_ns).saturating_sub(others);
        let unwatched = behind.unwatched_ns().saturating_add(self.ongoing.behind_before.unwatched_ns());
        let unwatched = Some((UnknownReason::UnwatchedCall, unwatched));
        let found = if self.blind.times {
            return [Some((UnknownReason::NoTimes, whole)), None];
        } else if self.has(Missing::HandedOver) {
            (UnknownReason::HandedOver, rest)
        } else if let Some(doubt) = doubt {
            (doubt, rest)
        } else if self.has(Missing::NotFollowed) {
            (UnknownReason::NotFollowed, rest)
        } else if self.ongoing.behind_after.cut {
            (UnknownReason::Forgotten, rest)
        } else if self.worker_unseen() || self.nobody_seen() || self.works_for_others() {
            (UnknownReason::WorkerUnseen, rest)
        } else {
            (UnknownReason::WorkersBusy, self.workers.doubtful_ns.min(rest))
        };
        [Some(found), unwatched]
    }

    /// Its thread looked another client up meanwhile: for whom it worked when is not known.
    fn works_for_others(&self) -> bool {
        let (client, threads) = (self.ongoing.client, [self.ongoing.tid, self.ongoing.checker]);
        self.ongoing.resolver.lookups.iter().any(|looking| looking.is_anothers(client, threads))
    }

    /// It goes on, and nobody was seen to do anything for it: a thread that was there before may be in a lookup for its sake.
    fn nobody_seen(&self) -> bool {
        let ongoing = self.ongoing;
        let begun = ongoing.is_checked() || ongoing.handover.is_some() || ongoing.given.is_some();
        let asks = !ongoing.resolver.lookups.is_empty() || !ongoing.resolver.queries.is_empty();
        ongoing.ended().is_none() && !begun && !asks && ongoing.last_step == ongoing.accepted
    }

    /// Another thread sent the first packet and had not been seen with the socket before: what it did until then was not watched.
    fn worker_unseen(&self) -> bool {
        self.ongoing.first_packet.is_some_and(|(at, packet)| {
            !matches!(packet.hdr.tid, tid if tid == self.ongoing.tid || tid == self.ongoing.checker)
                && self.ongoing.given.is_none_or(|(_, to)| to != packet.hdr.tid)
                && self.ongoing.handover.is_none_or(|handover| handover >= at)
        })
    }
}
