//! Clients that closed or reset before they were greeted: their patience was shorter than the wait.

use crate::model::{Finding, FindingId, Nanos, Severity, Share};

use super::support::{Proof, counted, finding};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct ClientsGaveUp {
    proof: Proof,
    soonest: Option<u64>,
    checked: u64,
}

impl Detector for ClientsGaveUp {
    fn see(&mut self, seen: &Seen<'_>) {
        let Some(left) = &seen.connection.client_left else { return };
        self.proof.add(seen.connection, left.after_ns.unwrap_or(0));
        if let Some(after) = left.after_ns {
            self.soonest = Some(self.soonest.map_or(after, |soonest| soonest.min(after)));
        }
        self.checked += u64::from(seen.connection.wrapper_ns > 0);
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let share = Share::of(self.proof.count, case.summary.connections);
        let message = format!(
            "{} gave up before the greeting; the server checked {} of them all the same, and those behind waited for that too.",
            counted(self.proof.count, "client"),
            self.checked
        );
        let mut facts = vec![format!("{share} of all connections")];
        if let Some(soonest) = self.soonest {
            facts.push(format!(
                "the first after {}, the last after {}",
                Nanos(soonest),
                Nanos(self.proof.max)
            ));
        }
        facts.push(
            "in the error log: \"Got an error writing communication packets\" or \"Got an error reading communication packets\"".to_owned(),
        );
        let change = "Cure the wait. Until then a longer connect timeout in the clients keeps them from trying again and again, which makes the queue \
                      longer.";
        let severity = if share.0 >= 0.1 { Severity::Critical } else { Severity::Warning };
        vec![finding(
            FindingId::ClientsGaveUp,
            severity,
            message,
            self.proof.evidence(facts),
            Some(change.into()),
        )]
    }
}
