//! The sockets a connection's threads ask nameservers through, and their queries: UDP and TCP on port 53, ident on TCP/113, nscd's
//! and systemd-resolved's unix sockets.
//!
//! Assumes that a thread does one thing after another: whatever it does after a query, other than on that query's socket, shows
//! that it no longer waits for the answer. Queries sent in one go (A and AAAA, several servers) are the exception.

mod messages;
mod services;

use wrapwatch_common::abi::SOCK_STREAM;
use wrapwatch_common::records as abi;

use crate::decode::dns::Framer;
use crate::model::{KtimeNs, LookupKind, Transport};

use super::asked::{Asked, End, SHORTEST_WAIT_NS, ServerError};
use super::lookups::Looking;
use super::servers::ServerId;
use super::shared::Shared;

use messages::Unmatched;
pub(super) use services::Service;

const EINTR: i64 = wrapwatch_common::abi::EINTR as i64;
const EAGAIN: i64 = wrapwatch_common::abi::EAGAIN as i64;
const ETIMEDOUT: i64 = 110;
pub(super) const EINPROGRESS: i32 = 115;
/// Descriptor of a query whose socket is closed.
const CLOSED: i32 = -1;

/// A socket.
#[derive(Debug)]
pub(super) struct Sock {
    pub fd: i32,
    pub service: Service,
    pub server: ServerId,
    stream: bool,
    opened: KtimeNs,
    outgoing: Framer,
    incoming: Framer,
    lookup: Option<usize>,
    /// The current query of a service whose messages are not read.
    query: Option<usize>,
    bytes_in: u64,
}

impl Sock {
    fn is_unasked(&self) -> bool {
        self.service == Service::Dns && self.lookup.is_none()
    }
}

/// Everything asked for one connection.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    pub socks: Vec<Sock>,
    pub lookups: Vec<Looking>,
    pub queries: Vec<Asked>,
    /// More sockets or queries than are remembered.
    pub overflow: bool,
    /// A nameserver was connected to, and nothing of what it was asked was seen.
    unasked: bool,
    /// Answers to nothing that was asked: wrong ids, duplicates, or queries whose record was lost.
    unmatched: Vec<Unmatched>,
}

/// What a record says of itself: thread, time, number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub tid: u32,
    pub at: KtimeNs,
    pub seq: u32,
}

impl Moment {
    /// When the call of a record began.
    pub(super) const fn of(hdr: &abi::Header, enter_ns: u64) -> Self {
        let at = if enter_ns == 0 || enter_ns > hdr.ts_ns { hdr.ts_ns } else { enter_ns };
        Self { tid: hdr.tid, at: KtimeNs(at), seq: hdr.seq }
    }
}

impl Resolver {
    /// The thread does something else now: what it waited for it no longer does.
    pub(super) fn went_on(&mut self, now: Moment, except_fd: Option<i32>) {
        for asked in &mut self.queries {
            if asked.tid == now.tid && Some(asked.fd) != except_fd {
                give_up(asked, now);
            }
        }
    }

    /// Ends the lookup that a thread is in; the next query begins another.
    pub(super) fn end_lookup(&mut self, tid: u32) {
        for looking in self.lookups.iter_mut().filter(|looking| looking.tid == tid) {
            looking.open = false;
        }
    }

    /// Remembers a socket that was connected (or is used with addresses); replaces one of the same number.
    pub(super) fn open_sock(
        &mut self,
        fd: i32,
        service: Service,
        server: ServerId,
        stream: bool,
        now: Moment,
        shared: &mut Shared,
    ) {
        self.forget_fd(fd);
        if self.socks.len() >= shared.limits.uses {
            self.overflow = true;
            return;
        }
        self.socks.push(Sock {
            fd,
            service,
            server,
            stream,
            opened: now.at,
            outgoing: Framer::default(),
            incoming: Framer::default(),
            lookup: None,
            query: None,
            bytes_in: 0,
        });
    }

    /// The number is free for another socket: what was asked on the old one is answered no more.
    fn forget_fd(&mut self, fd: i32) {
        self.unasked |= self.socks.iter().any(|sock| sock.fd == fd && sock.is_unasked());
        self.socks.retain(|sock| sock.fd != fd);
        self.queries.iter_mut().filter(|asked| asked.fd == fd).for_each(|asked| asked.fd = CLOSED);
    }

    /// A connect to port 53 or 113, or to a service's unix socket, returned. A failed one to a unix socket is no lookup: the service is not there.
    pub(super) fn connect(
        &mut self,
        rec: &abi::Connect,
        service: Service,
        server: ServerId,
        shared: &mut Shared,
    ) {
        let call = Moment::of(&rec.hdr, rec.enter_ns);
        let stream = rec.sock_type == SOCK_STREAM || service != Service::Dns;
        let ok = rec.ret == 0 || rec.ret == -EINPROGRESS;
        if ok {
            self.open_sock(rec.fd, service, server, stream, call, shared);
        }
        if ok && service == Service::Dns {
            return;
        }
        let kind = if service == Service::Ident { LookupKind::Ident } else { LookupKind::Other };
        let lookup = match (service, self.current(call.tid)) {
            (Service::Dns, Some(lookup)) => lookup,
            _ => self.begin(kind, call, shared),
        };
        let query = self.ask(lookup, rec.fd, server, service.transport(stream), call, shared);
        if let Some(sock) = self.sock(rec.fd).filter(|_| ok) {
            sock.query = query;
            sock.lookup = Some(lookup);
        }
        if !ok {
            let at = KtimeNs(rec.hdr.ts_ns);
            self.lookups[lookup].touch(at);
            self.end_query(query, failed(i64::from(rec.ret), at));
        }
    }

    /// All that was asked on a socket ended so.
    fn fail(&mut self, fd: i32, end: End) {
        let pending = self.queries.iter_mut().filter(|asked| asked.fd == fd && asked.end == End::Pending);
        pending.for_each(|asked| asked.end = end);
    }

    /// A nameserver closed its connection: what was asked on it stays unanswered. One that took a second or more for that had kept its client waiting.
    fn closed_by_server(&mut self, fd: i32, at: KtimeNs) {
        let pending = self.queries.iter_mut().filter(|asked| asked.fd == fd && asked.end == End::Pending);
        for asked in pending {
            let waited = at.since(asked.began()) >= SHORTEST_WAIT_NS;
            asked.end = if waited { End::TimedOut { at } } else { End::Failed { at } };
        }
    }

    pub(super) fn sock(&mut self, fd: i32) -> Option<&mut Sock> {
        self.socks.iter_mut().find(|sock| sock.fd == fd)
    }

    fn current(&self, tid: u32) -> Option<usize> {
        self.lookups.iter().rposition(|looking| looking.tid == tid).filter(|&index| self.lookups[index].open)
    }

    fn begin(&mut self, kind: LookupKind, now: Moment, shared: &mut Shared) -> usize {
        self.end_lookup(now.tid);
        if self.lookups.len() >= shared.limits.queries.max(1) {
            self.overflow = true;
            return self.lookups.len() - 1;
        }
        self.lookups.push(Looking::new(kind, now.tid, now.at));
        self.lookups.len() - 1
    }

    fn ask(
        &mut self,
        lookup: usize,
        fd: i32,
        server: ServerId,
        transport: Transport,
        now: Moment,
        shared: &mut Shared,
    ) -> Option<usize> {
        if self.queries.len() >= shared.limits.queries {
            self.overflow = true;
            return None;
        }
        self.queries.push(Asked {
            lookup,
            tid: now.tid,
            fd,
            server,
            transport,
            id: None,
            question: None,
            sent: Some(now.at),
            seeded: false,
            sent_seq: now.seq,
            end: End::Pending,
            error: None,
            answer: None,
        });
        Some(self.queries.len() - 1)
    }

    /// Whether a nameserver was connected to, and nothing of what it was asked was seen: nobody connects for nothing, so what was waited for is not known.
    pub(super) fn asked_unseen(&self) -> bool {
        self.unasked || self.socks.iter().any(Sock::is_unasked)
    }

    /// When the last of the queries was sent that wait for this server at `at`.
    pub(super) fn latest_to(&self, server: ServerId, at: KtimeNs) -> Option<KtimeNs> {
        self.queries.iter().filter(|asked| asked.waits_for(server, at)).map(Asked::began).max()
    }

    /// An error of a server came: it is noted at each query that waits for this server. `last`: when the last of them was sent.
    pub(super) fn refused(&mut self, server: ServerId, last: KtimeNs, at: KtimeNs) {
        // What one lookup asks together is refused together.
        let likely: Vec<usize> = self
            .queries
            .iter()
            .filter(|asked| asked.waits_for(server, at) && asked.began() == last)
            .map(|asked| asked.lookup)
            .collect();
        for asked in self.queries.iter_mut().filter(|asked| asked.waits_for(server, at)) {
            asked.error = Some(ServerError { at, likely: likely.contains(&asked.lookup) });
        }
    }

    fn end_query(&mut self, query: Option<usize>, end: End) {
        if let Some(asked) = query.and_then(|query| self.queries.get_mut(query)) {
            asked.end = end;
        }
    }

    /// A socket that was open at attach is taken to have been asked before; what, is not known.
    pub(super) fn wait_seeded(&mut self, fd: i32, now: Moment, shared: &mut Shared) {
        let Some(sock) = self.sock(fd) else { return };
        let (service, server, stream) = (sock.service, sock.server, sock.stream);
        let kind = if service == Service::Ident { LookupKind::Ident } else { LookupKind::Other };
        let lookup = self.current(now.tid).filter(|&lookup| self.lookups[lookup].kind == kind);
        let lookup = lookup.unwrap_or_else(|| self.begin(kind, now, shared));
        self.went_on(now, Some(fd));
        let query = self.ask(lookup, fd, server, service.transport(stream), now, shared);
        if let Some(asked) = query.and_then(|query| self.queries.get_mut(query)) {
            asked.seeded = true;
        }
        if let Some(sock) = self.sock(fd) {
            sock.lookup = Some(lookup);
            sock.query = query;
        }
    }

    /// A socket is closed; call [`Self::went_on`] first. False where the descriptor is none of ours.
    pub(super) fn close(&mut self, fd: i32, at: KtimeNs) -> bool {
        let Some(sock) = self.sock(fd) else { return false };
        let (service, lookup) = (sock.service, sock.lookup);
        self.forget_fd(fd);
        if let Some(lookup) = lookup {
            self.lookups[lookup].touch(at);
            if service != Service::Dns {
                self.lookups[lookup].open = false;
            }
        }
        true
    }

    /// The query that a thread waits for: the latest that is pending.
    pub(super) fn pending(&self, tid: u32) -> Option<&Asked> {
        self.queries.iter().rev().find(|asked| asked.tid == tid && asked.end == End::Pending)
    }
}

fn give_up(asked: &mut Asked, now: Moment) {
    if asked.end == End::Pending && asked.began() <= now.at {
        asked.end = End::WentOn { at: now.at, seq: now.seq };
    }
}

/// How a call with this result (negative errno) ended a query.
const fn failed(ret: i64, at: KtimeNs) -> End {
    match ret.saturating_neg() {
        // A signal (libwrap's alarm in rfc931.c), SO_RCVTIMEO, or TCP gave up.
        EINTR | EAGAIN | ETIMEDOUT => End::TimedOut { at },
        _ => End::Failed { at },
    }
}
