//! Not everything was seen: how far the rest can be trusted.

use crate::correlate::CALLS_SKIPPED;
use crate::model::{Evidence, Finding, FindingId, Severity, Share};

use super::support::{Proof, counted, finding};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct EventsLost {
    incomplete: Proof,
    /// Connections during which the kernel left out calls.
    doubted: u64,
}

impl Detector for EventsLost {
    fn see(&mut self, seen: &Seen<'_>) {
        if !seen.connection.complete {
            self.incomplete.add(seen.connection, 1);
        }
        if seen.connection.missing.iter().any(|why| why == CALLS_SKIPPED) {
            self.doubted += 1;
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let (lost, damage) = (case.summary.lost, case.facts.damage_count);
        // A recorder that was killed loses its last second, and nobody has to be told twice.
        let damaged = case.facts.damages.iter().any(|damage| damage.records != Some(0));
        if lost == 0 && !damaged && self.doubted == 0 {
            return Vec::new();
        }
        let left_out = self.left_out();
        let message = match (lost, damage) {
            (0, _) if !damaged => left_out.clone(),
            (0, _) => "Part of the trace is missing or damaged: trust it less.".to_owned(),
            (lost, _) => format!("{} lost while recording: trust the rest less.", counted(lost, "event")),
        };
        let mut facts = Vec::new();
        if lost > 0 {
            facts.push(format!(
                "{} of them accepts: these connections are missing",
                case.summary.lost_accepts
            ));
        }
        if self.doubted > 0 && (lost > 0 || damaged) {
            facts.push(left_out);
        }
        facts.extend(case.facts.damages.iter().take(3).map(ToString::to_string));
        let share = Share::of(case.summary.incomplete, case.summary.connections);
        facts.push(format!("{share} of the connections were not seen whole"));
        let change = (lost > 0).then(|| {
            "Record on a machine with CPU to spare for the reader, or a shorter time; what is counted (accepts) stays right.".to_owned()
        });
        let severity = if share.0 >= 0.05 { Severity::Warning } else { Severity::Info };
        let evidence = Evidence { count: case.summary.incomplete, ..self.incomplete.evidence(facts) };
        vec![finding(FindingId::EventsLost, severity, message, evidence, change)]
    }
}

impl EventsLost {
    /// What to say of calls that the kernel left out: anybody's calls, so what counts is which connections they may belong to.
    fn left_out(&self) -> String {
        format!(
            "The kernel left out calls during {}: what is told of them may be wrong.",
            counted(self.doubted, "connection")
        )
    }
}
