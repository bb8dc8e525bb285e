//! The order of rules: who pays for lookups.

use super::{Finding, Problem, ProblemKind as Kind, Rule, Scene, Severity, groups};
use crate::wrappers::classify::{ClientWord, client_words, hopeless};
use crate::wrappers::daemons;
use crate::wrappers::options::lossy;

pub(super) fn find(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    first_lookup(scene, out);
}

/// Words that are looked at for every client: those before an EXCEPT.
fn main_words(rule: Rule<'_>) -> impl Iterator<Item = ClientWord<'_>> {
    client_words(rule.clients()).filter(|word| word.depth == 0)
}

fn looks_up(rule: Rule<'_>) -> bool {
    client_words(rule.clients()).any(|word| word.kind.may_look_up())
}

/// The first rule that wants a name pays for all; whoever could be decided by address should be decided before it.
fn first_lookup(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    let rules: Vec<Rule<'_>> = scene.rules_for_daemon().collect();
    let Some(index) = rules.iter().position(|rule| looks_up(*rule)) else { return };
    let first = rules[index];
    let blocking = daemons::blocking(scene.daemon);
    if let Some(word) = client_words(first.clients()).find(|word| word.kind.may_look_up()) {
        let message = format!(
            "{} needs the client's name: every {} client that comes so far waits for two DNS lookups. They hold {}{}.",
            lossy(word.word),
            scene.daemon,
            blocking.held(),
            blocking.others()
        );
        let finding = Finding::new(Kind::DnsLookup, Severity::Warning, message);
        out.push(scene.at(first, finding.change("Match by address, or put the clients into /etc/hosts.")));
    }
    // Within the rule: the list is read from left to right.
    let list: Vec<_> = main_words(first).collect();
    let name = list.iter().position(|word| word.kind.may_look_up());
    let late = |word: &&ClientWord<'_>| !word.kind.may_look_up() && word.user.is_none();
    if let Some(address) = name.and_then(|name| list.get(name..)?.iter().find(late)) {
        let message =
            format!("{} stands behind a name: its clients wait for DNS all the same.", lossy(address.word));
        let finding = Finding::new(Kind::NamesBeforeAddresses, Severity::Warning, message);
        out.push(scene.at(first, finding.change("Put addresses and nets first in the list.")));
    }
    // Behind it in the same table: rules of the same verdict may be moved.
    let movable: Vec<u32> = rules
        .get(index + 1..)
        .unwrap_or_default()
        .iter()
        .filter(|rule| rule.kind == first.kind && rule.allows() == first.allows() && !looks_up(**rule))
        .filter(|rule| rule.keywords().is_empty() && !rule.is_catch_all())
        .filter(|rule| main_words(**rule).any(|word| hopeless(word.host).is_none()))
        .map(|rule| rule.entry.line)
        .collect();
    if let Some(line) = movable.first() {
        let above = first.entry.physical.0;
        let (message, change) = if movable.len() == 1 {
            let message = format!(
                "Line {line} decides by address but is read after this rule by name, so its clients wait for DNS."
            );
            (message, format!("Move line {line} above line {above}."))
        } else {
            let lines = groups::lines(&movable);
            let message = format!(
                "Behind this rule by name others decide by address ({lines}), so their clients wait for DNS as well."
            );
            (message, format!("Move them above line {above}."))
        };
        let finding = Finding::new(Kind::NamesBeforeAddresses, Severity::Warning, message);
        out.push(scene.at(first, finding.change(change)));
    }
}
