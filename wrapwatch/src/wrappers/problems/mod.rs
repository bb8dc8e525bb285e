//! What is wrong, slow or dangerous in the tables and the resolver's settings: each with its place, its severity and the change to make.

mod limits;
mod options;
mod order;
mod patterns;
mod resolver;
mod syntax;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cost::Resolver;
use super::environment::FileText;
use super::evaluate::Tables;
use super::hosts_file::HostsFile;
use super::pattern::string_match;
use super::table::{Entry, EntryKind, Table, TableKind, is_except, split_at, words};
use super::{FixedNames, Keyword, inet};

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ProblemSeverity")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Slow, or wrong when DNS fails.
    Warning,
    /// Refuses or admits others than written, or can end the server.
    Critical,
}

/// What it is. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// A table is there and cannot be read.
    TableUnreadable,
    /// The last line has no newline: libwrap does not read it.
    MissingFinalNewline,
    /// A line is longer than libwrap's buffer: nothing from there on is read.
    LineTooLong,
    /// A NUL byte hides the rest of its line.
    NulByte,
    /// A line without a colon is skipped.
    NoSeparator,
    /// A # that does not begin its line is no comment.
    CommentInsideLine,
    /// A list without a word matches nobody.
    EmptyList,
    /// An IPv6 address outside brackets is cut at its colons.
    UnbracketedIpv6,
    /// An option libwrap does not know.
    UnknownOption,
    /// An option with a wrong or missing value, or in the wrong place.
    OptionError,
    /// An option that does nothing in Debian's libwrap.
    OptionWithoutEffect,
    /// The accept thread waits for a spawned command.
    BlockingSpawn,
    /// aclexec: waits for a command, and a failure is never forgotten.
    Aclexec,
    /// The server process is replaced.
    Twist,
    /// The first rule that looks clients up.
    DnsLookup,
    /// A pattern that forces a lookup when it misses and need not.
    AddressWildcard,
    /// A bare `[address]` forces a lookup when it misses.
    BareIpv6,
    /// Rules by address stand behind a rule by name.
    NamesBeforeAddresses,
    /// The server's own name is looked up for each client.
    ServerName,
    /// Ident: a connection back to the client.
    Ident,
    /// Netgroups.
    Netgroup,
    /// A file named in a rule cannot be read, or names itself.
    FilePattern,
    /// A pattern that can match no client.
    NeverMatches,
    /// A rule that is never reached.
    UnreachableRule,
    /// When DNS fails, clients that should be admitted are refused.
    FailsClosed,
    /// When DNS fails, clients that should be refused are admitted.
    FailsOpen,
    /// No rule refuses anybody.
    NothingRefused,
    /// No rule is about this daemon.
    NoRuleForDaemon,
    /// A dead nameserver costs seconds.
    SlowTimeout,
    /// There is one nameserver only.
    SingleNameserver,
    /// More nameservers than glibc asks.
    NameserverIgnored,
    /// A line or an option in resolv.conf that glibc does not take.
    ResolvConfIgnored,
    /// No nameserver that glibc can use: it asks 127.0.0.1.
    NoNameserver,
    /// `attempts:` of 0 or less: nothing is asked.
    NoAttempts,
    /// A `sortlist` line in resolv.conf that glibc reads for ever.
    EndlessSortlist,
    /// Queries over TCP have no time-out of their own.
    TcpQueries,
    /// DNS is asked before /etc/hosts, or names go another way.
    ServiceOrder,
    /// A name in /etc/hosts that does not lead back to its address.
    HostsMismatch,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// File.
    pub file: String,
    /// Line as libwrap counts: a rule's last; null where it is about the whole file.
    pub line: Option<u32>,
    /// What it is.
    pub kind: ProblemKind,
    /// How bad.
    pub severity: Severity,
    /// One or two sentences.
    pub message: String,
    /// What to do about it.
    pub change: Option<String>,
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
    entry: &'a Entry,
}

impl<'a> Rule<'a> {
    fn daemons(&self) -> &'a [u8] {
        self.table.daemons(self.entry)
    }

    fn clients(&self) -> &'a [u8] {
        self.table.clients(self.entry)
    }

    /// Its options as far as libwrap would take them.
    fn keywords(&self) -> Vec<Keyword> {
        let options = self.table.options(self.entry).unwrap_or_default();
        super::options::steps(options).map_while(Result::ok).map(|step| step.keyword).collect()
    }

    /// Whether a match grants service. An aclexec can go either way; an option error refuses.
    fn allows(&self) -> bool {
        let options = self.table.options(self.entry).unwrap_or_default();
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
        Problem { file: file.to_owned(), line, kind, severity, message, change }
    }

    /// All logical lines of both tables, in the order libwrap reads them.
    fn entries(&self) -> impl Iterator<Item = Rule<'a>> + use<'a> {
        let tables = self.tables;
        [TableKind::Allow, TableKind::Deny].into_iter().flat_map(move |kind| {
            let table = tables.get(kind);
            table.entries().iter().map(move |entry| Rule { kind, table, entry })
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
        let matches = |word: &[u8]| {
            let at = word.get(1..).and_then(|rest| split_at(rest, b'@'));
            let daemon = at.map_or(word, |at| word.get(..=at).unwrap_or_default());
            match inet::scan_unsigned(daemon, 10).filter(|&port| port <= 0xffff) {
                Some(port) => port == u32::from(self.port),
                None => string_match(daemon, self.daemon.as_bytes(), &FixedNames::unknown()),
            }
        };
        let mut list = words(daemons);
        let mut turned = false;
        loop {
            let found = list.by_ref().take_while(|word| !is_except(word)).any(matches);
            if !found || !list.any(is_except) {
                return found != turned;
            }
            turned = !turned;
        }
    }
}

/// What an address without brackets does to the rest of its rule is not worth telling.
fn without_consequences(problems: &mut Vec<Problem>) {
    use ProblemKind::{NeverMatches, OptionError, UnbracketedIpv6, UnknownOption};
    let cut: Vec<(String, Option<u32>)> = problems
        .iter()
        .filter(|problem| problem.kind == UnbracketedIpv6)
        .map(|problem| (problem.file.clone(), problem.line))
        .collect();
    problems.retain(|problem| {
        !(matches!(problem.kind, NeverMatches | UnknownOption | OptionError)
            && cut.iter().any(|(file, line)| *file == problem.file && *line == problem.line))
    });
}

/// Everything wrong, worst first, then in the order of reading.
pub fn find(scene: &Scene<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    syntax::find(scene, &mut out);
    options::find(scene, &mut out);
    patterns::find(scene, &mut out);
    order::find(scene, &mut out);
    limits::find(scene, &mut out);
    resolver::find(scene, &mut out);
    without_consequences(&mut out);
    out.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    out
}

#[cfg(test)]
mod tests;
