//! The server does not check at all, or checks against nothing.

use crate::model::{DegradationKind, Evidence, Finding, FindingId, Severity};
use crate::trace::SnapshotRole;
use crate::wrappers::EntryKind;

use super::support::{Proof, counted, finding};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct Wrapped {
    checked: Proof,
    unchecked: u64,
}

impl Detector for Wrapped {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let table = |path: &str| path.ends_with("/hosts.allow") || path.ends_with("/hosts.deny");
        if connection.wrapper_ns > 0 || connection.files.iter().any(|file| table(&file.path)) {
            self.checked.add(connection, connection.wrapper_ns);
        } else if connection.complete && connection.peer.as_deref() != Some("unix") {
            self.unchecked += 1;
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.checked.count == 0 {
            return self.not_wrapped(case).into_iter().collect();
        }
        self.no_rules(case).into_iter().collect()
    }
}

impl Wrapped {
    fn not_wrapped(&self, case: &Case<'_>) -> Option<Finding> {
        let said = case.facts.degradations.iter().any(|lost| lost.kind == DegradationKind::NotWrapped);
        if self.unchecked == 0 && !said {
            return None;
        }
        let message =
            "This server does not check clients with TCP wrappers: if they wait, look elsewhere.".to_owned();
        let mut facts = vec![format!("{} without a check", counted(self.unchecked, "connection"))];
        if said {
            facts.push("libwrap is not mapped".to_owned());
        }
        let change = "Nothing in hosts.allow and hosts.deny matters to it. See the summary for what the clients did wait for.";
        let evidence = Evidence { facts, count: self.unchecked, ..Evidence::default() };
        Some(finding(FindingId::NotWrapped, Severity::Info, message, evidence, Some(change.to_owned())))
    }

    fn no_rules(&self, case: &Case<'_>) -> Option<Finding> {
        let last = |role| case.facts.files.iter().rev().find(|file| file.meta.role == role);
        let allow = last(SnapshotRole::HostsAllow)?;
        let deny = last(SnapshotRole::HostsDeny)?;
        let empty = [allow, deny].into_iter().all(|file| {
            let entries = file.table.as_ref().map(|table| table.entries());
            entries.is_some_and(|entries| entries.iter().all(|entry| entry.kind == EntryKind::NoSeparator))
        });
        if !empty {
            return None;
        }
        let message = format!(
            "{} went through a check against no rule at all: hosts.allow and hosts.deny are empty or missing.",
            counted(self.checked.count, "connection")
        );
        let facts = vec![super::support::spread(&self.checked, "check")];
        let change = "Drop libwrap (build or package without it): it decides nothing here, and the first rule somebody adds with a name in it puts DNS into \
                      the accept thread.";
        let evidence = self.checked.evidence(facts);
        Some(finding(
            FindingId::WrappedButNoRules,
            Severity::Info,
            message,
            evidence,
            Some(change.to_owned()),
        ))
    }
}
