//! The page's tables: what-if, nameservers, numbers.

use crate::diagnose::rate;
use crate::model::{Nanos, Percentiles, Scenario, Share};

use crate::render::text::{lookups_and_unknown, requests};

use super::super::scenario;
use super::{Page, esc};

impl Page<'_> {
    pub(super) fn what_if(&self) -> String {
        let report = self.report;
        if report.what_if.is_empty() && report.what_if_caveats.is_empty() {
            return String::new();
        }
        let mut html = "<h2>What if</h2>\n".to_owned();
        if !report.what_if.is_empty() {
            html += "<div class=\"scroll\"><table><thead><tr><th></th><th>ceiling, connections/s</th><th>accept thread used</th>\
                     <th>wait p50</th><th>p99</th><th>max</th></tr></thead><tbody>\n";
        }
        for row in &report.what_if {
            let class = if row.scenario == Scenario::AsItWas { " class=\"base\"" } else { "" };
            let wait = |ns: Option<u64>| ns.map_or_else(|| "–".to_owned(), |ns| Nanos(ns).to_string());
            html += &format!(
                "<tr{class}><td>{}</td><td class=\"head\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                scenario(row.scenario),
                row.ceiling_per_s.map_or_else(|| "–".to_owned(), rate),
                row.utilisation.map_or_else(|| "–".to_owned(), |used| Share(used).to_string()),
                wait(row.wait_p50_ns),
                wait(row.wait_p99_ns),
                wait(row.wait_max_ns),
            );
        }
        if !report.what_if.is_empty() {
            html += "</tbody></table></div>\n";
        }
        let caveats: String =
            report.what_if_caveats.iter().map(|caveat| format!("<li>{}</li>", esc(caveat))).collect();
        html + &format!("<ul class=\"caveats\">{caveats}</ul>\n")
    }

    pub(super) fn nameservers(&self) -> String {
        let servers = &self.report.summary.nameservers;
        if servers.is_empty() {
            return String::new();
        }
        let mut html = "<h2>Nameservers</h2>\n<div class=\"scroll\"><table><thead><tr><th>nameserver</th><th>queries</th><th>answered</th>\
                        <th>timed out</th><th>unreachable</th><th>p50</th><th>p99</th><th>max</th><th>of all waiting</th></tr></thead><tbody>\n"
            .to_owned();
        for server in servers {
            let rtt = |ns| if server.rtt.count > 0 { Nanos(ns).to_string() } else { "–".to_owned() };
            html += &format!(
                "<tr><td class=\"mono\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                esc(&server.server),
                server.queries,
                server.answered,
                server.timeouts,
                server.unreachable,
                rtt(server.rtt.p50_ns),
                rtt(server.rtt.p99_ns),
                rtt(server.rtt.max_ns),
                Share::of(server.explained_ns, self.report.summary.waiting.total_ns),
            );
        }
        html + "</tbody></table></div>\n"
    }

    pub(super) fn numbers(&self) -> String {
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
        let requests = requests(summary);
        let lookups =
            lookups_and_unknown(summary).map_or(String::new(), |said| format!("<p>{}.</p>\n", esc(&said)));
        let mut html = format!(
            "<h2>Numbers</h2>\n<p>{said}.{requests}</p>\n{lookups}<div class=\"scroll\"><table><thead><tr><th></th><th>count</th><th>p50</th><th>p99</th>\
             <th>max</th><th>sum</th></tr></thead><tbody>\n"
        );
        let rows = [
            ("queued", &summary.queued),
            ("wrapper check", &summary.wrapper),
            ("DNS in it", &summary.dns),
            ("accept to greeting", &summary.greeting),
            ("client’s wait", &summary.total),
            ("requests", &summary.requests),
            ("logins: waiting for the server", &summary.logins),
            ("logins: waiting for the client", &summary.logins_client),
        ];
        for (name, spread) in rows.into_iter().filter(|(_, spread)| spread.count > 0) {
            let Percentiles { count, p50_ns, p99_ns, max_ns, sum_ns } = *spread;
            let [p50, p99, max, sum] = [p50_ns, p99_ns, max_ns, sum_ns].map(Nanos);
            html += &format!(
                "<tr><td>{name}</td><td>{count}</td><td>{p50}</td><td>{p99}</td><td>{max}</td><td>{sum}</td></tr>\n"
            );
        }
        html + "</tbody></table></div>\n"
    }
}
