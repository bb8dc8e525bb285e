//! Clients that closed or reset before they were greeted: their patience was shorter than the wait.

use crate::model::{Finding, FindingId, Nanos, Outcome, Severity, Share};

use super::support::{Proof, counted, finding};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct ClientsGaveUp {
    proof: Proof,
    soonest: Option<u64>,
    checked: u64,
    greeted: u64,
}

impl Detector for ClientsGaveUp {
    fn see(&mut self, seen: &Seen<'_>) {
        self.greeted += u64::from(seen.connection.outcome == Outcome::Greeted);
        let Some(left) = &seen.connection.client_left else { return };
        self.proof.add(seen.connection, left.after_ns.unwrap_or(0));
        if let Some(after) = left.after_ns {
            self.soonest = Some(self.soonest.map_or(after, |soonest| soonest.min(after)));
        }
        self.checked += u64::from(seen.connection.wrapper_ns > 0);
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        // A server that never speaks first keeps nobody waiting for that: only what was seen to greet is known to do so.
        let greets = case.server.is_mysqld || self.greeted > 0;
        if self.proof.count == 0 || !greets {
            return Vec::new();
        }
        let share = Share::of(self.proof.count, case.summary.connections);
        let message = format!(
            "{} gave up before the {}{}",
            counted(self.proof.count, "client", "clients"),
            case.server.greeting(),
            self.checked_too()
        );
        let mut facts = vec![format!("{share} of all connections")];
        match self.soonest.map(|soonest| (Nanos(soonest), Nanos(self.proof.max))) {
            Some((only, _)) if self.proof.count == 1 => facts.push(format!("after {only}")),
            Some((first, last)) => {
                facts.push(format!("the most impatient after {first}, the most patient after {last}"));
            }
            None => {}
        }
        if case.server.is_mysqld {
            facts.push(
                "in the error log: \"Got an error writing communication packets\" or \"Got an error reading communication packets\"".to_owned(),
            );
        }
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

impl ClientsGaveUp {
    /// The rest of the sentence: whether the server worked for them in vain.
    fn checked_too(&self) -> String {
        let whom = match (self.proof.count, self.checked) {
            (_, 0) => return ".".to_owned(),
            (1, _) => "it".to_owned(),
            (all, checked) if all == checked => "them".to_owned(),
            (_, checked) => format!("{checked} of them"),
        };
        format!("; the server still checked {whom}, and the clients behind waited for that too.")
    }
}
