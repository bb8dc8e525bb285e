//! A rule asks the client's host for the user (RFC 1413): a TCP connect to port 113 from inside the accept thread.

use crate::model::{Finding, FindingId, LookupKind, Nanos, RuleRef, Severity};

use super::support::{Proof, counted, finding, quoted};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct IdentRule {
    proof: Proof,
    rule: Option<RuleRef>,
}

impl Detector for IdentRule {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let asked = connection.lookups.iter().any(|lookup| lookup.kind == LookupKind::Ident);
        if !asked && connection.parts.ident_ns == 0 {
            return;
        }
        self.proof.add(connection, connection.parts.ident_ns);
        if self.rule.is_none() {
            // With a lookup before it, the rule that forced that one may be another.
            let first = connection.lookups.first().is_some_and(|lookup| lookup.kind == LookupKind::Ident);
            self.rule = connection.rule.clone().filter(|_| first).or_else(|| connection.verdict_rule.clone());
        }
    }

    fn tell(&self, _: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let rule = self.rule.as_ref().map_or(String::new(), |rule| format!(" ({})", quoted(rule)));
        let message = format!(
            "A rule asks clients for their user by ident{rule}: {} waited for port 113 of the client inside the accept thread.",
            counted(self.proof.count, "check", "checks")
        );
        let facts = vec![
            super::support::spread(&self.proof, "check", "checks"),
            "a client whose firewall drops port 113 costs 10 s, and more where the server blocks SIGALRM"
                .to_owned(),
        ];
        let change = "Remove `user@`, `%u` and the option `rfc931` from hosts.allow and hosts.deny: a client's host can answer what it likes.";
        let severity = if self.proof.max >= 1_000_000_000 { Severity::Critical } else { Severity::Warning };
        let mut evidence = self.proof.evidence(facts);
        evidence.facts.push(format!("{} in all", Nanos(self.proof.sum)));
        evidence.rule.clone_from(&self.rule);
        vec![finding(FindingId::IdentRule, severity, message, evidence, Some(change.to_owned()))]
    }
}
