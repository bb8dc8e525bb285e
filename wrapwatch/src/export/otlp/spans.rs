//! The spans of a client's wait: the whole, the queue, the check, lookups, queries. A part lies within what it is a part of.

use super::ids::{Ids, SpanId};
use super::json::{Attributes, CLIENT, INTERNAL, Link, Nanos, SERVER, Span, Status};
use crate::model::{
    Connection, KtimeNs, Lookup, LookupOutcome, Outcome, Query, QueryOutcome, ThreadRole, Transport,
    missing_line,
};

/// A connection, and what is told with it.
pub(super) struct Told<'a> {
    pub(super) connection: &'a Connection,
    /// The server's command.
    pub(super) command: Option<&'a str>,
    pub(super) names: bool,
    pub(super) ids: &'a Ids,
    /// How it was chosen.
    pub(super) trace_state: Option<String>,
}

/// When a span begins and ends, in nanoseconds since 1970.
type Times = (KtimeNs, KtimeNs);

/// Numbers of a connection's parts, from which their ids are made.
const QUEUE: u64 = 1;
const CHECK: u64 = 2;
const LOOKUP: u64 = 3;

impl Told<'_> {
    pub(super) fn spans(&self, spans: &mut Vec<Span>) {
        let connection = self.connection;
        let accepted = super::since_1970(connection.accepted);
        let queued_ns = connection.queued_ns.unwrap_or(0);
        let begin = KtimeNs(accepted.0.saturating_sub(queued_ns));
        let end = begin.plus(connection.waited_ns).max(accepted);
        let whole = self.ids.span(connection.conn, &[]);
        spans.push(self.whole(whole, (begin, end)));
        if queued_ns > 0 {
            let mut queue = self.span(&[QUEUE], Some(whole), "queue", (begin, accepted));
            queue.attributes.number("wrapwatch.queued_behind_count", connection.queued_behind_count);
            spans.push(queue);
        }
        let check_end_ns = connection.check_at_ns.saturating_add(connection.wrapper_ns);
        let within = (accepted, end);
        let checked = (self.moment(connection.check_at_ns, within), self.moment(check_end_ns, within));
        let check = (connection.wrapper_ns > 0).then(|| self.check(checked, whole));
        let check_id = check.as_ref().map(|check| check.id);
        spans.extend(check);
        for (n, lookup) in (0..).zip(&connection.lookups) {
            // Before it and behind it they are the server's own, whoever waits.
            let in_check = lookup.thread != ThreadRole::Connection
                && (connection.check_at_ns..=check_end_ns).contains(&lookup.at_ns);
            match check_id.filter(|_| in_check) {
                Some(check) => self.lookup(n, lookup, check, checked, spans),
                None => self.lookup(n, lookup, whole, within, spans),
            }
        }
    }

    fn span(&self, place: &[u64], parent: Option<SpanId>, name: &str, (begin, end): Times) -> Span {
        Span {
            trace_id: self.ids.trace(self.connection.conn),
            id: self.ids.span(self.connection.conn, place),
            parent_span_id: parent,
            trace_state: self.trace_state.clone(),
            name: name.to_owned(),
            kind: INTERNAL,
            start_time_unix_nano: Nanos(begin.0),
            end_time_unix_nano: Nanos(end.0.max(begin.0)),
            attributes: Attributes::default(),
            links: Vec::new(),
            status: None,
        }
    }

    fn whole(&self, id: SpanId, times: Times) -> Span {
        let connection = self.connection;
        let mut span = Span { id, kind: SERVER, ..self.span(&[], None, "client wait", times) };
        let outcome: &'static str = connection.outcome.into();
        let attributes = &mut span.attributes;
        attributes.number("wrapwatch.conn", connection.conn).text("wrapwatch.outcome", outcome);
        attributes.number("process.pid", connection.pid.into()).number("thread.id", connection.tid.into());
        attributes.maybe("wrapwatch.server", self.command).peer(connection.peer);
        if let Some(local) = connection.local {
            attributes.address(local);
        }
        attributes.rule(connection.rule.as_ref());
        attributes.maybe("wrapwatch.client_left", connection.client_left.map(|left| left.how.into()));
        attributes.boolean("wrapwatch.queue_seen", connection.queued_ns.is_some());
        attributes.number("wrapwatch.unknown_ns", connection.unknown_ns);
        attributes.boolean("wrapwatch.complete", connection.complete);
        if !connection.complete {
            attributes.text("wrapwatch.missing", &missing_line(&connection.missing));
        }
        if let Some(code) = connection.error_code {
            attributes.text("db.response.status_code", &code.to_string());
        }
        if let Some(error) = error(connection.outcome) {
            attributes.text("error.type", error);
            span.status = Some(Status::error(error.to_owned()));
        }
        let behind = connection.queued_behind.iter();
        span.links = behind.map(|conn| self.queued_behind(*conn)).collect();
        span
    }

    /// To who held the accept thread meanwhile.
    fn queued_behind(&self, conn: u64) -> Link {
        let mut attributes = Attributes::default();
        attributes.text("wrapwatch.link", "queued_behind").number("wrapwatch.conn", conn);
        Link { trace_id: self.ids.trace(conn), span_id: self.ids.span(conn, &[]), attributes }
    }

    fn check(&self, times: Times, whole: SpanId) -> Span {
        let mut span = self.span(&[CHECK], Some(whole), "check", times);
        let parts = &self.connection.parts;
        for (key, ns) in [
            ("wrapwatch.dns_ns", parts.dns_ns),
            ("wrapwatch.files_ns", parts.files_ns),
            ("wrapwatch.ident_ns", parts.ident_ns),
            ("wrapwatch.spawn_ns", parts.spawn_ns),
            ("wrapwatch.syslog_ns", parts.syslog_ns),
            ("wrapwatch.other_ns", parts.other_ns),
        ] {
            span.attributes.number(key, ns);
        }
        span
    }

    fn lookup(&self, n: u64, lookup: &Lookup, parent: SpanId, within: Times, spans: &mut Vec<Span>) {
        let begin = self.moment(lookup.at_ns, within);
        let end = begin.plus(lookup.dur_ns).min(within.1);
        let kind: &'static str = lookup.kind.into();
        let outcome: &'static str = lookup.outcome.into();
        let thread: &'static str = lookup.thread.into();
        let mut span = self.span(&[LOOKUP, n], Some(parent), &format!("{kind} lookup"), (begin, end));
        span.attributes.text("wrapwatch.lookup.outcome", outcome).text("wrapwatch.lookup.thread", thread);
        if self.names {
            span.attributes.maybe("dns.question.name", lookup.name.as_deref());
        }
        if lookup.outcome == LookupOutcome::Failed {
            span.attributes.text("error.type", outcome);
            span.status = Some(Status::error(outcome.to_owned()));
        }
        let id = span.id;
        spans.push(span);
        for (m, query) in (0..).zip(&lookup.queries) {
            spans.push(self.query((n, m), query, id, (begin, end)));
        }
    }

    fn query(&self, (n, m): (u64, u64), query: &Query, parent: SpanId, within: Times) -> Span {
        let begin = self.moment(query.at_ns, within);
        // How long it went on where that was not seen is not known: no more than that it was sent.
        let end = begin.plus(query.rtt_ns.unwrap_or(0)).min(within.1);
        let name =
            query.qtype.as_deref().map_or_else(|| "query".to_owned(), |qtype| format!("query {qtype}"));
        let mut span = Span { kind: CLIENT, ..self.span(&[LOOKUP, n, m], Some(parent), &name, (begin, end)) };
        let outcome: &'static str = query.outcome.into();
        let attributes = &mut span.attributes;
        attributes.server(Some(&query.server)).text("network.transport", transport(query.transport));
        attributes.text("wrapwatch.query.outcome", outcome);
        attributes.maybe("wrapwatch.query.rcode", query.rcode.as_deref());
        if self.names {
            attributes.maybe("dns.question.name", query.qname.as_deref());
        }
        let bad = |rcode: &&str| !["NOERROR", "NXDOMAIN"].contains(rcode);
        let error = match query.outcome {
            QueryOutcome::Timeout | QueryOutcome::Unreachable => Some(outcome),
            _ => query.rcode.as_deref().filter(bad),
        };
        if let Some(error) = error {
            attributes.text("error.type", error);
            span.status = Some(Status::error(error.to_owned()));
        }
        span
    }

    /// So long after accept, within its whole.
    fn moment(&self, at_ns: u64, (begin, end): Times) -> KtimeNs {
        super::since_1970(self.connection.at(at_ns)).clamp(begin, end.max(begin))
    }
}

/// What became of a client, where the server or a rule would not have it.
pub(super) fn error(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Refused | Outcome::ServerError | Outcome::Dropped => Some(outcome.into()),
        // Of the last two it is not known.
        Outcome::Greeted
        | Outcome::Admitted
        | Outcome::LookedUp
        | Outcome::LoggedIn
        | Outcome::Encrypted
        | Outcome::Aborted
        | Outcome::Unfinished
        | Outcome::HandedOver => None,
    }
}

const fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Nscd | Transport::Resolved => "unix",
    }
}
