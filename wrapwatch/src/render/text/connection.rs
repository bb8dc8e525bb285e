//! One connection: its line, and under it what made it slow.

use anstyle::Style;

use crate::model::{
    Connection, LeaveKind, Lookup, LookupKind, LookupOutcome, Nanos, Outcome, Query, QueryOutcome,
    ThreadRole, Transport,
};

use super::{DIM, GREEN, MAGENTA, RED, Text, YELLOW, fit, time};

/// Columns of the bar.
const BAR: usize = 8;
/// Most columns of an address.
const PEER: usize = 21;
/// Columns of conn, outcome and total.
const CONN: usize = 6;
const OUTCOME: usize = 8;
const TOTAL: usize = 7;
/// Columns of what says most.
const MOST: usize = 12;

/// A phase of a connection as the bar shows it.
struct Phase {
    name: &'static str,
    ns: u64,
    glyph: char,
    ascii: char,
    style: Style,
}

fn phases(connection: &Connection) -> [Phase; 4] {
    let queued = connection.queued_ns.unwrap_or(0);
    let dns = connection.parts.dns_ns;
    let check = connection.wrapper_ns.saturating_sub(dns);
    let told = queued.saturating_add(connection.wrapper_ns);
    let rest = connection.total_ns.unwrap_or(told).saturating_sub(told);
    all_phases([queued, dns, check, rest])
}

fn all_phases([queued, dns, check, rest]: [u64; 4]) -> [Phase; 4] {
    [
        Phase { name: "queue", ns: queued, glyph: '░', ascii: 'q', style: YELLOW },
        Phase { name: "dns", ns: dns, glyph: '█', ascii: 'D', style: RED },
        Phase { name: "check", ns: check, glyph: '▓', ascii: 'w', style: MAGENTA },
        Phase { name: "server", ns: rest, glyph: '·', ascii: '.', style: DIM },
    ]
}

impl Text {
    /// What stands above the first connection: the columns, and what the bar is made of.
    pub fn legend(&self) -> String {
        let bar: Vec<String> = all_phases([0; 4])
            .iter()
            .map(|phase| {
                let glyph = if self.unicode { phase.glyph } else { phase.ascii };
                format!("{}{}", self.paint(phase.style, &glyph.to_string()), phase.name)
            })
            .collect();
        let columns = self.paint(DIM, "time (UTC)   conn   client           outcome     wait ");
        format!("{columns} {}\n", bar.join(" "))
    }

    /// The connection's line; under it, where it was slow or not seen whole, why.
    pub fn connection(&self, connection: &Connection) -> String {
        let mut text = self.headline(connection);
        text.push('\n');
        let shown = connection.total_ns.unwrap_or(0).max(connection.wrapper_ns);
        if shown > self.slow_ns {
            self.details(connection, &mut text);
        }
        if let Some(left) = &connection.client_left {
            let how = match left.how {
                LeaveKind::Fin => "closed",
                LeaveKind::Rst => "reset",
            };
            let after = left.after_ns.map_or(String::new(), |ns| format!(" after {}", Nanos(ns)));
            self.note(&mut text, YELLOW, &format!("client left ({how}){after}"));
        }
        if !connection.complete {
            self.note(&mut text, YELLOW, &format!("incomplete: {}", connection.missing.join("; ")));
        }
        text
    }

    fn headline(&self, connection: &Connection) -> String {
        let conn = fit::left(&format!("#{}", connection.conn), CONN, "");
        let extra = conn_overflow(connection.conn);
        let conn = if extra > 0 { format!("#{}", connection.conn) } else { conn };
        let (outcome, style) = outcome(connection);
        let total = connection.total_ns.map_or_else(|| "-".to_owned(), |ns| Nanos(ns).to_string());
        let phases = phases(connection);
        let longest = phases.iter().max_by_key(|phase| phase.ns).filter(|phase| phase.ns > 0);
        let most = longest.map_or(String::new(), |phase| format!("{} {}", phase.name, Nanos(phase.ns)));
        let fixed = 12 + CONN + OUTCOME + TOTAL + BAR + MOST + 6;
        let peer_columns = self.width().saturating_sub(fixed + extra).min(2 * PEER + 5);
        let peer = self.outside(connection.peer.as_deref().unwrap_or("?"), peer_columns);
        format!(
            "{} {conn} {} {} {} {} {}",
            self.paint(DIM, &time(connection.established.unwrap_or(connection.accepted))),
            fit::left(&peer, peer_columns, self.mark()),
            self.paint(style, &fit::left(&outcome, OUTCOME, "")),
            fit::right(&self.own(&total), TOTAL, ""),
            self.bar(&phases),
            self.own(&most),
        )
        .trim_end()
        .to_owned()
    }

    /// Phases in proportion; each that took a visible share gets a column at least.
    fn bar(&self, phases: &[Phase; 4]) -> String {
        let total: u128 = phases.iter().map(|phase| u128::from(phase.ns)).sum();
        if total == 0 {
            return " ".repeat(BAR);
        }
        let mut bar = String::new();
        let mut sum = 0_u128;
        let mut drawn = 0;
        for phase in phases {
            sum += u128::from(phase.ns);
            let end = usize::try_from((sum * BAR as u128 + total / 2) / total).unwrap_or(BAR).min(BAR);
            let glyph = if self.unicode { phase.glyph } else { phase.ascii };
            let cells: String = std::iter::repeat_n(glyph, end - drawn).collect();
            bar.push_str(&self.paint(phase.style, &cells));
            drawn = end;
        }
        bar
    }

    fn note(&self, text: &mut String, style: Style, note: &str) {
        for line in fit::wrap(&self.own(note), self.width() - 4, 2, self.mark()).lines() {
            text.push_str("    ");
            text.push_str(&self.paint(style, line));
            text.push('\n');
        }
    }

    fn details(&self, connection: &Connection, text: &mut String) {
        if connection.queued_behind_count > 0 && connection.queued_ns.unwrap_or(0) > self.slow_ns {
            let named: Vec<String> = connection.queued_behind.iter().map(|conn| format!("#{conn}")).collect();
            let more = connection.queued_behind_count.saturating_sub(named.len() as u64);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let queued = Nanos(connection.queued_ns.unwrap_or(0));
            self.note(text, YELLOW, &format!("queued {queued} behind {}{more}", named.join(" ")));
        }
        for lookup in &connection.lookups {
            self.lookup(connection, lookup, text);
        }
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
        if let Some(rule) =
            connection.verdict_rule.as_ref().filter(|_| connection.outcome == Outcome::Refused)
        {
            let at = format!("refused by {}:{}", base_name(&rule.file), rule.line);
            let said = rule.text.as_deref().map_or(String::new(), |text| format!(" {text}"));
            let said = self.outside(&(at + &said), self.width() - 4);
            text.push_str(&format!("    {}\n", self.paint(RED, &said)));
        }
    }

    fn lookup(&self, connection: &Connection, lookup: &Lookup, text: &mut String) {
        let rule = connection.rule.as_ref().filter(|_| lookup.thread == ThreadRole::Accept);
        let rule = rule.map_or(String::new(), |rule| format!("{}:{}", base_name(&rule.file), rule.line));
        let whose = if lookup.thread == ThreadRole::Connection { "mysqld's own" } else { &rule };
        for query in &lookup.queries {
            text.push_str(&self.query(lookup, query, whose));
            text.push('\n');
        }
        if lookup.queries.is_empty() {
            self.note(text, DIM, &format!("{} lookup {}", kind(lookup.kind), Nanos(lookup.dur_ns)));
        }
        if lookup.outcome == LookupOutcome::Unfinished {
            self.note(text, YELLOW, "its end was not seen");
        }
    }

    /// `    PTR 1.0.77.10.in-addr.arpa → 10.77.53.1 timeout 1.00 s hosts.allow:17`: the name gives way.
    fn query(&self, lookup: &Lookup, query: &Query, whose: &str) -> String {
        let what = query.qtype.clone().unwrap_or_else(|| kind(lookup.kind).to_owned());
        let (outcome, style) = query_outcome(query);
        let waited = query.rtt_ns.map_or(String::new(), |ns| format!(" {}", Nanos(ns)));
        let how = match query.transport {
            Transport::Tcp if lookup.kind != LookupKind::Ident => " tcp",
            _ => "",
        };
        let cut = if query.truncated { " truncated" } else { "" };
        let tail = self.own(&format!("{outcome}{cut}{waited}"));
        let whose = self.outside(whose, 24);
        let columns = self.width() - 4;
        let fixed = fit::width(&what)
            + fit::width(&tail)
            + fit::width(&whose)
            + fit::width(self.arrow())
            + how.len()
            + 5;
        let server = self.outside(&query.server, columns.saturating_sub(fixed).min(30));
        let name_columns = columns.saturating_sub(fixed + fit::width(&server));
        let name = query.qname.as_deref().or(lookup.name.as_deref()).unwrap_or("?");
        let name = self.outside(name, name_columns);
        let line =
            format!("    {what} {name} {} {server}{how} {} {whose}", self.arrow(), self.paint(style, &tail));
        line.trim_end().to_owned()
    }
}

/// Columns by which a number does not fit its column.
fn conn_overflow(conn: u64) -> usize {
    conn.to_string().len().saturating_add(1).saturating_sub(CONN)
}

fn outcome(connection: &Connection) -> (String, Style) {
    match (connection.outcome, connection.error_code) {
        (Outcome::Greeted, _) => ("greeted".to_owned(), GREEN),
        (Outcome::ServerError, Some(code)) => (format!("err {code}"), RED),
        (Outcome::ServerError, None) => ("error".to_owned(), RED),
        (Outcome::Refused, _) => ("refused".to_owned(), RED),
        (Outcome::Unfinished, _) => ("no end".to_owned(), YELLOW),
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

pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
