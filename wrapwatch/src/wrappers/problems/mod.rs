//! What is wrong, slow or dangerous in the tables and the resolver's settings: each with its place, its severity and the change to make.

mod asked;
pub(in crate::wrappers) mod characters;
mod comments;
pub mod explain;
pub mod groups;
mod limits;
mod options;
mod order;
mod patterns;
mod resolver;
mod scope;
mod syntax;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cost::Resolver;
use super::environment::FileText;
use super::hosts_file::HostsFile;
use super::options::lossy;
use super::pattern::string_match;
use super::table::{Entry, EntryKind, Table, TableKind, Tables, is_except, split_at, words};
use super::{FixedNames, Keyword, daemons, inet};
pub use crate::model::ProblemKind;
use crate::model::Severity;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// File.
    pub file: String,
    /// Line as libwrap counts: a rule's last; of a problem with one character the line that has it; null where it is about the whole file.
    pub line: Option<u32>,
    /// What it is.
    pub kind: ProblemKind,
    /// How bad.
    pub severity: Severity,
    /// One or two sentences.
    pub message: String,
    /// What to do about it.
    pub change: Option<String>,
    /// Column as an editor counts them, from 1, where it is about one character.
    pub column: Option<u32>,
    /// The rule is about other daemons, or this one never gets to it.
    pub other_daemons: bool,
}

impl Problem {
    /// Whether its line is an editor's and not that by which libwrap calls the rule: where it is about one character.
    pub const fn has_editors_line(&self) -> bool {
        matches!(self.kind, ProblemKind::InvisibleCharacter | ProblemKind::NulByte)
    }
}

/// What is looked at.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The tables.
    pub tables: &'a Tables,
    /// Their texts.
    pub texts: [&'a [u8]; 2],
    /// Their paths.
    pub paths: [&'a str; 2],
    /// The daemon's name.
    pub daemon: &'a str,
    /// Its port.
    pub port: u16,
    /// The resolver.
    pub resolver: Resolver<'a>,
    /// Path of resolv.conf.
    pub resolv_path: &'a str,
    /// Path of nsswitch.conf.
    pub nsswitch_path: &'a str,
    /// /etc/hosts.
    pub hosts: &'a HostsFile,
    /// Its path.
    pub hosts_path: &'a str,
    /// Files that rules name.
    pub files: &'a BTreeMap<String, FileText>,
}

/// A problem without its place.
struct Finding {
    kind: ProblemKind,
    severity: Severity,
    message: String,
    change: Option<String>,
}

impl Finding {
    fn new(kind: ProblemKind, severity: Severity, message: impl Into<String>) -> Self {
        Self { kind, severity, message: message.into(), change: None }
    }

    fn change(self, change: impl Into<String>) -> Self {
        Self { change: Some(change.into()), ..self }
    }
}

/// One rule with its table.
#[derive(Clone, Copy)]
struct Rule<'a> {
    kind: TableKind,
    table: &'a Table,
    entry: Entry,
}

impl<'a> Rule<'a> {
    fn daemons(&self) -> &'a [u8] {
        self.table.daemons(&self.entry)
    }

    fn clients(&self) -> &'a [u8] {
        self.table.clients(&self.entry)
    }

    /// Its options as far as libwrap would take them.
    fn keywords(&self) -> Vec<Keyword> {
        let options = self.table.options(&self.entry).unwrap_or_default();
        super::options::steps(options).map_while(Result::ok).map(|step| step.keyword).collect()
    }

    /// Whether a match grants service. An aclexec can go either way; an option error refuses.
    fn allows(&self) -> bool {
        let options = self.table.options(&self.entry).unwrap_or_default();
        let mut allows = self.kind == TableKind::Allow;
        for step in super::options::steps(options) {
            match step {
                Ok(step) if step.keyword == Keyword::Allow => allows = true,
                Ok(step) if matches!(step.keyword, Keyword::Deny | Keyword::Twist) => allows = false,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        allows
    }

    /// Whether its clients are everybody.
    fn is_catch_all(&self) -> bool {
        words(self.clients())
            .next()
            .is_some_and(|word| super::classify::kind(word) == super::classify::Kind::All)
            && !words(self.clients()).any(is_except)
            && !self.keywords().contains(&Keyword::Aclexec)
    }
}

impl<'a> Scene<'a> {
    fn path(&self, kind: TableKind) -> &'a str {
        self.paths[kind as usize]
    }

    fn at(&self, rule: Rule<'_>, finding: Finding) -> Problem {
        // A line without its newline is not in libwrap's count yet.
        let line =
            if rule.entry.kind == EntryKind::Unreadable { rule.entry.physical.1 } else { rule.entry.line };
        self.in_file(self.path(rule.kind), Some(line), finding)
    }

    #[expect(clippy::unused_self, reason = "reads as the other ways to place a finding")]
    fn in_file(&self, file: &str, line: Option<u32>, finding: Finding) -> Problem {
        let Finding { kind, severity, message, change } = finding;
        Problem {
            file: file.to_owned(),
            line,
            kind,
            severity,
            message,
            change,
            column: None,
            other_daemons: false,
        }
    }

    /// What libwrap calls the line that an editor calls `physical`.
    fn rule_line(&self, kind: TableKind, physical: u32) -> u32 {
        let entry = self.tables.get(kind).entry_around(physical);
        entry.filter(|entry| entry.kind != EntryKind::Unreadable).map_or(physical, |entry| entry.line)
    }

    /// The line by which libwrap calls the rule that a problem is in. A problem of a character has the editor's line, to go with its column.
    fn line_of_rule(&self, problem: &Problem) -> Option<u32> {
        let line = problem.line?;
        if !problem.has_editors_line() {
            return Some(line);
        }
        let kinds = [TableKind::Allow, TableKind::Deny];
        let kind = kinds.into_iter().find(|kind| self.path(*kind) == problem.file);
        Some(kind.map_or(line, |kind| self.rule_line(kind, line)))
    }

    /// All logical lines of both tables, in the order libwrap reads them.
    fn entries(&self) -> impl Iterator<Item = Rule<'a>> + use<'a> {
        let tables = self.tables;
        [TableKind::Allow, TableKind::Deny].into_iter().flat_map(move |kind| {
            let table = tables.get(kind);
            table.entries().map(move |entry| Rule { kind, table, entry })
        })
    }

    /// Rules only.
    fn rules(&self) -> impl Iterator<Item = Rule<'a>> + use<'a> {
        self.entries().filter(|rule| rule.entry.kind == EntryKind::Rule)
    }

    /// Rules that may be about this daemon (its own address and name left open).
    fn rules_for_daemon(&self) -> impl Iterator<Item = Rule<'a>> + use<'a, '_> {
        self.rules().filter(|rule| self.concerns(rule.daemons()))
    }

    fn concerns(&self, daemons: &[u8]) -> bool {
        let mut list = words(daemons);
        let mut turned = false;
        loop {
            let mut main = list.by_ref().take_while(|word| !is_except(word));
            let found = main.any(|word| names_daemon(word, self.daemon, self.port));
            if !found || !list.any(is_except) {
                return found != turned;
            }
            turned = !turned;
        }
    }
}

/// Whether a word of a daemon list is this daemon; the server's address behind an @ is left open.
fn names_daemon(word: &[u8], daemon: &str, port: u16) -> bool {
    let (name, _) = name_and_end(word);
    match inet::scan_unsigned(name, 10).filter(|&port| port <= 0xffff) {
        Some(number) => number == u32::from(port),
        None => string_match(name, daemon.as_bytes(), &FixedNames::unknown()),
    }
}

/// Whether a rule with these daemons can be reached by one at all, whatever its exceptions come to.
pub(super) fn may_concern(daemons: &[u8], daemon: &str, port: u16) -> bool {
    words(daemons).take_while(|word| !is_except(word)).any(|word| names_daemon(word, daemon, port))
}

/// Whether a rule with these daemons may be about this one and tells its addresses (behind an @) or its ports apart.
pub(super) fn names_own_end(daemons: &[u8], daemon: &str) -> bool {
    let ours = |word: &[u8]| {
        let (name, end) = name_and_end(word);
        let port = inet::scan_unsigned(name, 10).is_some_and(|port| port <= 0xffff);
        (port || string_match(name, daemon.as_bytes(), &FixedNames::unknown()), port || end)
    };
    words(daemons).take_while(|word| !is_except(word)).any(|word| ours(word).0)
        && words(daemons).any(|word| ours(word) == (true, true))
}

/// What stands before the @ in a word of a daemon list, and whether there is one.
fn name_and_end(word: &[u8]) -> (&[u8], bool) {
    match word.get(1..).and_then(|rest| split_at(rest, b'@')) {
        Some(at) => (word.get(..=at).unwrap_or_default(), true),
        None => (word, false),
    }
}

/// What an address without brackets, a hidden character or a comment does to the rest of its rule is told with its cause alone, which is then as bad as the
/// worst of it. Of a table in UTF-16 nothing else is told.
fn without_consequences(scene: &Scene<'_>, problems: &mut Vec<Problem>) {
    use ProblemKind::{
        ClientListMissing, CommentInsideLine, FailsClosed, FailsOpen, InvisibleCharacter,
        NamesBeforeAddresses, NeverMatches, NulByte, OptionError, UnbracketedIpv6, UnknownOption,
    };
    for kind in [TableKind::Allow, TableKind::Deny] {
        if syntax::is_utf_16(scene.texts[kind as usize]) {
            problems.retain(|problem| problem.file != scene.path(kind) || problem.kind == NulByte);
        }
    }
    let is_cause = |kind| {
        matches!(kind, UnbracketedIpv6 | InvisibleCharacter | ClientListMissing | CommentInsideLine | NulByte)
    };
    let place = |problem: &Problem| (problem.file.clone(), scene.line_of_rule(problem));
    let causes: std::collections::HashSet<_> =
        problems.iter().filter(|problem| is_cause(problem.kind)).map(place).collect();
    let no_list: std::collections::HashSet<_> = problems
        .iter()
        .filter(|problem| matches!(problem.kind, ClientListMissing | CommentInsideLine))
        .map(place)
        .collect();
    let mut worst: std::collections::HashMap<_, Severity> = std::collections::HashMap::new();
    problems.retain(|problem| {
        let follows =
            matches!(problem.kind, NeverMatches | UnknownOption | OptionError | FailsClosed | FailsOpen)
                // Which of its words is a name says nothing where none was meant to be.
                || problem.kind == NamesBeforeAddresses && no_list.contains(&place(problem));
        let drop = follows && causes.contains(&place(problem));
        if drop {
            let worst = worst.entry(place(problem)).or_insert(problem.severity);
            *worst = (*worst).max(problem.severity);
        }
        !drop
    });
    for problem in problems.iter_mut().filter(|problem| is_cause(problem.kind)) {
        if let Some(worst) = worst.get(&place(problem)) {
            problem.severity = problem.severity.max(*worst);
        }
    }
}

/// For a daemon that calls `hosts_ctl`: nothing is looked up, and rules by name never match unless the daemon itself asks for names.
fn without_lookups(scene: &Scene<'_>, problems: &mut Vec<Problem>) {
    use ProblemKind as K;
    problems.retain(|problem| {
        !matches!(
            problem.kind,
            K::DnsLookup
                | K::AddressWildcard
                | K::BareIpv6
                | K::NamesBeforeAddresses
                | K::ServerName
                | K::Ident
                | K::Netgroup
                | K::FailsClosed
                | K::FailsOpen
                | K::SlowTimeout
                | K::SingleNameserver
                | K::NameserverIgnored
                | K::ResolvConfIgnored
                | K::NoNameserver
                | K::NoAttempts
                | K::EndlessSortlist
                | K::TcpQueries
                | K::ServiceOrder
                | K::HostsMismatch
        )
    });
    for rule in scene.rules_for_daemon() {
        let by_name = super::classify::client_words(rule.clients()).find(|word| word.kind.is_by_name());
        if let Some(word) = by_name {
            let message = format!(
                "{} calls hosts_ctl, and libwrap looks nothing up: {} is compared with the name that the server gives, mostly \"unknown\".",
                scene.daemon,
                lossy(word.word)
            );
            let finding = Finding::new(K::NamesNotKnown, Severity::Warning, message);
            problems.push(
                scene.at(rule, finding.change("Match by address, or have the server look names up itself.")),
            );
        }
    }
}

/// Everything wrong: what concerns the daemon first, worst first, then in the order of reading.
pub fn find(scene: &Scene<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    syntax::find(scene, &mut out);
    options::find(scene, &mut out);
    patterns::find(scene, &mut out);
    let files = asked::NamedFiles::of(scene);
    order::find(scene, &files, &mut out);
    limits::find(scene, &files, &mut out);
    resolver::find(scene, &files, &mut out);
    characters::find(scene, &mut out);
    comments::find(scene, &mut out);
    without_consequences(scene, &mut out);
    if daemons::call(scene.daemon) == daemons::Call::HostsCtl {
        without_lookups(scene, &mut out);
    }
    scope::apply(scene, &mut out);
    out.sort_by_key(|problem| (problem.other_daemons, std::cmp::Reverse(problem.severity)));
    out
}

#[cfg(test)]
mod tests;
