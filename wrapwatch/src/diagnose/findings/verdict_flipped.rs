//! A lookup failed, and what the rules decided hung on the name: an allow rule that could not match (fails closed), or a deny rule
//! that could not (fails open).

use crate::model::{Evidence, Finding, FindingId, LookupOutcome, Outcome, RuleRef, Severity};

use super::support::{Clients, Proof, counted, finding, in_check, quoted};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
struct Way {
    proof: Proof,
    clients: Clients,
    rule: Option<RuleRef>,
}

#[derive(Debug, Default)]
pub(super) struct VerdictFlipped {
    closed: Way,
    open: Way,
}

impl Detector for VerdictFlipped {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let failed = in_check(connection).any(|lookup| lookup.outcome == LookupOutcome::Failed);
        let Some(rule) = connection.rule.as_ref().filter(|_| failed) else { return };
        let allow_asked = rule.file.ends_with("allow");
        let way = match (allow_asked, connection.outcome) {
            (true, Outcome::Refused) => &mut self.closed,
            (false, Outcome::Greeted | Outcome::ServerError) => &mut self.open,
            _ => return,
        };
        way.proof.add(connection, connection.parts.dns_ns);
        if let Some(ip) = seen.client {
            way.clients.add(ip, String::new);
        }
        if way.rule.is_none() {
            way.rule = Some(rule.clone());
        }
    }

    fn tell(&self, _: &Case<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (way, what, fails) in [
            (
                &self.closed,
                "refused after their lookup failed, so that the allow rule with names could not match",
                "refuses its clients",
            ),
            (
                &self.open,
                "let in after their lookup failed, so that the deny rule with names could not match",
                "lets everybody in",
            ),
        ] {
            let Some(rule) = &way.rule else { continue };
            let message = format!(
                "{} {what}: {}.",
                counted(way.proof.count, "connection", "connections"),
                quoted(rule)
            );
            let facts = vec![
                format!("clients: {}", way.clients.list()),
                format!("whenever DNS fails, this rule {fails}"),
            ];
            let change = format!(
                "Write the clients of {} as addresses or networks ({}): a verdict must not depend on a nameserver.",
                super::support::at(rule),
                way.clients.list()
            );
            let evidence = Evidence { rule: Some(rule.clone()), ..way.proof.evidence(facts) };
            findings.push(finding(
                FindingId::VerdictFlipped,
                Severity::Critical,
                message,
                evidence,
                Some(change),
            ));
        }
        findings
    }
}
