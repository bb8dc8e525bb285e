//! Clients without a PTR record: each connect asks for one, and gets nothing for it.

use crate::model::{Finding, FindingId, LookupKind, LookupOutcome, Severity};

use super::support::{Clients, Proof, counted, finding, in_check, is_own, ptr_name};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct PtrMissing {
    own: Proof,
    own_clients: Clients,
    others: Proof,
    other_clients: Clients,
}

impl Detector for PtrMissing {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let missing = in_check(connection)
            .find(|lookup| lookup.kind == LookupKind::Reverse && lookup.outcome == LookupOutcome::NotFound);
        let (Some(lookup), Some(ip)) = (missing, seen.client) else { return };
        let (proof, clients) = if is_own(ip) {
            (&mut self.own, &mut self.own_clients)
        } else {
            (&mut self.others, &mut self.other_clients)
        };
        proof.add(connection, lookup.dur_ns);
        clients.add(ip, String::new);
    }

    fn tell(&self, _: &Case<'_>) -> Vec<Finding> {
        let own = (&self.own, &self.own_clients, Severity::Warning, "of your own networks ");
        let others = (&self.others, &self.other_clients, Severity::Info, "");
        let mut findings = Vec::new();
        for (proof, clients, severity, whose) in [own, others] {
            let Some((first, _)) = clients.iter().next() else { continue };
            let message = format!(
                "{} {whose}without a PTR record: each connect looks the name up and finds none, and name rules cannot match.",
                counted(clients.len() as u64, "client", "clients")
            );
            let facts = vec![
                format!("clients: {}", clients.list()),
                super::support::spread(proof, "lookup", "lookups"),
            ];
            let change = format!(
                "Add the records (`{}. IN PTR NAME.`, and an address record for NAME), or the clients to /etc/hosts (`{first} NAME`), or rewrite the rule to addresses.",
                ptr_name(*first)
            );
            findings.push(finding(
                FindingId::PtrMissing,
                severity,
                message,
                proof.evidence(facts),
                Some(change),
            ));
        }
        findings
    }
}
