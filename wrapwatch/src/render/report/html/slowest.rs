//! The slowest connections: a bar each, and under it the queries.

use maud::{Markup, display, html};

use crate::diagnose::took_ns;
use crate::model::{Connection, Nanos, Outcome, Query, QueryOutcome, Stage, ThreadRole, missing_line};
use crate::render::text::client;

use super::Page;
use super::charts::{WIDTH, key, px, share};
use super::tables::{or_dash, table};

impl Page<'_> {
    pub(super) fn slowest(&self) -> Markup {
        let connections = &self.report.connections;
        let longest = connections.iter().map(took_ns).max().unwrap_or(0);
        html! {
            @if !connections.is_empty() {
                h2 { (self.report.slowest()) }
                p.key.about { (key()) }
                // The first ones open, so that a printed page tells the story.
                @for (index, connection) in connections.iter().enumerate() {
                    (row(connection, longest, index < 3))
                }
            }
        }
    }
}

fn row(connection: &Connection, longest: u64, open: bool) -> Markup {
    let outcome = match (connection.outcome, connection.error_code) {
        (Outcome::Greeted, _) => "greeted".to_owned(),
        (Outcome::ServerError, Some(code)) => format!("error {code}"),
        (Outcome::ServerError, None) => "error".to_owned(),
        (Outcome::Refused, _) => "refused".to_owned(),
        (Outcome::Unfinished, _) => "no end seen".to_owned(),
        (Outcome::HandedOver, _) => "handed over".to_owned(),
        (Outcome::Dropped, _) => "dropped".to_owned(),
        (Outcome::Admitted, _) => "admitted".to_owned(),
        (Outcome::LookedUp, _) => "lookup".to_owned(),
        (Outcome::LoggedIn, _) => "logged in".to_owned(),
        (Outcome::Encrypted, _) => "encrypted".to_owned(),
        (Outcome::Aborted, _) => "aborted".to_owned(),
    };
    let began = connection.established.unwrap_or(connection.accepted).0.strftime("%H:%M:%S%.3f").to_string();
    html! {
        details open[open] {
            summary {
                div.row {
                    span.mono { "#" (connection.conn) }
                    span { (began) }
                    span.peer.mono { (client(connection.peer)) }
                    span { (outcome) }
                    b { (display(Nanos(took_ns(connection)))) }
                }
                (bar(connection, longest))
            }
            div.detail { (details(connection)) }
        }
    }
}

fn bar(connection: &Connection, longest: u64) -> Markup {
    let queued = connection.queued_ns.unwrap_or(0);
    let known = |ns: u64, stage| ns.saturating_sub(connection.unknown_in(stage));
    let dns = connection.parts.dns_ns.min(known(connection.wrapper_ns, Stage::Check));
    let check = known(connection.wrapper_ns, Stage::Check) - dns;
    let after = took_ns(connection).saturating_sub(queued.saturating_add(connection.wrapper_ns));
    let after = known(after, Stage::Thread);
    let own = connection.resolve_ns.min(after);
    let parts = [
        ("queue", "queue", known(queued, Stage::Queue)),
        ("dns", "DNS", dns),
        ("check", "rest of the check", check),
        ("dns", "the server's own DNS", own),
        ("unknown", "unknown", connection.unknown_ns),
        ("server", "connection thread", after - own),
    ];
    let mut end = 0.0;
    let placed = parts.map(|(class, name, ns)| {
        let (x, width) = (end, WIDTH * share(ns, longest));
        end += width;
        (class, name, ns, x, width)
    });
    html! {
        svg viewBox=(format!("0 0 {WIDTH} 9")) preserveAspectRatio="none" style="height:9px" aria-hidden="true" {
            @for (class, name, ns, x, width) in placed.into_iter().filter(|(_, _, ns, ..)| *ns > 0) {
                rect class=(class) x=(px(x)) y="0" width=(px(width.max(0.3))) height="9" {
                    title { (name) " " (display(Nanos(ns))) }
                }
            }
        }
    }
}

fn details(connection: &Connection) -> Markup {
    let queries: Vec<(bool, &Query)> = connection
        .lookups
        .iter()
        .flat_map(|lookup| {
            lookup.queries.iter().map(|query| (lookup.thread == ThreadRole::Connection, query))
        })
        .collect();
    let rows = html! { @for (own, query) in &queries { (query_row(*own, query)) } };
    html! {
        (behind(connection))
        @for (what, rule) in [("asked by", &connection.rule), ("decided by", &connection.verdict_rule)] {
            @if let Some(rule) = rule {
                p {
                    (what) " " (rule.file) ":" (rule.line)
                    @if let Some(text) = &rule.text { " " code { (text) } }
                }
            }
        }
        @if !queries.is_empty() { (table(&["query", "nameserver", "sent at", "took", ""], &rows)) }
        @for part in &connection.unknown {
            p { (display(Nanos(part.ns))) " unknown: " (part.reason.message()) }
        }
        @if !connection.complete {
            p { "incomplete: " (missing_line(&connection.missing)) }
        }
    }
}

/// For whom it waited in the queue.
fn behind(connection: &Connection) -> Markup {
    let named = &connection.queued_behind;
    let more = connection.queued_behind_count.saturating_sub(named.len() as u64);
    html! {
        @if let Some(queued) = connection.queued_ns.filter(|_| connection.queued_behind_count > 0) {
            p {
                "queued " (display(Nanos(queued))) " behind"
                @for conn in named { " #" (conn) }
                @if more > 0 { " and " (more) " more" }
            }
        }
    }
}

fn query_row(own: bool, query: &Query) -> Markup {
    let outcome = match query.outcome {
        QueryOutcome::Answered => match query.rcode.as_deref() {
            Some("NOERROR") | None => "answered",
            Some(rcode) => rcode,
        },
        QueryOutcome::Timeout => "timed out",
        QueryOutcome::Unreachable => "unreachable",
        QueryOutcome::Unseen => "not seen",
    };
    html! {
        tr {
            td.mono {
                (query.qtype.as_deref().unwrap_or("?")) " " (query.qname.as_deref().unwrap_or("?"))
                @if own { " (the server’s own)" }
            }
            td.mono { (query.server) }
            td { (display(Nanos(query.at_ns))) }
            td { (or_dash(query.rtt_ns.map(Nanos))) }
            td { (outcome) }
        }
    }
}
