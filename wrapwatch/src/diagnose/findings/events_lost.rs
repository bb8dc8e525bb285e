//! Not everything was seen: how far the rest can be trusted.

use crate::model::{Evidence, Finding, FindingId, Missing, Severity, Share};
use crate::trace::DamageKind;

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
        if seen.connection.missing.contains(&Missing::CallsSkipped) {
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
            (lost, _) => {
                format!("{} lost while recording: trust the rest less.", counted(lost, "event", "events"))
            }
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
        facts.push(format!("{share} of the connections are incomplete"));
        let severity = if share.0 >= 0.05 { Severity::Warning } else { Severity::Info };
        let evidence = Evidence { count: case.summary.incomplete, ..self.incomplete.evidence(facts) };
        vec![finding(FindingId::EventsLost, severity, message, evidence, change(case, lost))]
    }
}

impl EventsLost {
    /// What to say of calls that the kernel left out: anybody's calls, so what counts is which connections they may belong to.
    fn left_out(&self) -> String {
        format!(
            "The kernel skipped calls during {}: what is shown of them may be wrong.",
            counted(self.doubted, "connection", "connections")
        )
    }
}

/// What to do, by what was in the way: the reader had no CPU, the kernel side no room, the disk no space. A recorder that was killed needs no advice.
fn change(case: &Case<'_>, lost: u64) -> Option<String> {
    let counters = case.facts.counters.iter();
    let full: u64 = counters.filter(|(name, _)| name.starts_with("full_")).map(|(_, n)| *n).sum();
    let unwritten = case.facts.damages.iter().any(|damage| damage.kind == DamageKind::Dropped);
    let mut changes = Vec::new();
    if lost > full {
        changes.push(
            "Record for a shorter time, or leave wrapwatch more CPU to read the ring; what is counted (accepts) stays right.",
        );
    }
    if full > 0 {
        changes.push("Restart wrapwatch: it sized its maps when it attached, and they are now too small.");
    }
    if unwritten {
        changes.push(
            "Record to a disk with more space, or limit the size: `--max-size` with `--keep`, or `--last` with `--max-total`.",
        );
    }
    (!changes.is_empty()).then(|| changes.join(" "))
}
