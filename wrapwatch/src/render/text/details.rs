//! Under a connection's line: what made it slow, and what was not seen of it.

use anstyle::Style;

use crate::model::{
    Connection, LeaveKind, Login, Lookup, LookupKind, LookupOutcome, Nanos, Outcome, Query, QueryOutcome,
    ThreadRole, Transport, missing_line,
};

use super::{DIM, GREEN, MAGENTA, RED, Text, YELLOW, bare, base_name, fit};

/// Most columns of a nameserver, and of a rule's place.
const SERVER: usize = 30;
const RULE: usize = 24;
/// Most columns of an outcome.
const OUTCOME: usize = 12;
/// Narrower than this, the name needs the rule's columns.
const WITH_RULE: usize = 70;

/// Whom a login waited for.
fn logs_in(conn: u64, login: &Login) -> String {
    let server = login.login_ns.saturating_sub(login.client_ns);
    format!("login on #{conn}: server {}, client {}", Nanos(server), Nanos(login.client_ns))
}

impl Text {
    pub(super) fn details(&self, connection: &Connection, text: &mut String) {
        if connection.queued_ns.unwrap_or(0) > self.slow_ns && connection.queued_behind_count > 0 {
            self.queued_behind(connection, text);
        }
        if connection.wrapper_ns > self.slow_ns || connection.resolve_ns > self.slow_ns {
            for lookup in &connection.lookups {
                self.lookup(connection, lookup, text);
            }
            self.rest_of_check(connection, text);
        }
        if connection.outcome == Outcome::Refused {
            self.refusal(connection, text);
        }
        if let Some(left) = &connection.client_left {
            let how = match left.how {
                LeaveKind::Fin => "closed",
                LeaveKind::Rst => "reset",
            };
            let after = left.after_ns.map_or(String::new(), |ns| format!(" after {}", Nanos(ns)));
            self.note(text, YELLOW, &format!("client left ({how}){after}"));
        }
        if connection.unknown_ns > self.slow_ns {
            let reasons: Vec<&str> = connection.unknown.iter().map(|part| part.reason.message()).collect();
            let said = format!("{} unknown: {}", Nanos(connection.unknown_ns), reasons.join("; "));
            self.note(text, YELLOW, &said);
        }
        if let Some(conn) = connection.within {
            let login = connection.login.as_ref();
            let said = login
                .map_or_else(|| format!("after the first byte of #{conn}"), |login| logs_in(conn, login));
            self.note(text, DIM, &said);
        }
        if !connection.complete {
            let missing = self.outside(&missing_line(&connection.missing), usize::MAX);
            self.note(text, YELLOW, &format!("incomplete: {missing}"));
        }
    }

    fn queued_behind(&self, connection: &Connection, text: &mut String) {
        let named: Vec<String> = connection.queued_behind.iter().map(|conn| format!("#{conn}")).collect();
        let more = connection.queued_behind_count.saturating_sub(named.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let queued = Nanos(connection.queued_ns.unwrap_or(0));
        self.note(text, YELLOW, &format!("queued {queued} behind {}{more}", named.join(" ")));
    }

    fn rest_of_check(&self, connection: &Connection, text: &mut String) {
        let parts = &connection.parts;
        let others = [
            ("files", parts.files_ns),
            ("spawned command", parts.spawn_ns),
            ("syslog", parts.syslog_ns),
            ("elsewhere in the check", parts.other_ns),
        ];
        for (name, ns) in others.into_iter().filter(|(_, ns)| *ns > self.slow_ns) {
            self.note(text, MAGENTA, &format!("{name} {}", Nanos(ns)));
        }
        for other in connection.other.iter().filter(|other| other.dur_ns > self.slow_ns) {
            let what = self.outside(&other.what, self.width() - 20);
            self.note(text, MAGENTA, &format!("{what} {}", Nanos(other.dur_ns)));
        }
    }

    fn refusal(&self, connection: &Connection, text: &mut String) {
        let Some(rule) = &connection.verdict_rule else { return };
        let mut said = format!("refused by {}:{}", base_name(&rule.file), rule.line);
        if let Some(rule) = &rule.text {
            put!(said, "  {rule}");
        }
        let said = self.outside(&said, self.width() - 4);
        put!(text, "    {}\n", self.paint(RED, &said));
    }

    fn lookup(&self, connection: &Connection, lookup: &Lookup, text: &mut String) {
        let rule = connection.rule.as_ref().filter(|_| lookup.thread != ThreadRole::Connection);
        let rule = rule.map_or(String::new(), |rule| format!("{}:{}", base_name(&rule.file), rule.line));
        let whose = if lookup.thread == ThreadRole::Connection { "server's own" } else { &rule };
        for query in &lookup.queries {
            put!(text, "{}\n", self.query(lookup, query, whose));
        }
        if lookup.queries.is_empty() {
            self.note(text, DIM, &format!("{} lookup {}", kind(lookup.kind), Nanos(lookup.dur_ns)));
        }
        if lookup.outcome == LookupOutcome::Unfinished {
            self.note(text, YELLOW, "its end was not seen");
        }
    }

    /// `    PTR 1.0.77.10.in-addr.arpa → 10.77.53.1 timeout 1.00 s  hosts.allow:17`: the name gives way.
    fn query(&self, lookup: &Lookup, query: &Query, whose: &str) -> String {
        let what = query.qtype.clone().unwrap_or_else(|| kind(lookup.kind).into());
        let what = self.outside(&what, 10);
        let (outcome, style) = query_outcome(query);
        let waited = query.rtt_ns.map_or(String::new(), |ns| format!(" {}", Nanos(ns)));
        let tcp = query.transport == Transport::Tcp && lookup.kind != LookupKind::Ident;
        let how = if tcp { " tcp" } else { "" };
        let cut = if query.truncated { " truncated" } else { "" };
        let tail = self.own(&format!("{}{cut}{waited}", self.outside(&outcome, OUTCOME)));
        let columns = self.width() - 4;
        let whose = if columns >= WITH_RULE { self.outside(whose, RULE) } else { String::new() };
        let fixed = [what.as_str(), &tail, &whose, self.arrow(), how]
            .iter()
            .map(|part| fit::width(part))
            .sum::<usize>();
        let fixed = fixed + 6;
        let server = self.outside(bare(&query.server), columns.saturating_sub(fixed).min(SERVER));
        let name_columns = columns.saturating_sub(fixed + fit::width(&server));
        let name = query.qname.as_deref().or(lookup.name.as_deref()).unwrap_or("?");
        let name = self.outside(name, name_columns);
        let line =
            format!("    {what} {name} {} {server}{how} {}  {whose}", self.arrow(), self.paint(style, &tail));
        line.trim_end().to_owned()
    }
}

fn query_outcome(query: &Query) -> (String, Style) {
    match query.outcome {
        QueryOutcome::Answered => match query.rcode.as_deref() {
            Some("NOERROR") | None => ("answered".to_owned(), GREEN),
            Some(rcode) => (rcode.to_owned(), YELLOW),
        },
        QueryOutcome::Timeout => ("timeout".to_owned(), RED),
        QueryOutcome::Unreachable => ("unreachable".to_owned(), RED),
        QueryOutcome::Unseen => ("not seen".to_owned(), YELLOW),
    }
}

pub(super) const fn kind(kind: LookupKind) -> &'static str {
    match kind {
        LookupKind::Reverse => "PTR",
        LookupKind::Forward => "A",
        LookupKind::Ident => "ident",
        LookupKind::Other => "lookup",
    }
}
