//! mysqld looks the client up itself, in the connection thread: `skip_name_resolve` is off, whatever is thought.

use crate::model::{Finding, FindingId, Severity, Share};

use super::support::{Proof, counted, finding};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct ServerOwnLookups {
    proof: Proof,
}

impl Detector for ServerOwnLookups {
    fn see(&mut self, seen: &Seen<'_>) {
        if seen.connection.resolve_ns > 0 {
            self.proof.add(seen.connection, seen.connection.resolve_ns);
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let waiting = &case.summary.waiting;
        let share = Share::of(waiting.resolve_ns, waiting.total_ns);
        let message = format!(
            "mysqld itself looked {} up before the greeting: skip_name_resolve is off. Only that client waits, not those behind it.",
            counted(self.proof.count, "client", "clients")
        );
        let facts =
            vec![super::support::spread(&self.proof, "client", "clients"), format!("{share} of all waiting")];
        let change = "Set `skip_name_resolve = ON` under [mysqld] in my.cnf and restart; accounts must then be named by address, not by host name \
                      (SELECT user, host FROM mysql.user).";
        let severity = match share.0 {
            share if share >= 0.5 => Severity::Critical,
            share if share >= 0.1 => Severity::Warning,
            _ => Severity::Info,
        };
        vec![finding(
            FindingId::ServerOwnLookups,
            severity,
            message,
            self.proof.evidence(facts),
            Some(change.to_owned()),
        )]
    }
}
