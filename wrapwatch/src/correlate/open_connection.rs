//! One connection in the making: what its records have said so far.

use std::net::SocketAddr;
use std::sync::Arc;

use wrapwatch_common::records as abi;

use crate::model::{Client, KtimeNs, LeaveKind, LookupKind, Missing, StallCause, Transport};

use super::asked::End;
use super::check::{Check, PathKind};
use super::parts::Span;
use super::queue::Behind;
use super::resolver::Resolver;
use super::seqs::Seqs;

/// How a story began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Birth {
    /// With its accept.
    Accept,
    /// A request: libwrap is asked, or a name is looked up, for a client who did not just connect.
    Request,
    /// In the middle, when the trace began.
    Seeded,
    /// Its accept record was lost: it is followed because it holds its accept thread, and never told as a connection
    /// (the kernel side counts lost accepts).
    Orphan,
}

/// A connection in the making.
#[derive(Debug)]
pub(super) struct OpenConnection {
    pub conn: u64,
    pub tgid: u32,
    /// The process whose descriptors the accepted socket has: that one, or one that it has made.
    pub process: u32,
    /// The accept thread.
    pub tid: u32,
    /// Who is in the check: the accept thread, until another thread or process is seen to be.
    pub checker: u32,
    /// The accepted socket; -1 where not known.
    pub fd: i32,
    pub birth: Birth,
    /// Of a request: the connection that it came on.
    pub within: Option<u64>,
    /// Who connected, where that is known.
    pub client: Option<Client>,
    pub local: Option<SocketAddr>,
    /// Socket whose states are followed; 0 for none.
    pub sk: u64,
    pub established: Option<KtimeNs>,
    pub accepted: KtimeNs,
    pub seqs: Seqs,
    pub check: Check,
    pub resolver: Resolver,
    /// That socket is the accepted one by its place in the kernel, and not by a handshake's ends: its end is told wherever it is.
    pub by_socket: bool,
    /// When the accept thread made a process or a thread for it, and that one.
    pub given: Option<(KtimeNs, u32)>,
    /// A thread other than the accept thread took over.
    pub handover: Option<KtimeNs>,
    /// That thread.
    pub worker: Option<u32>,
    pub first_packet: Option<(KtimeNs, abi::FirstPacket)>,
    /// Thread that shut it down, when.
    pub shutdown: Option<(u32, KtimeNs)>,
    pub closed: Option<(u32, KtimeNs)>,
    /// Of a request: it is a login.
    pub logs_in: bool,
    /// How that ended.
    pub login: Option<abi::Login>,
    /// Of a request: libwrap has answered, the last nameserver's socket was closed, or the login is over.
    pub answered: Option<KtimeNs>,
    pub left: Option<(LeaveKind, KtimeNs)>,
    /// The accept thread's next accept, and whether that client was queued before this check's end.
    pub next_accept: Option<(KtimeNs, bool)>,
    /// Last record of the checker but the end.
    pub last_step: KtimeNs,
    pub behind: Behind,
    /// In which of the wait those before it may have been in what was not seen.
    pub unsure_behind_ns: u64,
    /// The accept thread turned to others before it did anything for it.
    pub passed: bool,
    /// Its check has just begun.
    pub begins: Option<KtimeNs>,
    /// The accept thread had turned to others before its check began.
    pub late: bool,
    /// Whose checks its thread was in from accept until then.
    pub behind_before: Behind,
    /// Whose checks its thread was in after its own, until it was served.
    pub behind_after: Behind,
    /// The check's end and what it was spent on, once it is over and its hold is in the accept thread's history.
    pub over: Option<(KtimeNs, Arc<[Span]>)>,
    /// The server became another program in its check.
    pub twisted: bool,
    /// Its process' leader has ended, and it had not: unless this is an `execve`, it has ended with it.
    pub leader_gone: bool,
    /// First packets were lost, of which this one's may be one.
    pub end_lost: bool,
    /// What was not seen, and why.
    pub missing: Vec<Missing>,
    /// Key in the list of what is due.
    pub due: Option<KtimeNs>,
}

impl OpenConnection {
    pub(super) fn new(conn: u64, tgid: u32, tid: u32, fd: i32, birth: Birth, accepted: KtimeNs) -> Self {
        Self {
            conn,
            tgid,
            process: tgid,
            tid,
            checker: tid,
            fd,
            birth,
            within: None,
            client: None,
            local: None,
            sk: 0,
            established: None,
            accepted,
            seqs: Seqs::default(),
            check: Check::default(),
            resolver: Resolver::default(),
            by_socket: false,
            given: None,
            handover: None,
            worker: None,
            first_packet: None,
            shutdown: None,
            closed: None,
            logs_in: false,
            login: None,
            answered: None,
            left: None,
            next_accept: None,
            last_step: accepted,
            behind: Behind::default(),
            unsure_behind_ns: 0,
            passed: false,
            begins: None,
            late: false,
            behind_before: Behind::default(),
            behind_after: Behind::default(),
            over: None,
            twisted: false,
            leader_gone: false,
            end_lost: false,
            missing: Vec::new(),
            due: None,
        }
    }

    /// A new one in the place of this one, with the room that its check's lists have.
    pub(super) fn becomes(&mut self, new: impl FnOnce() -> Self) {
        let room = std::mem::take(&mut self.check).emptied();
        *self = new();
        self.check = room;
    }

    /// Notes a reason, once.
    pub(super) fn miss(&mut self, why: Missing) {
        if !self.missing.contains(&why) {
            self.missing.push(why);
        }
    }

    /// Whether all its records since its beginning are there, as far as can be said now.
    pub(super) fn sure(&self) -> bool {
        matches!(self.birth, Birth::Accept | Birth::Request) && self.seqs.missing() == 0
    }

    /// Whether something of it was not seen that may have been a lookup.
    pub(super) fn is_unsure(&self) -> bool {
        self.seqs.missing() > 0 || self.resolver.asked_unseen()
    }

    /// Whether a query is taken for timed out only because no ICMP error came, see [`Asked::may_be_refused`](super::asked::Asked::may_be_refused).
    pub(super) fn may_be_refused(&self, lost_at: KtimeNs) -> bool {
        self.resolver.queries.iter().any(|asked| asked.may_be_refused(lost_at))
    }

    /// When its story ended: first packet, shutdown or close; a request's with what was asked.
    pub(super) fn ended(&self) -> Option<KtimeNs> {
        self.first_packet.map(|(at, _)| at).or(self.answered).or(self.closed_at())
    }

    /// Of a login: for how long the server waited for the client.
    pub(super) fn client_ns(&self) -> u64 {
        self.login
            .map_or(0, |login| login.client_ns.min(self.ended().unwrap_or_default().since(self.accepted)))
    }

    /// When the server closed it, or said that it would write no more.
    pub(super) fn closed_at(&self) -> Option<KtimeNs> {
        [self.shutdown, self.closed].into_iter().flatten().map(|(_, at)| at).min()
    }

    /// When it was served and by which thread: that which took over or answered, or, where nobody ever says a word, closed it.
    pub(super) fn served(&self) -> Option<(KtimeNs, u32)> {
        if let (Some(at), Some(worker)) = (self.handover, self.worker) {
            return Some((at, worker));
        }
        let closed = self.closed.filter(|_| !self.is_refused()).map(|(tid, at)| (at, tid));
        self.first_packet.map(|(at, packet)| (at, packet.hdr.tid)).or(closed)
    }

    /// The last that was seen of it, as far as it goes on.
    pub(super) fn last_seen(&self) -> KtimeNs {
        let lookups =
            self.resolver.queries.iter().map(|asked| asked.end.at().unwrap_or_else(|| asked.began()));
        self.last_step.max(self.handover.unwrap_or_default()).max(lookups.max().unwrap_or_default())
    }

    /// Whether nothing more of it is to come.
    pub(super) fn is_told(&self) -> bool {
        let by_shutdown = self.shutdown.is_some() && self.next_accept.is_some();
        self.first_packet.is_some() || self.closed.is_some() || self.answered.is_some() || by_shutdown
    }

    /// Whether it ended as `twist` begins: the accept thread closed the socket in the check, without the `shutdown` of a refusal.
    pub(super) fn may_be_twisted(&self) -> bool {
        let by_accept_thread = self.closed.is_some_and(|(tid, _)| tid == self.tid);
        by_accept_thread
            && self.shutdown.is_none()
            && self.first_packet.is_none()
            && self.check.returned.is_none()
    }

    /// When the last lookup of the one in the check (else of the accept thread) ended, as far as was seen.
    pub(super) fn lookups_end(&self) -> Option<KtimeNs> {
        self.lookups_end_of(None)
    }

    /// The same of those that began `before`.
    fn lookups_end_of(&self, before: Option<KtimeNs>) -> Option<KtimeNs> {
        let counts = |at: KtimeNs| before.is_none_or(|before| at <= before);
        let mine = self.resolver.lookups.iter().filter(|looking| looking.tid == self.checker);
        let mine = mine.filter(|looking| counts(looking.first)).map(|looking| looking.last);
        let asked = self.resolver.queries.iter().filter(|asked| asked.tid == self.checker);
        let asked = asked.filter(|asked| counts(asked.began())).filter_map(|asked| asked.end.at());
        mine.chain(asked).max()
    }

    /// Whether it takes part in a wrapper check: tables or libwrap's functions were seen, or records that would have shown them are missing.
    pub(super) fn is_checked(&self) -> bool {
        let lookups = || self.resolver.lookups.iter().any(|looking| looking.tid == self.checker);
        self.check.seen() || (!self.sure() && lookups())
    }

    /// Whether its accept thread has done anything for it, or somebody else has.
    pub(super) fn is_begun(&self) -> bool {
        let asks = !self.resolver.lookups.is_empty() || !self.resolver.queries.is_empty();
        asks || self.is_checked() || self.handover.is_some() || self.ended().is_some() || self.over.is_some()
    }

    /// When the accept thread turned to it.
    pub(super) fn turned_to(&self) -> KtimeNs {
        if self.late { self.check_begin() } else { self.accepted }
    }

    /// When the check began: accept's return, but where the server itself looked the client up before it asked libwrap, which reads a table before it asks for a name, and where it
    /// turned to others before. Of a check that is over it stays what its time was divided from, whatever is seen afterwards.
    pub(super) fn check_begin(&self) -> KtimeNs {
        if let Some((end, divided)) = &self.over {
            return divided.first().map_or(*end, |span| span.from);
        }
        let asked = self.check.asked.first().map(|asked| asked.at);
        let read = || self.check.tables.first().filter(|_| self.sure() || self.late).map(|table| table.from);
        let Some(at) = asked.or_else(read) else { return self.accepted };
        let before = |looking: &super::lookups::Looking| looking.tid == self.checker && looking.first < at;
        if self.late || self.resolver.lookups.iter().any(before) {
            at.max(self.accepted)
        } else {
            self.accepted
        }
    }

    /// Whether it is not known who asked for names, the wrappers or the server itself: nothing of a check was seen, and records are missing; or hosts.deny was opened
    /// afterwards, and hosts.allow, which libwrap opens first, was not seen.
    pub(super) fn asker_unseen(&self) -> bool {
        // In whichever thread or process: of a server that checks in those that it makes, only what is missing would have told.
        if self.birth == Birth::Accept && !self.check.seen() {
            return self.seqs.missing() > 0 && !self.resolver.lookups.is_empty();
        }
        let first = self.check.tables.first().filter(|_| self.check.asked.is_empty());
        let before = |at: KtimeNs| {
            let mut lookups = self.resolver.lookups.iter();
            lookups.any(|looking| looking.tid == self.checker && looking.first < at)
        };
        first.is_some_and(|table| table.kind == PathKind::Deny && before(table.from))
    }

    /// When the check ended, as far as was seen; accept's return where there was none.
    pub(super) fn check_end(&self) -> KtimeNs {
        if !self.is_checked() {
            return self.accepted;
        }
        let mut end = self.accepted.max(self.check.syslog_end.unwrap_or_default());
        if let Some((at, _)) = self.check.returned {
            return end.max(at);
        }
        if self.check.open_table().is_some() || self.check.tables.is_empty() {
            end = end.max(self.last_step);
        }
        end = end.max(self.check.tables_end().unwrap_or_default());
        end = end.max(self.check.spawn_end.unwrap_or_default());
        // A wait of which the end was not seen had ended when somebody else went on with the connection.
        if self.resolver.pending(self.checker).is_some() {
            end = end.max(self.handover.or(self.ended()).unwrap_or_default());
        }
        // A wait that only ended as the thread went on was the check's as well. libwrap looks names up while it has a table open: what begins later is the server's own.
        let tables_closed =
            self.check.tables_end().filter(|_| self.sure() && self.check.open_table().is_none());
        end.max(self.lookups_end_of(tables_closed).unwrap_or_default())
    }

    /// Whether libwrap said no to a server that is followed: what that does with the socket afterwards keeps nobody waiting for an answer.
    pub(super) fn is_refused(&self) -> bool {
        let followed = self.given.is_some() || !self.check.asked.is_empty();
        followed && self.check.returned.is_some_and(|(_, ret)| ret == 0)
    }

    /// Whether the accept thread is the one that checks, and has not given it away: then nobody else is accepted meanwhile.
    pub(super) const fn holds_accept_thread(&self) -> bool {
        self.checker == self.tid && self.given.is_none()
    }

    /// Whether the accept thread checks, or has checked before it gave it away.
    pub(super) fn is_checked_by_acceptor(&self) -> bool {
        self.checker == self.tid && (self.given.is_none() || self.is_checked())
    }

    /// Whether the check is still going on; `None` where it may or may not be: the tables are closed, and only a spawned command or
    /// syslog could hold it.
    pub(super) fn in_check(&self) -> Option<bool> {
        let over = self.over.is_some() || self.ended().is_some() || self.handover.is_some();
        if over || !self.is_checked() {
            return Some(false);
        }
        match self.check.returned {
            // The refusal's syslog comes after it; an admitted connection is handed over at once.
            Some((_, ret)) => Some(ret == 0 && self.given.is_none()),
            None if self.check.entered.is_some() || self.check.inside.is_some() => Some(true),
            None if self.check.open_table().is_some() || self.resolver.pending(self.checker).is_some() => {
                Some(true)
            }
            // hosts.allow closed: either it matched, or hosts.deny is about to be opened.
            None => None,
        }
    }

    /// What the check's time up to `end` was spent on; waits that are still going on last until `end`. To be asked for once, when it is over.
    pub(super) fn take_spans(&mut self, end: KtimeNs, longest_wait_ns: Option<u64>) -> Vec<Span> {
        let mut spans = std::mem::take(&mut self.check.spans);
        for asked in self.resolver.queries.iter().filter(|asked| asked.tid == self.checker) {
            let ident = self.resolver.lookups.get(asked.lookup).is_some_and(|l| l.kind == LookupKind::Ident);
            let (cause, server) =
                if ident { (StallCause::Ident, None) } else { (StallCause::Dns, Some(asked.server)) };
            let from = asked.began();
            let mut to = asked.end.at().unwrap_or(end);
            // resolv.conf bounds the wait for one packet: over TCP, or behind a service, nothing does.
            let longest = longest_wait_ns.filter(|_| asked.transport == Transport::Udp);
            if let (StallCause::Dns, Some(longest)) = (cause, longest) {
                to = to.min(from.plus(longest.saturating_add(LATE_NS)));
            }
            if asked.end != End::Pending || from <= end {
                spans.push(Span { from, to, cause, server });
            }
        }
        if let Some((cause, from)) = self.check.inside {
            spans.push(Span { from, to: end, cause, server: None });
        }
        spans
    }

    /// The client left; the earliest sign counts.
    pub(super) fn note_left(&mut self, how: LeaveKind, at: KtimeNs) {
        if self.left.is_none_or(|(_, known)| at < known) {
            self.left = Some((how, at));
        }
    }
}

/// How late a thread may be woken before the delay is not the nameserver's any more.
const LATE_NS: u64 = 100_000_000;
