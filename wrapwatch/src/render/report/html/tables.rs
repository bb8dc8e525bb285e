//! The page's tables: what-if, nameservers, numbers.

use maud::{Markup, display, html};

use crate::diagnose::rate;
use crate::model::{Nanos, Percentiles, Scenario, Share};

use crate::render::text::{lookups_and_unknown, requests};

use super::super::scenario;
use super::Page;

/// A table, with what its columns are called.
pub(super) fn table(columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { @for column in columns { th { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// The value, or a dash.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

impl Page<'_> {
    pub(super) fn what_if(&self) -> Markup {
        let report = self.report;
        let rows = html! {
            @for row in &report.what_if {
                tr.base[row.scenario == Scenario::AsItWas] {
                    td { (scenario(row.scenario)) }
                    td.head { (or_dash(row.ceiling_per_s.map(rate))) }
                    td { (or_dash(row.utilisation.map(Share))) }
                    @for wait in [row.wait_p50_ns, row.wait_p99_ns, row.wait_max_ns] {
                        td { (or_dash(wait.map(Nanos))) }
                    }
                }
            }
        };
        let columns = ["", "ceiling, connections/s", "accept thread used", "wait p50", "p99", "max"];
        html! {
            @if !report.what_if.is_empty() || !report.what_if_caveats.is_empty() {
                h2 { "What if" }
                @if !report.what_if.is_empty() { (table(&columns, &rows)) }
                ul.caveats { @for caveat in &report.what_if_caveats { li { (caveat) } } }
            }
        }
    }

    pub(super) fn nameservers(&self) -> Markup {
        let servers = &self.report.summary.nameservers;
        let rows = html! {
            @for server in servers {
                tr {
                    td.mono { (server.server) }
                    @for count in [server.queries, server.answered, server.timeouts, server.unreachable] {
                        td { (count) }
                    }
                    @for ns in [server.rtt.p50_ns, server.rtt.p99_ns, server.rtt.max_ns] {
                        td { (or_dash((server.rtt.count > 0).then_some(Nanos(ns)))) }
                    }
                    td { (display(Share::of(server.explained_ns, self.report.summary.waiting.total_ns))) }
                }
            }
        };
        let columns = [
            "nameserver",
            "queries",
            "answered",
            "timed out",
            "unreachable",
            "p50",
            "p99",
            "max",
            "of all waiting",
        ];
        html! {
            @if !servers.is_empty() {
                h2 { "Nameservers" }
                (table(&columns, &rows))
            }
        }
    }

    pub(super) fn numbers(&self) -> Markup {
        let summary = &self.report.summary;
        let mut said = format!("{} connections", summary.connections);
        for outcome in &summary.outcomes {
            said += &format!(", {} {}", outcome.count, outcome.outcome.of_several());
        }
        if summary.clients_left > 0 {
            said += &format!(", {} left before the greeting", summary.clients_left);
        }
        if summary.incomplete > 0 {
            said += &format!(", {} incomplete", summary.incomplete);
        }
        let spreads = [
            ("queued", &summary.queued),
            ("wrapper check", &summary.wrapper),
            ("DNS in it", &summary.dns),
            ("accept to greeting", &summary.greeting),
            ("client’s wait", &summary.total),
            ("requests", &summary.requests),
            ("logins: waiting for the server", &summary.logins),
            ("logins: waiting for the client", &summary.logins_client),
        ];
        let rows = html! {
            @for (name, spread) in spreads.into_iter().filter(|(_, spread)| spread.count > 0) {
                tr { td { (name) } (numbers_of(spread)) }
            }
        };
        html! {
            h2 { "Numbers" }
            p { (said) "." (requests(summary)) }
            @if let Some(said) = lookups_and_unknown(summary) { p { (said) "." } }
            (table(&["", "count", "p50", "p99", "max", "sum"], &rows))
        }
    }
}

fn numbers_of(spread: &Percentiles) -> Markup {
    let Percentiles { count, p50_ns, p99_ns, max_ns, sum_ns } = *spread;
    html! {
        td { (count) }
        @for ns in [p50_ns, p99_ns, max_ns, sum_ns] { td { (display(Nanos(ns))) } }
    }
}
