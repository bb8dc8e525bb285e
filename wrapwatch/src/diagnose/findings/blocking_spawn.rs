//! A rule's `spawn` command that does not end in `&`: the accept thread waits until it ends.

use crate::model::{Finding, FindingId, RuleRef, Severity};

use super::support::{Proof, counted, finding, quoted};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct BlockingSpawn {
    proof: Proof,
    rule: Option<RuleRef>,
}

impl Detector for BlockingSpawn {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        if connection.parts.spawn_ns == 0 {
            return;
        }
        self.proof.add(connection, connection.parts.spawn_ns);
        if self.rule.is_none() {
            self.rule.clone_from(&connection.verdict_rule);
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let rule = self.rule.as_ref().map_or(String::new(), |rule| format!(" ({})", quoted(rule)));
        let message = format!(
            "A rule runs a command and waits for it{rule}: {} held the accept thread until their command ended.",
            counted(self.proof.count, "check", "checks")
        );
        let facts = vec![super::support::spread(&self.proof, "command", "commands")];
        let change = "End the command of `spawn` with `&` (hosts_options(5)), so that nobody waits for it; a fork for every connect remains.";
        let most =
            crate::model::Share::of(case.summary.waiting.spawn_ns, case.summary.waiting.total_ns).0 >= 0.5;
        let severity = if most { Severity::Critical } else { Severity::Warning };
        let mut evidence = self.proof.evidence(facts);
        evidence.rule.clone_from(&self.rule);
        vec![finding(FindingId::BlockingSpawn, severity, message, evidence, Some(change.to_owned()))]
    }
}
