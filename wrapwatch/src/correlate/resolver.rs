//! The sockets a connection's threads ask nameservers through, and their queries: UDP and TCP on port 53, ident on TCP/113, nscd's
//! and systemd-resolved's unix sockets.
//!
//! Assumes that a thread does one thing after another: whatever it does after a query, other than on that query's socket, shows
//! that it no longer waits for the answer. Queries sent in one go (A and AAAA, several servers) are the exception.

use wrapwatch_common::records as abi;

use crate::decode::addr::socket_addr;
use crate::decode::dns::{self, Framer, Message};
use crate::model::{KtimeNs, LookupKind, Transport};

use super::asked::{Answer, Asked, End};
use super::lookups::Looking;
use super::servers::{ServerId, Servers};
use super::shared::Shared;

const SOCK_STREAM: u8 = 1;
const EINTR: i64 = 4;
const EAGAIN: i64 = 11;
const ETIMEDOUT: i64 = 110;
pub(super) const EINPROGRESS: i32 = 115;
/// Descriptor of a query whose socket is closed.
const CLOSED: i32 = -1;
/// Queries on one socket within this belong together: half of glibc's shortest wait.
const BURST_NS: u64 = 500_000_000;
/// nscd answers a host that it does not know with a bare header (`hst_response_header`, nscd/nscd-client.h: eight 32-bit numbers).
const NSCD_HEADER_BYTES: u64 = 32;

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Dns,
    Ident,
    Nscd,
    Resolved,
}

impl Service {
    /// The service behind a unix socket's path.
    pub(super) fn of_path(path: &[u8]) -> Option<Self> {
        if path.ends_with(b"/nscd/socket") {
            Some(Self::Nscd)
        } else if path.ends_with(b"/io.systemd.Resolve") {
            Some(Self::Resolved)
        } else {
            None
        }
    }

    const fn transport(self, stream: bool) -> Transport {
        match self {
            Self::Dns if !stream => Transport::Udp,
            Self::Dns | Self::Ident => Transport::Tcp,
            Self::Nscd => Transport::Nscd,
            Self::Resolved => Transport::Resolved,
        }
    }
}

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

/// Everything asked for one connection.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    pub socks: Vec<Sock>,
    pub lookups: Vec<Looking>,
    pub queries: Vec<Asked>,
    /// More sockets or queries than are remembered.
    pub overflow: bool,
    /// Answers to nothing that was asked: wrong ids, duplicates, or queries whose record was lost.
    unmatched: Vec<Unmatched>,
}

/// An answer to no query that was seen.
#[derive(Debug)]
struct Unmatched {
    fd: i32,
    server: ServerId,
    message: Message,
    now: Moment,
}

/// Most of them that are kept.
const UNMATCHED_MAX: usize = 8;

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
            error_at: None,
            answer: None,
        });
        Some(self.queries.len() - 1)
    }

    fn end_query(&mut self, query: Option<usize>, end: End) {
        if let Some(asked) = query.and_then(|query| self.queries.get_mut(query)) {
            asked.end = end;
        }
    }

    /// A DNS message leaves.
    pub(super) fn send(&mut self, rec: &abi::Payload, bytes: &[u8], shared: &mut Shared) {
        let now = Moment::of(&rec.hdr, rec.hdr.ts_ns);
        let named = socket_addr(&rec.addr).map(|addr| shared.servers.ip(addr));
        self.went_on(now, Some(rec.fd));
        if self.sock(rec.fd).is_none() {
            let server = named.unwrap_or(Servers::UNKNOWN);
            self.open_sock(rec.fd, Service::Dns, server, rec.sock_type == SOCK_STREAM, now, shared);
        }
        let Some(sock) = self.sock(rec.fd) else { return };
        let server = named.unwrap_or(sock.server);
        let mut messages = Vec::new();
        if sock.stream {
            sock.outgoing.push(bytes, rec.full_len, |message| messages.push(dns::parse(message)));
        } else {
            messages.push(dns::parse(bytes));
        }
        for message in messages {
            self.asks(rec.fd, server, message, now, shared);
        }
    }

    fn asks(
        &mut self,
        fd: i32,
        server: ServerId,
        message: Option<Message>,
        now: Moment,
        shared: &mut Shared,
    ) {
        for asked in self.queries.iter_mut().filter(|asked| asked.tid == now.tid && asked.fd == fd) {
            let again = asked.server == server && same_question(asked, message.as_ref());
            if again || now.at.since(asked.began()) >= BURST_NS {
                give_up(asked, now);
            }
        }
        let question = message.as_ref().and_then(|message| message.question.as_ref());
        let continued = self
            .current(now.tid)
            .filter(|&index| question.is_none_or(|question| self.lookups[index].continues(question)));
        let (opened, stream, first_use) = self
            .sock(fd)
            .map_or((now.at, false, false), |sock| (sock.opened, sock.stream, sock.lookup.is_none()));
        let began = if first_use { opened } else { now.at };
        let lookup =
            continued.unwrap_or_else(|| self.begin(LookupKind::Other, Moment { at: began, ..now }, shared));
        if let Some(question) = question {
            self.lookups[lookup].adopt(question);
        }
        self.lookups[lookup].touch(now.at);
        if let Some(sock) = self.sock(fd) {
            sock.lookup = Some(lookup);
        }
        let query = self.ask(lookup, fd, server, Service::Dns.transport(stream), now, shared);
        if let (Some(asked), Some(message)) = (query.and_then(|query| self.queries.get_mut(query)), message) {
            asked.id = Some(message.id);
            asked.question = message.question;
        }
    }

    /// A DNS message came in.
    pub(super) fn recv(&mut self, rec: &abi::Payload, bytes: &[u8], shared: &mut Shared) {
        let at = KtimeNs(rec.hdr.ts_ns);
        let from = socket_addr(&rec.addr).map(|addr| shared.servers.ip(addr));
        let now = Moment { tid: rec.hdr.tid, at, seq: rec.hdr.seq };
        let mut messages = Vec::new();
        match self.sock(rec.fd) {
            // The server closed the connection: whatever was asked on it stays unanswered.
            Some(sock) if sock.stream && rec.full_len == 0 => self.fail(rec.fd, at),
            Some(sock) if sock.stream => {
                sock.incoming.push(bytes, rec.full_len, |message| messages.extend(dns::parse(message)));
            }
            None if rec.sock_type == SOCK_STREAM => {}
            _ => messages.extend(dns::parse(bytes)),
        }
        for message in messages.into_iter().filter(|message| message.response) {
            self.answers(rec.fd, from, message, now);
        }
    }

    /// All that was asked on a socket failed.
    fn fail(&mut self, fd: i32, at: KtimeNs) {
        let pending = self.queries.iter_mut().filter(|asked| asked.fd == fd && asked.end == End::Pending);
        pending.for_each(|asked| asked.end = End::Failed { at });
    }

    /// The latest unanswered query on this socket with this id and question, to this server where the call named one.
    fn answers(&mut self, fd: i32, from: Option<ServerId>, message: Message, now: Moment) {
        let fits = |asked: &Asked| {
            asked.fd == fd
                && !matches!(asked.end, End::Answered { .. })
                && from.is_none_or(|from| from == asked.server)
                && (asked.is_unknown() || asked.id == Some(message.id))
                && (asked.is_unknown()
                    || same_question(asked, Some(&message))
                    || (message.question.is_none() && message.rcode != 0))
        };
        if let Some(query) = self.queries.iter().rposition(fits) {
            self.answered(query, message, now.at);
        } else if self.unmatched.len() < UNMATCHED_MAX {
            let server = from.or_else(|| self.sock(fd).map(|sock| sock.server)).unwrap_or(Servers::UNKNOWN);
            self.unmatched.push(Unmatched { fd, server, message, now });
        }
    }

    fn answered(&mut self, query: usize, message: Message, at: KtimeNs) {
        let asked = &mut self.queries[query];
        let looking = &mut self.lookups[asked.lookup];
        if asked.is_unknown() {
            asked.id = Some(message.id);
            if let Some(question) = &message.question {
                looking.adopt(question);
            }
            asked.question.clone_from(&message.question);
        }
        asked.end = End::Answered { at };
        looking.touch(at);
        looking.found = Some(looking.found == Some(true) || (message.rcode == 0 && message.has_answer));
        asked.answer = Some(Answer {
            rcode: message.rcode,
            truncated: message.truncated,
            usable: message.has_answer,
            data: message.answers,
        });
    }

    /// To be called at the end where records are missing: an answer to a question that was never asked, as far as was seen, shows that it was.
    pub(super) fn tell_unmatched(&mut self, shared: &mut Shared) {
        for Unmatched { fd, server, message, now } in std::mem::take(&mut self.unmatched) {
            let known = |asked: &Asked| asked.id == Some(message.id) && same_question(asked, Some(&message));
            if message.question.is_none() || self.queries.iter().any(known) {
                continue;
            }
            let before = self.queries.len();
            self.asks(fd, server, Some(message.clone()), now, shared);
            if self.queries.len() > before {
                self.queries[before].sent = None;
                self.answered(before, message, now.at);
            }
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

    /// A call whose content is not recorded returned on a socket of ours; false where the descriptor is none.
    pub(super) fn io(&mut self, rec: &abi::Io, shared: &mut Shared) -> bool {
        let at = KtimeNs(rec.hdr.ts_ns);
        let Some(sock) = self.sock(rec.fd) else { return false };
        let (service, lookup, query) = (sock.service, sock.lookup, sock.query);
        if let Some(lookup) = lookup {
            self.lookups[lookup].touch(at);
        }
        if service == Service::Dns {
            if rec.ret < 0 && !matches!(-rec.ret, EINTR | EAGAIN) {
                let pending =
                    self.queries.iter_mut().filter(|asked| asked.fd == rec.fd && asked.end == End::Pending);
                pending.for_each(|asked| asked.end = End::Failed { at });
            }
        } else if rec.ret < 0 {
            if query.is_some_and(|query| self.queries[query].end == End::Pending) {
                self.end_query(query, failed(rec.ret, at));
            }
        } else if rec.op == abi::OP_READ && rec.ret > 0 {
            self.service_answered(rec, at);
        } else if rec.op == abi::OP_WRITE
            && query.is_some_and(|query| self.queries[query].end != End::Pending)
        {
            self.service_asked_again(rec, shared);
        }
        true
    }

    fn service_answered(&mut self, rec: &abi::Io, at: KtimeNs) {
        let Some(sock) = self.sock(rec.fd) else { return };
        sock.bytes_in = sock.bytes_in.saturating_add(rec.ret.unsigned_abs());
        let (service, bytes, lookup, query) = (sock.service, sock.bytes_in, sock.lookup, sock.query);
        self.end_query(query, End::Answered { at });
        if let Some(looking) = lookup.and_then(|lookup| self.lookups.get_mut(lookup)) {
            looking.found = match service {
                // A known one's names come behind the header, by the same call or by another (`readv`).
                Service::Nscd => (bytes > NSCD_HEADER_BYTES).then_some(true),
                Service::Ident => Some(true),
                Service::Dns | Service::Resolved => None,
            };
        }
    }

    fn service_asked_again(&mut self, rec: &abi::Io, shared: &mut Shared) {
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        let Some(sock) = self.sock(rec.fd) else { return };
        sock.bytes_in = 0;
        let (service, server, stream) = (sock.service, sock.server, sock.stream);
        if service == Service::Ident {
            return;
        }
        let lookup = self.begin(LookupKind::Other, now, shared);
        let query = self.ask(lookup, rec.fd, server, service.transport(stream), now, shared);
        if let Some(sock) = self.sock(rec.fd) {
            sock.lookup = Some(lookup);
            sock.query = query;
        }
    }

    /// A socket is closed; call [`Self::went_on`] first. False where the descriptor is none of ours.
    pub(super) fn close(&mut self, fd: i32, at: KtimeNs) -> bool {
        let Some(index) = self.socks.iter().position(|sock| sock.fd == fd) else { return false };
        let sock = self.socks.swap_remove(index);
        self.forget_fd(fd);
        if let Some(lookup) = sock.lookup {
            self.lookups[lookup].touch(at);
            if sock.service != Service::Dns {
                self.lookups[lookup].open = false;
            }
        }
        true
    }

    /// The latest query that this server has not answered.
    pub(super) fn latest_to(&mut self, server: ServerId) -> Option<&mut Asked> {
        let pending = |asked: &&mut Asked| asked.server == server && asked.end == End::Pending;
        self.queries.iter_mut().filter(pending).max_by_key(|asked| asked.began())
    }

    /// The query that a thread waits for: the latest that is pending.
    pub(super) fn pending(&self, tid: u32) -> Option<&Asked> {
        self.queries.iter().rev().find(|asked| asked.tid == tid && asked.end == End::Pending)
    }
}

fn same_question(asked: &Asked, message: Option<&Message>) -> bool {
    match (&asked.question, message.and_then(|message| message.question.as_ref())) {
        (Some(mine), Some(theirs)) => mine.same(theirs),
        _ => false,
    }
}

fn give_up(asked: &mut Asked, now: Moment) {
    if asked.end == End::Pending && asked.began() <= now.at {
        asked.end = End::WentOn { at: now.at, seq: now.seq };
    }
}

/// How a call with this result (negative errno) ended a query.
const fn failed(ret: i64, at: KtimeNs) -> End {
    match -ret {
        // A signal (libwrap's alarm in rfc931.c), SO_RCVTIMEO, or TCP gave up.
        EINTR | EAGAIN | ETIMEDOUT => End::TimedOut { at },
        _ => End::Failed { at },
    }
}
