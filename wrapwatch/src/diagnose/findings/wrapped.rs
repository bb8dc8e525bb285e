//! The server does not check at all, or checks against nothing.

use std::collections::BTreeMap;

use crate::model::{Client, DegradationKind, Evidence, Finding, FindingId, Severity};
use crate::trace::SnapshotRole;
use crate::wrappers::EntryKind;

use super::support::{Proof, counted, finding};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct Wrapped {
    /// By process: each has tables of its own.
    checked: BTreeMap<u32, Proof>,
    unchecked: u64,
}

impl Detector for Wrapped {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let target = seen.facts.target_by_pid(connection.pid);
        let known = target.into_iter().flat_map(|target| [&target.allow_table, &target.deny_table]).flatten();
        let known: Vec<&str> = known.map(String::as_str).collect();
        let usual = |path: &str| path.ends_with("/hosts.allow") || path.ends_with("/hosts.deny");
        let table = |path: &str| known.contains(&path) || known.is_empty() && usual(path);
        if connection.wrapper_ns > 0 || connection.files.iter().any(|file| table(&file.path)) {
            self.checked.entry(connection.pid).or_default().add(connection, connection.wrapper_ns);
        } else if connection.complete && connection.peer != Some(Client::Unix) {
            self.unchecked += 1;
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.checked.is_empty() {
            return self.not_wrapped(case).into_iter().collect();
        }
        self.checked.iter().filter_map(|(&pid, checked)| no_rules(pid, checked, case)).collect()
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
}

/// Of the connections of one process, which went through a check.
fn no_rules(pid: u32, checked: &Proof, case: &Case<'_>) -> Option<Finding> {
    let allow = case.facts.last_file(pid, SnapshotRole::HostsAllow)?;
    let deny = case.facts.last_file(pid, SnapshotRole::HostsDeny)?;
    let empty = [allow, deny].into_iter().all(|file| {
        let entries = file.table.as_ref().map(|table| table.entries());
        entries.is_some_and(|entries| entries.iter().all(|entry| entry.kind == EntryKind::NoSeparator))
    });
    if !empty {
        return None;
    }
    let message = format!(
        "{} went through a check against no rule at all: {} and {} are empty or missing.",
        counted(checked.count, "connection"),
        allow.meta.path,
        deny.meta.path
    );
    let facts = vec![super::support::spread(checked, "check")];
    let change = "Drop libwrap (build or package without it): it decides nothing here, and the first rule somebody adds with a name in it puts DNS into \
                      the accept thread.";
    let evidence = checked.evidence(facts);
    Some(finding(FindingId::WrappedButNoRules, Severity::Info, message, evidence, Some(change.to_owned())))
}
