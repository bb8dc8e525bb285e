//! The order of rules: who pays for lookups.

use super::asked::{Asked, NamedFiles};
use super::{Finding, Problem, ProblemKind as Kind, Rule, Scene, Severity, groups};
use crate::wrappers::classify::{Kind as ClientKind, hopeless, option_as_client};
use crate::wrappers::daemons;

/// The first rule that wants a name pays for all; whoever could be decided by address should be decided before it.
pub(super) fn find<'a>(scene: &Scene<'a>, files: &NamedFiles<'a>, out: &mut Vec<Problem>) {
    // Where /etc/hosts alone is asked, or nobody, there is nothing to wait for.
    let Some(whom) = scene.resolver.waits_for() else { return };
    let rules: Vec<Rule<'_>> = scene.rules_for_daemon().collect();
    let Some(index) = rules.iter().position(|rule| files.looks_up(*rule)) else { return };
    let first = rules[index];
    let asked = files.asked_words(first);
    let blocking = daemons::blocking(scene.daemon);
    if let Some(asked) = asked.iter().find(|asked| asked.word.kind.may_look_up()) {
        // A file that is not known stands for itself among the words.
        let (needs, waits) = if asked.word.kind == ClientKind::File {
            ("is not known here and may need", "may wait")
        } else {
            ("needs", "waits")
        };
        let message = format!(
            "{} {needs} the client's name: every {} client that gets this far {waits} for two lookups by {whom}. They hold {}{}.",
            asked.text(),
            scene.daemon,
            blocking.held(),
            blocking.others()
        );
        let finding = Finding::new(Kind::DnsLookup, Severity::Warning, message);
        let change = if asked.word.word.starts_with(b"#") {
            "Put the comment on a line of its own: its words are taken for names."
        } else if option_as_client(first.clients()).is_some() {
            "Name the clients: the option's words are taken for names."
        } else {
            "Match by address, or put the clients into /etc/hosts."
        };
        out.push(scene.at(first, finding.change(change)));
    }
    // Within the rule: the list is read from left to right.
    let list: Vec<_> = asked.iter().filter(|asked| asked.word.depth == 0 && asked.file.is_none()).collect();
    let name = list.iter().position(|asked| asked.word.kind.may_look_up());
    let late = |asked: &&&Asked<'_>| !asked.word.kind.may_look_up() && asked.word.user.is_none();
    if let Some(address) = name.and_then(|name| list.get(name..)?.iter().find(late)) {
        let message = format!("{} stands behind a name: its clients wait for {whom}, too.", address.text());
        let finding = Finding::new(Kind::NamesBeforeAddresses, Severity::Warning, message);
        out.push(scene.at(first, finding.change("Put addresses and nets first in the list.")));
    }
    // Behind it in the same table: rules of the same verdict may be moved.
    let movable: Vec<u32> = rules
        .get(index + 1..)
        .unwrap_or_default()
        .iter()
        .filter(|rule| rule.kind == first.kind && rule.allows() == first.allows() && !files.looks_up(**rule))
        .filter(|rule| rule.keywords().is_empty() && !rule.is_catch_all())
        .filter(|rule| {
            files
                .asked_words(**rule)
                .iter()
                .any(|asked| asked.word.depth == 0 && hopeless(asked.word.host).is_none())
        })
        .map(|rule| rule.entry.line)
        .collect();
    if let Some(line) = movable.first() {
        let above = first.entry.physical.0;
        let (message, change) = if movable.len() == 1 {
            let message = format!(
                "Line {line} decides by address but is read after this rule by name, so its clients wait for {whom}."
            );
            (message, format!("Move line {line} above line {above}."))
        } else {
            let lines = groups::lines(&movable);
            let message = format!(
                "Behind this rule by name others decide by address ({lines}), so their clients wait for {whom} as well."
            );
            (message, format!("Move them above line {above}."))
        };
        let finding = Finding::new(Kind::NamesBeforeAddresses, Severity::Warning, message);
        out.push(scene.at(first, finding.change(change)));
    }
}
