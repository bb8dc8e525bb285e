//! A rule with `twist`: at the first check after a start it replaces the server by the command; later it refuses.

use crate::model::{Evidence, Finding, FindingId, How, Missing, RuleRef, Severity};
use crate::trace::SnapshotRole;
use crate::wrappers::{Keyword, steps};

use super::support::{Proof, counted, finding, quoted};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct Twist {
    replaced: Proof,
}

impl Detector for Twist {
    fn see(&mut self, seen: &Seen<'_>) {
        if seen.connection.missing.contains(&Missing::ServerReplaced) {
            self.replaced.add(seen.connection, 0);
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let rule = rule_with_twist(case);
        if rule.is_none() && self.replaced.count == 0 {
            return Vec::new();
        }
        let what = rule.as_ref().map_or_else(|| "A rule".to_owned(), quoted);
        let (severity, message) = if self.replaced.count > 0 {
            (
                Severity::Critical,
                format!(
                    "Another program replaced the server process during the trace, as `twist` does ({what}); it took {} with it.",
                    counted(self.replaced.count, "connection", "connections")
                ),
            )
        } else {
            (
                Severity::Warning,
                format!(
                    "{what} has `twist`: the first client to match it after a start replaces the server process by that command; later ones are refused."
                ),
            )
        };
        let change = "Remove `twist` from the rule: it is made for servers that inetd starts once for each client. Use `deny`, or `spawn … &`.";
        let evidence = Evidence { rule, ..self.replaced.evidence(Vec::new()) };
        vec![finding(FindingId::Twist, severity, message, evidence, Some(change.to_owned()))]
    }
}

/// The first rule of the last tables that has the option.
fn rule_with_twist(case: &Case<'_>) -> Option<RuleRef> {
    let roles = [SnapshotRole::HostsAllow, SnapshotRole::HostsDeny];
    let tables = case.facts.files.iter().rev().filter(|file| roles.contains(&file.meta.role));
    tables.filter_map(|file| Some((file, file.table.as_ref()?))).find_map(|(file, table)| {
        let twists =
            |options: &[u8]| steps(options).filter_map(Result::ok).any(|step| step.keyword == Keyword::Twist);
        let entry = table.entries().find(|entry| table.options(entry).is_some_and(twists))?;
        Some(RuleRef {
            file: file.meta.path.as_str().into(),
            line: entry.line,
            text: Some(table.text(&entry).into()),
            how: How::Inferred,
        })
    })
}
