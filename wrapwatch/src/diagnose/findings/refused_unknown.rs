//! Refused because the client was gone: `getpeername` failed, libwrap had "unknown" for an address, and no address rule matched it.

use crate::model::{Finding, FindingId, LeaveKind, Outcome, Severity};

use super::support::{Proof, counted, finding};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct RefusedUnknown {
    proof: Proof,
}

impl Detector for RefusedUnknown {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let gone = connection.client_left.as_ref().is_some_and(|left| {
            let queued =
                left.after_ns.zip(connection.queued_ns).is_some_and(|(after, queued)| after <= queued);
            left.how == LeaveKind::Rst && queued
        });
        if gone && connection.outcome == Outcome::Refused {
            self.proof.add(connection, connection.queued_ns.unwrap_or(0));
        }
    }

    fn tell(&self, _: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let message = format!(
            "{} refused as \"unknown\": the client had reset its connection while it was queued, so the server could no longer ask for its address.",
            counted(self.proof.count, "connection", "connections")
        );
        let facts = vec![super::support::spread(&self.proof, "wait in the queue", "waits in the queue")];
        let change = "Change nothing in the rules: these are clients that gave up, not intruders (\"refused connect from unknown\" in syslog). Cure the wait.";
        vec![finding(
            FindingId::RefusedUnknown,
            Severity::Info,
            message,
            self.proof.evidence(facts),
            Some(change.to_owned()),
        )]
    }
}
