//! What the rules come to as a whole: when DNS fails, and whether they refuse anybody at all.

use super::asked::{Asked, NamedFiles};
use super::{Finding, Problem, ProblemKind as Kind, Rule, Scene, Severity, TableKind};
use crate::wrappers::classify;

pub(super) fn find<'a>(scene: &Scene<'a>, files: &NamedFiles<'a>, out: &mut Vec<Problem>) {
    flips(scene, files, out);
    pointless(scene, out);
}

/// Rules by name whose clients get the other verdict when DNS fails.
fn flips<'a>(scene: &Scene<'a>, files: &NamedFiles<'a>, out: &mut Vec<Problem>) {
    // What is in /etc/hosts does not fail.
    if scene.resolver.waits_for().is_none() {
        return;
    }
    let rules: Vec<Rule<'_>> = scene.rules_for_daemon().collect();
    let (mut later, mut found) = (Later::default(), Vec::new());
    // From the end, so that each rule knows what comes behind it.
    for rule in rules.iter().rev() {
        let mut told = [false; 2];
        // A word that no client has is nobody's loss.
        let by_name = |asked: &&Asked<'_>| {
            asked.word.kind.is_by_name() && classify::hopeless(asked.word.host).is_none()
        };
        for asked in files.asked_words(*rule).iter().filter(by_name) {
            let Some((kind, message)) = flip(*rule, asked, later) else { continue };
            let slot = usize::from(kind == Kind::FailsOpen);
            if !std::mem::replace(&mut told[slot], true) {
                let change = match kind {
                    Kind::FailsOpen => "Refuse by address.",
                    _ => "Admit by address, or put the clients into /etc/hosts.",
                };
                let message = format!("When DNS fails, {message}.");
                found.push(scene.at(*rule, Finding::new(kind, Severity::Warning, message).change(change)));
            }
        }
        if !rule.allows() {
            later.refused = true;
            later.caught |= rule.is_catch_all();
        }
    }
    out.extend(found.into_iter().rev());
}

/// What the rules behind one do with those it lets pass.
#[derive(Clone, Copy, Default)]
struct Later {
    /// Some refuse somebody.
    refused: bool,
    /// One refuses everybody.
    caught: bool,
}

/// What a failed lookup turns round: a name then misses, and UNKNOWN and PARANOID hit.
fn flip(rule: Rule<'_>, asked: &Asked<'_>, later: Later) -> Option<(Kind, String)> {
    let (word, text) = (asked.word, asked.text());
    let failure = word.kind == classify::Kind::Failure;
    Some(match (failure, word.depth.is_multiple_of(2), rule.allows()) {
        (false, true, false) if !later.caught => {
            (Kind::FailsOpen, format!("clients that {text} should refuse are admitted"))
        }
        (false, true, true) if later.refused => {
            (Kind::FailsClosed, format!("clients that {text} should admit are refused"))
        }
        (false, false, true) if later.refused => {
            (Kind::FailsOpen, format!("the exception {text} is not made: its clients are admitted"))
        }
        (false, false, false) => {
            (Kind::FailsClosed, format!("the exception {text} is not made: its clients are refused"))
        }
        (true, true, false) => (Kind::FailsClosed, format!("{text} refuses everybody who gets this far")),
        (true, true, true) if later.refused => {
            (Kind::FailsOpen, format!("{text} admits everybody who gets this far"))
        }
        _ => return None,
    })
}

fn pointless(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    if scene.entries().next().is_none() {
        return;
    }
    let broken = scene.tables.deny.why_unreadable().is_some()
        || scene.entries().any(|rule| rule.entry.kind == super::EntryKind::Unreadable);
    let mut rules = scene.rules_for_daemon().peekable();
    if rules.peek().is_none() {
        if broken {
            return;
        }
        let message = format!("No rule is about {}: everybody is admitted.", scene.daemon);
        let finding = Finding::new(Kind::NoRuleForDaemon, Severity::Info, message);
        out.push(scene.in_file(
            scene.path(TableKind::Allow),
            None,
            finding.change("Check the daemon's name: it is the base name of the server's argv[0]."),
        ));
    } else if !broken && rules.all(|rule| rule.allows()) {
        let message = format!(
            "No rule refuses a client of {}: the checks cost time and keep nobody out.",
            scene.daemon
        );
        let finding = Finding::new(Kind::NothingRefused, Severity::Info, message);
        out.push(scene.in_file(
            scene.path(TableKind::Deny),
            None,
            finding.change("Refuse the others in hosts.deny (ALL: ALL), or do without the rules."),
        ));
    }
}
