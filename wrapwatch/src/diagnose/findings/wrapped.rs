//! The server does not check at all, or checks against nothing.

use std::collections::BTreeMap;

use crate::model::{Client, Degradation, DegradationKind, Evidence, Finding, FindingId, Outcome, Severity};
use crate::trace::SnapshotRole;
use crate::wrappers::{EntryKind, Table};

use super::support::{Proof, counted, finding, is_table};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct Wrapped {
    /// By process: each has tables of its own.
    checked: BTreeMap<u32, Proof>,
    unchecked: u64,
    /// Another process, whose maps are not known, serves clients.
    handed_over: bool,
}

impl Detector for Wrapped {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        if connection.wrapper_ns > 0 || connection.files.iter().any(|file| is_table(seen, &file.path)) {
            self.checked.entry(connection.pid).or_default().add(connection, connection.wrapper_ns);
        } else if connection.outcome == Outcome::HandedOver {
            self.handed_over = true;
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
    /// Only where the process' maps say so: that no table was read proves nothing. A child may check, or the reads were not traced.
    fn not_wrapped(&self, case: &Case<'_>) -> Option<Finding> {
        let not_mapped = |pid: u32| {
            let lacks =
                |lost: &Degradation| lost.kind == DegradationKind::NotWrapped && lost.pid == Some(pid);
            case.facts.degradations.iter().any(lacks)
        };
        let targets = &case.facts.targets;
        let all = !targets.is_empty() && targets.iter().all(|target| not_mapped(target.pid));
        if !all || self.handed_over {
            return None;
        }
        let message =
            "This server does not check clients with TCP wrappers: if they wait, look elsewhere.".to_owned();
        let facts = vec![
            "neither it nor a child of its maps libwrap".to_owned(),
            format!("{} without a check", counted(self.unchecked, "connection", "connections")),
        ];
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
        let entries = file.table.as_ref().map(Table::entries);
        entries.is_some_and(|mut entries| entries.all(|entry| entry.kind == EntryKind::NoSeparator))
    });
    if !empty {
        return None;
    }
    let message = format!(
        "{} went through a check against no rule at all: {} and {} are empty or missing.",
        counted(checked.count, "connection", "connections"),
        allow.meta.path,
        deny.meta.path
    );
    let facts = vec![super::support::spread(checked, "check", "checks")];
    let change = "Use a build or package without libwrap: it decides nothing here, and the first rule with a name in it would put DNS into the accept thread.";
    let evidence = checked.evidence(facts);
    Some(finding(FindingId::WrappedButNoRules, Severity::Info, message, evidence, Some(change.to_owned())))
}
