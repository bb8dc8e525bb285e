//! Whom a problem concerns: rules that the daemon in question can reach, rules of other daemons, and rules that nobody ever reaches.

use std::collections::HashMap;

use super::characters::as_seen;
use super::{
    EntryKind, Finding, Keyword, Problem, ProblemKind as Kind, Rule, Scene, Severity, TableKind, is_except,
    words,
};

/// What becomes of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The daemon in question can get to it.
    Daemon,
    /// Only other daemons can.
    Others,
    /// Nobody can.
    Nobody,
}

/// Says which rules are never reached, drops what else was found in those, and marks what concerns other daemons only.
pub(super) fn apply(scene: &Scene<'_>, problems: &mut Vec<Problem>) {
    let mut unreachable = Vec::new();
    let reach = reach(scene, &mut unreachable);
    let of = |problem: &Problem| {
        let key = (problem.file.as_str(), scene.line_of_rule(problem)?);
        reach.get(&key).copied()
    };
    problems.retain(|problem| of(problem) != Some(Reach::Nobody) || is_of_the_text(problem.kind));
    for problem in problems.iter_mut() {
        // A NUL byte joins lines, whosever they are.
        problem.other_daemons |= problem.kind != Kind::NulByte && of(problem) == Some(Reach::Others);
    }
    problems.append(&mut unreachable);
}

/// Problems of how a line reads: they may be why it is never reached.
const fn is_of_the_text(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CommentInsideLine
            | Kind::UnbracketedIpv6
            | Kind::EmptyList
            | Kind::NulByte
            | Kind::InvisibleCharacter
            | Kind::ContinuedComment
    )
}

/// Each rule's reach, by its file and line; and a problem for each that nobody gets to.
fn reach<'a>(scene: &Scene<'a>, unreachable: &mut Vec<Problem>) -> HashMap<(&'a str, u32), Reach> {
    let mut out = HashMap::new();
    let mut takers = Takers::default();
    let mut daemon_is_done = false;
    for rule in scene.entries().filter(|rule| rule.entry.kind == EntryKind::Rule) {
        let key = (scene.path(rule.kind), rule.entry.line);
        if let Some((file, line)) = takers.before(scene, rule) {
            let message = format!("Never reached: {file}:{line} takes everybody it could match.");
            let finding = Finding::new(Kind::UnreachableRule, Severity::Warning, message);
            let problem = scene.at(rule, finding.change("Remove it, or move it up."));
            let names_daemons = words(rule.daemons()).next().is_some();
            let other_daemons = names_daemons && !scene.concerns(rule.daemons());
            unreachable.push(Problem { other_daemons, ..problem });
            out.insert(key, Reach::Nobody);
            continue;
        }
        let names_daemons = words(rule.daemons()).next().is_some();
        let concerns = scene.concerns(rule.daemons()) || !names_daemons;
        // A rule that is not about the daemon for the sake of a character that nobody sees was meant to be.
        let meant = concerns || as_seen(rule.daemons()).iter().any(|seen| scene.concerns(seen));
        out.insert(key, if meant && !daemon_is_done { Reach::Daemon } else { Reach::Others });
        daemon_is_done |= concerns && rule.is_catch_all();
        takers.add(rule);
    }
    out
}

/// Rules that leave nothing for those behind them.
#[derive(Default)]
struct Takers<'a> {
    /// One that takes every client of every daemon.
    all: Option<Rule<'a>>,
    /// Those that take every client of some daemons, by table and daemon list.
    daemons: HashMap<(TableKind, Vec<u8>), u32>,
    /// Every rule, by table and both lists.
    rules: HashMap<(TableKind, Vec<u8>, Vec<u8>), u32>,
}

impl<'a> Takers<'a> {
    fn key(rule: Rule<'_>) -> (TableKind, Vec<u8>, Vec<u8>) {
        let normal = |list: &[u8]| words(list).collect::<Vec<_>>().join(&b' ').to_ascii_lowercase();
        (rule.kind, normal(rule.daemons()), normal(rule.clients()))
    }

    /// The rule before this one that takes everybody it could match.
    fn before<'s>(&self, scene: &Scene<'s>, rule: Rule<'_>) -> Option<(&'s str, u32)> {
        if let Some(all) = self.all {
            return Some((scene.path(all.kind), all.entry.line));
        }
        let (kind, daemons, clients) = Self::key(rule);
        let line =
            self.daemons.get(&(kind, daemons.clone())).or_else(|| self.rules.get(&(kind, daemons, clients)));
        line.map(|&line| (scene.path(rule.kind), line))
    }

    fn add(&mut self, rule: Rule<'a>) {
        // After a failed aclexec the rule counts as one that does not match.
        if rule.keywords().contains(&Keyword::Aclexec) {
            return;
        }
        let (kind, daemons, clients) = Self::key(rule);
        if rule.is_catch_all() {
            let every_daemon = words(rule.daemons()).any(|word| word.eq_ignore_ascii_case(b"ALL"))
                && !words(rule.daemons()).any(is_except);
            // What hosts.allow takes never gets to hosts.deny; what hosts.deny takes ends there anyway.
            if every_daemon {
                self.all = Some(rule);
            }
            self.daemons.insert((kind, daemons.clone()), rule.entry.line);
        }
        self.rules.entry((kind, daemons, clients)).or_insert(rule.entry.line);
    }
}
