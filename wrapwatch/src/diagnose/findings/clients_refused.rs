//! Clients that the wrapper check refused: they never get in, however fast that is.

use std::collections::BTreeMap;

use crate::model::{Finding, FindingId, Outcome, RuleRef, Severity, Share};

use super::support::{Clients, Proof, counted, finding, quoted};
use super::{Case, Detector, Seen, Server};

/// Rules told apart.
const RULES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct ClientsRefused {
    proof: Proof,
    clients: Clients,
    /// The name that rules know the server by, of the first one.
    daemon: Option<String>,
    /// The rule that decided, and how often.
    rules: BTreeMap<String, (RuleRef, u64)>,
}

impl Detector for ClientsRefused {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        if connection.outcome != Outcome::Refused {
            return;
        }
        self.daemon.get_or_insert_with(|| Server::of(seen.facts).rule_name(Some(connection)));
        self.proof.add(connection, connection.total_ns.unwrap_or(0));
        if let Some(ip) = seen.client {
            self.clients.add(ip, String::new);
        }
        if let Some(rule) = &connection.verdict_rule {
            let name = quoted(rule);
            if self.rules.len() < RULES_MAX || self.rules.contains_key(&name) {
                self.rules.entry(name).or_insert_with(|| (rule.clone(), 0)).1 += 1;
            }
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let share = Share::of(self.proof.count, case.summary.connections);
        let main = self.rules.values().max_by_key(|(_, count)| *count);
        let by = main.map_or(String::new(), |(rule, _)| format!(", most of them by {}", quoted(rule)));
        let message = format!(
            "The wrapper check refused {} of {}{by}.",
            self.proof.count,
            counted(case.summary.connections, "connection", "connections")
        );
        let mut facts: Vec<String> =
            self.rules.iter().take(4).map(|(rule, (_, count))| format!("{count} by {rule}")).collect();
        facts.push(format!("clients: {}", self.clients.list()));
        let change = format!(
            "If these clients should get in, allow their addresses in hosts.allow (`{}: {}`); it needs no restart, and `wrapwatch lint --client ADDRESS` shows which rule decides. If not, change nothing, or let a firewall refuse them, which costs less.",
            self.daemon.clone().unwrap_or_else(|| case.server.rule_name(None)),
            self.clients.iter().next().map_or_else(|| "ADDRESS".to_owned(), |(ip, _)| ip.to_string())
        );
        let severity = if share.0 >= 0.5 { Severity::Warning } else { Severity::Info };
        let mut evidence = self.proof.evidence(facts);
        evidence.rule = main.map(|(rule, _)| rule.clone());
        vec![finding(FindingId::ClientsRefused, severity, message, evidence, Some(change))]
    }
}
