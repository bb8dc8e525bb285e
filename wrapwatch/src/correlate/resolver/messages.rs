//! DNS messages on a connection's sockets: which query each one is, and which query it answers.

use wrapwatch_common::records as abi;

use super::{Moment, Resolver, SOCK_STREAM, Service, give_up};
use crate::correlate::asked::{Answer, Asked, End};
use crate::correlate::servers::{ServerId, Servers};
use crate::correlate::shared::Shared;
use crate::decode::addr::socket_addr;
use crate::decode::dns::{self, Message};
use crate::model::{KtimeNs, LookupKind};

/// Queries on one socket within this belong together: half of glibc's shortest wait.
const BURST_NS: u64 = 500_000_000;

/// An answer to no query that was seen.
#[derive(Debug)]
pub(super) struct Unmatched {
    fd: i32,
    server: ServerId,
    message: Message,
    now: Moment,
}

/// Most of them that are kept.
const UNMATCHED_MAX: usize = 8;

impl Resolver {
    /// A DNS message leaves.
    pub(in crate::correlate) fn send(&mut self, rec: &abi::Payload, bytes: &[u8], shared: &mut Shared) {
        let now = Moment::of(&rec.hdr, rec.hdr.ts_ns);
        let named = socket_addr(&rec.addr).map(|addr| shared.servers.ip(addr));
        self.went_on(now, Some(rec.fd));
        if self.sock(rec.fd).is_none() {
            let server = named.unwrap_or(Servers::UNKNOWN);
            self.open_sock(rec.fd, Service::Dns, server, rec.sock_type == SOCK_STREAM, now, shared);
        }
        let Some(sock) = self.sock(rec.fd) else { return };
        let server = named.unwrap_or(sock.server);
        if !sock.stream {
            return self.asks(rec.fd, server, dns::parse(bytes), now, shared);
        }
        let mut messages = Vec::new();
        sock.outgoing.push(bytes, rec.full_len, |message| messages.push(dns::parse(message)));
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
        let reverse = message.as_ref().is_some_and(|message| message.asks_reverse);
        let kind = if reverse { LookupKind::Reverse } else { LookupKind::Other };
        let lookup = continued.unwrap_or_else(|| self.begin(kind, Moment { at: began, ..now }, shared));
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
    pub(in crate::correlate) fn recv(&mut self, rec: &abi::Payload, bytes: &[u8], shared: &mut Shared) {
        let at = KtimeNs(rec.hdr.ts_ns);
        let from = socket_addr(&rec.addr).map(|addr| shared.servers.ip(addr));
        let now = Moment { tid: rec.hdr.tid, at, seq: rec.hdr.seq };
        match self.sock(rec.fd) {
            Some(sock) if sock.stream && rec.full_len == 0 => self.closed_by_server(rec.fd, at),
            Some(sock) if sock.stream => {
                let mut messages = Vec::new();
                sock.incoming.push(bytes, rec.full_len, |message| messages.extend(dns::parse(message)));
                messages.into_iter().for_each(|message| self.answers(rec.fd, from, message, now));
            }
            None if rec.sock_type == SOCK_STREAM => {}
            _ => dns::parse(bytes).into_iter().for_each(|message| self.answers(rec.fd, from, message, now)),
        }
    }

    /// The latest unanswered query on this socket with this id and question, to this server where the call named one.
    fn answers(&mut self, fd: i32, from: Option<ServerId>, message: Message, now: Moment) {
        if !message.response {
            return;
        }
        let fits = |asked: &Asked| {
            asked.fd == fd
                && !matches!(asked.end, End::Answered { .. })
                && from.is_none_or(|from| from == asked.server)
                && (asked.is_unknown() || asked.id == Some(message.id))
                && (asked.is_unknown()
                    || same_question(asked, Some(&message))
                    || (message.question.is_none() && (message.rcode != 0 || message.cut))
                    // The question was cut off: its number is what is left to go by.
                    || asked.question.is_none())
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
    pub(in crate::correlate) fn tell_unmatched(&mut self, shared: &mut Shared) {
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
}

fn same_question(asked: &Asked, message: Option<&Message>) -> bool {
    match (&asked.question, message.and_then(|message| message.question.as_ref())) {
        (Some(mine), Some(theirs)) => mine.same(theirs),
        _ => false,
    }
}
