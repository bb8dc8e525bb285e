//! A server that has as many clients as it takes turns others away without a check: those that it has may be in theirs, or kept after a refusal.

use std::collections::VecDeque;

use crate::model::{Finding, FindingId, KtimeNs, Outcome, Severity, Share};

use super::support::{AtOnce, Clients, Proof, counted, finding};
use super::{Case, Detector, Seen};

/// Moments at which clients were turned away: each is compared with all checks.
const MOMENTS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct ClientsDropped {
    proof: Proof,
    clients: Clients,
    /// From accept to the check's end, or to that of the socket that libwrap kept after a refusal.
    checks: AtOnce,
    dropped_at: VecDeque<KtimeNs>,
}

impl ClientsDropped {
    /// How many others were in their check, or kept after it, when most were and a client was turned away.
    fn others(&self) -> usize {
        self.dropped_at.iter().map(|at| self.checks.at(*at)).max().unwrap_or(0)
    }
}

impl Detector for ClientsDropped {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let accepted = connection.accepted_ktime;
        if connection.outcome != Outcome::Dropped {
            let kept = connection.held_ns.unwrap_or(0);
            let until = connection.check_at_ns.saturating_add(connection.wrapper_ns).saturating_add(kept);
            if until > 0 {
                self.checks.add(accepted, accepted.plus(until));
            }
            return;
        }
        if self.dropped_at.len() >= MOMENTS_MAX {
            self.dropped_at.pop_front();
        }
        self.dropped_at.push_back(accepted);
        self.proof.add(connection, connection.total_ns.unwrap_or(0));
        if let Some(ip) = seen.client {
            self.clients.add(ip, String::new);
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let (all, name) = (case.summary.connections, &case.server.name);
        let others = self.others();
        let then = match others {
            0 => "No other client was seen in its check at that time".to_owned(),
            1 => "At that time 1 other was in its check, or kept after a refusal".to_owned(),
            n => format!("At that time up to {n} others were in their check, or kept after a refusal"),
        };
        let message = format!(
            "{name} itself turned away {} of {}, without a check: it had reached its limit. {then}.",
            self.proof.count,
            counted(all, "connection", "connections")
        );
        let limit = case.server.workers();
        let change = if others > 0 {
            format!(
                "Make the checks short first (see the findings about nameservers and rules): each takes one of {name}'s places while it lasts. Then raise {limit} if that is not \
                 enough."
            )
        } else {
            format!("Raise {limit}, or see what its clients wait for after the first byte.")
        };
        let severity =
            if Share::of(self.proof.count, all).0 >= 0.5 { Severity::Critical } else { Severity::Warning };
        let facts = vec![format!("clients: {}", self.clients.list())];
        vec![finding(FindingId::ClientsDropped, severity, message, self.proof.evidence(facts), Some(change))]
    }
}
