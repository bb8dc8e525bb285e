//! The order of rules: who pays for lookups, and what is never reached.

use super::{Finding, Problem, ProblemKind as Kind, Rule, Scene, Severity, is_except, words};
use crate::wrappers::classify::{ClientWord, client_words, hopeless};
use crate::wrappers::options::lossy;
use crate::wrappers::{Keyword, TableKind};

pub(super) fn find(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    first_lookup(scene, out);
    unreachable(scene, out);
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
    if let Some(word) = client_words(first.clients()).find(|word| word.kind.may_look_up()) {
        let message = format!(
            "{} needs the client's name: every {} client that comes so far waits for two DNS lookups in the accept thread, one \
             client after another.",
            lossy(word.word),
            scene.daemon
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
            let lines = movable.iter().take(5).map(u32::to_string).collect::<Vec<_>>().join(", ");
            let message = format!(
                "Lines {lines} decide by address but are read after this rule by name, so their clients wait for DNS."
            );
            (message, format!("Move lines {lines} above line {above}."))
        };
        let finding = Finding::new(Kind::NamesBeforeAddresses, Severity::Warning, message);
        out.push(scene.at(first, finding.change(change)));
    }
}

/// Rules behind one that takes everybody.
fn unreachable(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    let mut all: Option<Rule<'_>> = None;
    let mut seen: std::collections::HashMap<(TableKind, Vec<u8>, Vec<u8>), u32> =
        std::collections::HashMap::new();
    let mut takers: std::collections::HashMap<(TableKind, Vec<u8>), u32> = std::collections::HashMap::new();
    for rule in scene.rules() {
        let normal = |list: &[u8]| words(list).collect::<Vec<_>>().join(&b' ').to_ascii_lowercase();
        let daemons = normal(rule.daemons());
        let same = (rule.kind, daemons.clone(), normal(rule.clients()));
        let taker = (rule.kind, daemons);
        let before = match all {
            Some(all) => Some((scene.path(all.kind), all.entry.line)),
            None => takers.get(&taker).or_else(|| seen.get(&same)).map(|&line| (scene.path(rule.kind), line)),
        };
        if let Some((file, line)) = before {
            let message = format!("Never reached: {file}:{line} takes everybody it could match.");
            let finding = Finding::new(Kind::UnreachableRule, Severity::Warning, message);
            out.push(scene.at(rule, finding.change("Remove it, or move it up.")));
            continue;
        }
        if rule.keywords().contains(&Keyword::Aclexec) {
            continue;
        }
        if rule.is_catch_all() {
            let every_daemon = words(rule.daemons()).any(|word| word.eq_ignore_ascii_case(b"ALL"))
                && !words(rule.daemons()).any(is_except);
            // What hosts.allow takes never gets to hosts.deny; what hosts.deny takes ends there anyway.
            if every_daemon {
                all = Some(rule);
            }
            takers.insert(taker, rule.entry.line);
        }
        seen.entry(same).or_insert(rule.entry.line);
    }
}
