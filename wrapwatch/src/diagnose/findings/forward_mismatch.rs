//! A client's name does not lead back to its address: libwrap then counts it as PARANOID, and name rules do not match.

use std::net::IpAddr;

use crate::model::{Evidence, Finding, FindingId, LookupKind, LookupOutcome, Missing, Severity};

use super::support::{Clients, Proof, counted, finding, in_check};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct ForwardMismatch {
    proof: Proof,
    /// Their names, and where these lead.
    clients: Clients<(String, Vec<IpAddr>)>,
}

impl Detector for ForwardMismatch {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let Some(ip) = seen.client else { return };
        if connection.missing.contains(&Missing::ChecksUnseen) {
            // It may have been asked for another client's sake.
            return;
        }
        let Some(forward) = in_check(connection).find(|lookup| lookup.kind == LookupKind::Forward) else {
            return;
        };
        let (name, addresses) = connection.names();
        let Some(name) = name else { return };
        let mismatch = match forward.outcome {
            LookupOutcome::Found => !addresses.is_empty() && !addresses.contains(&ip),
            LookupOutcome::NotFound => true,
            _ => false,
        };
        if mismatch {
            self.proof.add(connection, forward.dur_ns);
            self.clients.add(ip, || (name, addresses));
        }
    }

    fn tell(&self, _: &Case<'_>) -> Vec<Finding> {
        let Some((ip, _)) = self.clients.iter().next() else { return Vec::new() };
        let message = format!(
            "{} whose name does not lead back to the address: libwrap takes {} for PARANOID, so no name rule matches.",
            counted(self.clients.len() as u64, "client", "clients"),
            if self.clients.len() == 1 { "it" } else { "them" }
        );
        let listed = || self.clients.iter().take(5);
        let facts =
            listed().map(|(ip, (name, to))| format!("{ip} is called {}", leads_to(name, to))).collect();
        let names = listed().map(|(_, (name, _))| name.clone()).collect();
        let change = format!(
            "Make both records agree: the name that the PTR record of {ip} gives needs an address record with {ip}; or name the client by address in the rule."
        );
        vec![finding(
            FindingId::ForwardMismatch,
            Severity::Warning,
            message,
            Evidence { names, ..self.proof.evidence(facts) },
            Some(change),
        )]
    }
}

fn leads_to(name: &str, addresses: &[IpAddr]) -> String {
    let listed: Vec<String> = addresses.iter().take(3).map(ToString::to_string).collect();
    if listed.is_empty() {
        format!("{name}, which has no address")
    } else {
        format!("{name}, which leads to {}", listed.join(", "))
    }
}
