//! The slowest connections: a bar each, and under it the queries.

use crate::diagnose::took_ns;
use crate::model::{Connection, Nanos, Outcome, Query, QueryOutcome, Stage, ThreadRole, missing_line};
use crate::render::text::client;

use super::charts::{KEY, WIDTH, share};
use super::{Page, esc};

impl Page<'_> {
    pub(super) fn slowest(&self) -> String {
        let connections = &self.report.connections;
        if connections.is_empty() {
            return String::new();
        }
        let longest = connections.iter().map(took_ns).max().unwrap_or(0);
        let mut html = format!("<h2>{}</h2>\n<p class=\"key about\">{KEY}</p>\n", self.report.slowest());
        for (index, connection) in connections.iter().enumerate() {
            // The first ones open, so that a printed page tells the story.
            html += &row(connection, longest, index < 3);
        }
        html
    }
}

fn row(connection: &Connection, longest: u64, open: bool) -> String {
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
    format!(
        "<details{}><summary><div class=\"row\"><span class=\"mono\">#{}</span><span>{began}</span><span class=\"peer mono\">{}</span>\
         <span>{outcome}</span><b>{}</b></div>{}</summary>\n<div class=\"detail\">{}</div></details>\n",
        if open { " open" } else { "" },
        connection.conn,
        esc(&client(connection.peer)),
        Nanos(took_ns(connection)),
        bar(connection, longest),
        details(connection)
    )
}

fn bar(connection: &Connection, longest: u64) -> String {
    let queued = connection.queued_ns.unwrap_or(0);
    let known = |ns: u64, stage| ns.saturating_sub(connection.unknown_in(stage));
    let dns = connection.parts.dns_ns.min(known(connection.wrapper_ns, Stage::Check));
    let check = known(connection.wrapper_ns, Stage::Check) - dns;
    let after = took_ns(connection).saturating_sub(queued.saturating_add(connection.wrapper_ns));
    let after = known(after, Stage::Thread);
    let own = connection.resolve_ns.min(after);
    let mut x = 0.0;
    let mut svg = String::new();
    for (class, name, ns) in [
        ("queue", "queue", known(queued, Stage::Queue)),
        ("dns", "DNS", dns),
        ("check", "rest of the check", check),
        ("dns", "the server's own DNS", own),
        ("unknown", "unknown", connection.unknown_ns),
        ("server", "connection thread", after - own),
    ] {
        let width = WIDTH * share(ns, longest);
        if ns > 0 {
            svg += &format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"0\" width=\"{:.1}\" height=\"9\"><title>{name} {}</title></rect>",
                width.max(0.3),
                Nanos(ns)
            );
        }
        x += width;
    }
    format!(
        "<svg viewBox=\"0 0 {WIDTH} 9\" preserveAspectRatio=\"none\" style=\"height:9px\" aria-hidden=\"true\">{svg}</svg>"
    )
}

fn details(connection: &Connection) -> String {
    let mut html = String::new();
    if let Some(queued) = connection.queued_ns.filter(|_| connection.queued_behind_count > 0) {
        let named: Vec<String> = connection.queued_behind.iter().map(|conn| format!("#{conn}")).collect();
        let more = connection.queued_behind_count.saturating_sub(named.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        html += &format!("<p>queued {} behind {}{more}</p>\n", Nanos(queued), named.join(" "));
    }
    for (what, rule) in [("asked by", &connection.rule), ("decided by", &connection.verdict_rule)] {
        if let Some(rule) = rule {
            let text =
                rule.text.as_deref().map_or(String::new(), |text| format!(" <code>{}</code>", esc(text)));
            html += &format!("<p>{what} {}:{}{text}</p>\n", esc(&rule.file), rule.line);
        }
    }
    let queries: Vec<(bool, &Query)> = connection
        .lookups
        .iter()
        .flat_map(|lookup| {
            lookup.queries.iter().map(|query| (lookup.thread == ThreadRole::Connection, query))
        })
        .collect();
    if !queries.is_empty() {
        html += "<div class=\"scroll\"><table><thead><tr><th>query</th><th>nameserver</th><th>sent at</th><th>took</th><th></th></tr></thead><tbody>\n";
        queries.iter().for_each(|(own, query)| html += &query_row(*own, query));
        html += "</tbody></table></div>\n";
    }
    for part in &connection.unknown {
        html += &format!("<p>{} unknown: {}</p>\n", Nanos(part.ns), part.reason.message());
    }
    if !connection.complete {
        html += &format!("<p>incomplete: {}</p>\n", esc(&missing_line(&connection.missing)));
    }
    html
}

fn query_row(own: bool, query: &Query) -> String {
    let outcome = match query.outcome {
        QueryOutcome::Answered => match query.rcode.as_deref() {
            Some("NOERROR") | None => "answered",
            Some(rcode) => rcode,
        },
        QueryOutcome::Timeout => "timed out",
        QueryOutcome::Unreachable => "unreachable",
        QueryOutcome::Unseen => "not seen",
    };
    format!(
        "<tr><td class=\"mono\">{} {}{}</td><td class=\"mono\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        esc(query.qtype.as_deref().unwrap_or("?")),
        esc(query.qname.as_deref().unwrap_or("?")),
        if own { " (the server’s own)" } else { "" },
        esc(&query.server),
        Nanos(query.at_ns),
        query.rtt_ns.map_or_else(|| "–".to_owned(), |ns| Nanos(ns).to_string()),
        esc(outcome)
    )
}
