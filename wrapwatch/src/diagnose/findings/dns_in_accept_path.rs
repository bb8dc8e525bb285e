//! Checks look names up: every client's connect depends on DNS, and all others wait for it.

use crate::model::{Finding, FindingId, Nanos, Outcome, RuleRef, Severity, Share, ThreadRole};

use super::support::{Clients, Proof, counted, finding, in_check, quoted};
use super::{Case, Detector, Seen};

/// Below this nobody notices; it will be noticed when a nameserver dies.
const QUICK_NS: u64 = 20_000_000;

#[derive(Debug, Default)]
pub(super) struct DnsInAcceptPath {
    proof: Proof,
    clients: Clients,
    rule: Option<RuleRef>,
    /// The thread that accepts and checks greets as well.
    serves: bool,
}

impl Detector for DnsInAcceptPath {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        self.serves |=
            connection.outcome == Outcome::Greeted && connection.greeted_by == Some(connection.tid);
        // A check in a process of the connection's own keeps nobody else waiting.
        if !in_check(connection).any(|lookup| lookup.thread == ThreadRole::Accept) {
            return;
        }
        self.proof.add(connection, connection.parts.dns_ns);
        if let Some(ip) = seen.client {
            self.clients.add(ip, String::new);
        }
        if self.rule.is_none() {
            self.rule.clone_from(&connection.rule);
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let dns = &case.summary.dns;
        let waiting = Share::of(case.summary.waiting.dns_ns, case.summary.waiting.total_ns);
        let severity = match (waiting.0 >= 0.5, dns.max_ns) {
            (true, max) if max >= 200_000_000 || case.summary.total.max_ns >= 1_000_000_000 => {
                Severity::Critical
            }
            (_, max) if max < QUICK_NS => Severity::Info,
            _ => Severity::Warning,
        };
        let because = self
            .rule
            .as_ref()
            .map_or(String::new(), |rule| format!(", because {} needs a name", quoted(rule)));
        let message = format!(
            "{} of {} looked the client's name up inside the accept thread{because}; while one lookup runs, the server accepts nobody else{}.",
            self.proof.count,
            counted(case.summary.connections, "connection", "connections"),
            if self.serves { ", and that thread serves nobody else" } else { "" }
        );
        let facts = vec![
            format!(
                "DNS in a check: p50 {}, p99 {}, max {}",
                Nanos(dns.p50_ns),
                Nanos(dns.p99_ns),
                Nanos(dns.max_ns)
            ),
            format!("{waiting} of all waiting, with those queued behind"),
            format!("clients: {}", self.clients.list()),
        ];
        let rule = self.rule.as_ref().map_or_else(
            || "the rule that asks".to_owned(),
            |rule| format!("line {} of {}", rule.line, rule.file),
        );
        let hosts: Vec<String> = self.clients.iter().take(3).map(|(ip, _)| format!("`{ip} NAME`")).collect();
        let name = &case.server.name;
        let change = format!(
            "Do one of these, best first: (1) run {name} without wrappers and let the firewall decide (a build without libwrap costs nothing, an empty hosts.allow and hosts.deny cost two opens a connection); (2) rewrite {rule} to addresses and networks only, which needs no restart; (3) put the clients into /etc/hosts ({}{}).",
            hosts.join(", "),
            if self.clients.len() > 3 { ", …" } else { "" }
        );
        let mut evidence = self.proof.evidence(facts);
        evidence.rule.clone_from(&self.rule);
        vec![finding(FindingId::DnsInAcceptPath, severity, message, evidence, Some(change))]
    }
}
