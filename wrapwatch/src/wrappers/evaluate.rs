//! A wrapper check, step by step as libwrap 7.6.q (Debian's build) does it: `hosts_access` over two tables, one request and an
//! [`Environment`] that answers what libwrap would ask.
//!
//! Lookups are lazy as in libwrap: the first rule that wants a name pays for all that follow. What a table says can be known without
//! its environment up to that point, so [`Evaluation::lookup_rule`] never depends on the answers.

use super::environment::{Environment, FileText};
use super::execute;
use super::pattern::{is_not_address, masked_match4, masked_match6, string_match};
use super::request::{Host, Request, UNKNOWN, is_known, user_name};
use super::table::{EntryKind, Table, TableKind, is_except, split_at, words};
use super::{inet, options::OptionError, options::lossy};

/// hosts.allow and hosts.deny.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// hosts.allow.
    pub allow: Table,
    /// hosts.deny.
    pub deny: Table,
}

impl Tables {
    /// One of the two.
    pub const fn get(&self, kind: TableKind) -> &Table {
        match kind {
            TableKind::Allow => &self.allow,
            TableKind::Deny => &self.deny,
        }
    }
}

/// What a check comes to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Service is granted.
    Allow,
    /// Service is refused.
    Deny,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule matched.
    Rule,
    /// A rule matched and its `allow` or `deny` option decided.
    Option,
    /// A rule matched and one of its options is wrong.
    OptionError(OptionError),
    /// No rule matched.
    NoRule,
    /// hosts.deny cannot be read, or not to its end.
    Unreadable,
    /// A rule's twist replaced the server process.
    Twist,
    /// A rule's %-expansion did not fit, and libwrap ended the server process.
    ServerExits,
}

/// A rule, by the number libwrap has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its table.
    pub table: TableKind,
    /// libwrap's line number, as in `tcpd_context`.
    pub line: u32,
}

/// What libwrap asks of the world beyond the tables.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LintLookup")]
pub enum LookupKind {
    /// The name of an address.
    Reverse,
    /// The addresses of that name.
    Forward,
    /// The client's user.
    Ident,
    /// Membership in a netgroup.
    Netgroup,
}

impl LookupKind {
    /// As it is said.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reverse => "reverse",
            Self::Forward => "forward",
            Self::Ident => "ident",
            Self::Netgroup => "netgroup",
        }
    }
}

/// Which end of the connection a lookup is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The client.
    Client,
    /// The server's own end (`daemon@host` patterns, `%N`).
    Server,
}

/// One lookup made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What for.
    pub kind: LookupKind,
    /// About which end.
    pub subject: Subject,
    /// Address, name or netgroup asked for.
    pub question: String,
    /// Whether there was an answer (for a netgroup: whether the host is in it).
    pub found: bool,
    /// The rule that forced it.
    pub place: Option<Place>,
}

/// A command libwrap ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// spawn, twist or aclexec.
    pub option: super::options::Keyword,
    /// The command, expanded.
    pub command: Vec<u8>,
    /// Its rule.
    pub place: Option<Place>,
}

/// A message libwrap sends to syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The rule (or the line being read) it names.
    pub place: Option<Place>,
    /// Its text without the place.
    pub message: String,
}

/// Everything about one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// What it comes to. A twist counts as a refusal: the client never sees this server.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The rule that decided; none where no rule did.
    pub rule: Option<Place>,
    /// Lookups in order.
    pub lookups: Vec<Lookup>,
    /// Where the client's ident service was asked: for how many seconds libwrap waits at most, as the rule's own option said before it was. None where
    /// that is what an earlier check of this process left behind, or where nobody was asked.
    pub ident_limit_s: Option<u32>,
    /// Commands in order.
    pub commands: Vec<Command>,
    /// What libwrap logs.
    pub warnings: Vec<Warning>,
    /// Where reading stopped: libwrap's line count of hosts.allow and hosts.deny; none for a table that was not opened.
    pub read_to: [Option<u32>; 2],
    /// Whether an aclexec command has failed in this process by now (see [`Request::aclexec_failed`]).
    pub aclexec_failed: bool,
}

impl Evaluation {
    /// The rule that forced the first lookup.
    pub fn lookup_rule(&self) -> Option<Place> {
        self.lookups.first()?.place
    }
}

/// Runs one check.
pub fn evaluate(tables: &Tables, request: &Request, env: &mut dyn Environment) -> Evaluation {
    let mut check = Check::new(request, env);
    let (verdict, reason, rule) = match check.hosts_access(tables) {
        Ok(decision) => decision,
        Err(stop) => {
            let (verdict, reason) = match stop {
                Stop::Allow => (Verdict::Allow, Reason::Option),
                Stop::Deny => (Verdict::Deny, Reason::Option),
                Stop::Error(error) => (Verdict::Deny, Reason::OptionError(error)),
                Stop::Twist => (Verdict::Deny, Reason::Twist),
                Stop::ServerExits => (Verdict::Deny, Reason::ServerExits),
            };
            (verdict, reason, check.place)
        }
    };
    Evaluation {
        verdict,
        reason,
        rule,
        lookups: check.lookups,
        ident_limit_s: check.ident_limit_s,
        commands: check.commands,
        warnings: check.warnings,
        read_to: check.read_to,
        aclexec_failed: check.aclexec_failed,
    }
}

/// What ends a check from inside a rule's options (libwrap jumps out of them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Allow,
    Deny,
    Error(OptionError),
    Twist,
    ServerExits,
}

/// What `table_match` returns.
enum Match {
    Yes,
    No,
    Unreadable,
}

/// `/file` patterns inside files inside files: libwrap goes on until it has no descriptors left.
const FILE_DEPTH: u32 = 32;
/// Messages of one check that are kept: a file of ten thousand names of unreadable files makes as many.
const WARNINGS_MAX: usize = 1_000;
/// Files that one check reads: two that name each other twice would be read 2^32 times, for which libwrap takes as long as it does.
const FILES_MAX: u32 = 1_000;

/// A check under way.
pub(super) struct Check<'a> {
    pub(super) env: &'a mut dyn Environment,
    pub(super) client: Host,
    pub(super) server: Host,
    pub(super) user: Option<Vec<u8>>,
    pub(super) daemon: Vec<u8>,
    pub(super) pid: u32,
    pub(super) resident: bool,
    pub(super) aclexec_failed: bool,
    pub(super) commands: Vec<Command>,
    pub(super) place: Option<Place>,
    /// `rfc931_timeout`, where this check has set it.
    pub(super) rfc931_timeout_s: Option<u32>,
    ident_limit_s: Option<u32>,
    lookups: Vec<Lookup>,
    warnings: Vec<Warning>,
    read_to: [Option<u32>; 2],
    /// Files of `/file` patterns read so far.
    files: u32,
    /// Those that are being read, one in another.
    open_files: Vec<String>,
}

impl<'a> Check<'a> {
    fn new(request: &Request, env: &'a mut dyn Environment) -> Self {
        Self {
            env,
            client: Host::new(request.client.clone(), Subject::Client).named(request.given_name.as_deref()),
            server: Host::new(request.server.clone().filter(|_| request.client.is_some()), Subject::Server),
            user: None,
            daemon: user_name(request.daemon.clone()),
            pid: request.pid,
            resident: request.resident,
            aclexec_failed: request.aclexec_failed,
            commands: Vec::new(),
            place: None,
            rfc931_timeout_s: None,
            ident_limit_s: None,
            lookups: Vec::new(),
            warnings: Vec::new(),
            read_to: [None; 2],
            files: 0,
            open_files: Vec::new(),
        }
    }

    pub(super) fn warn(&mut self, message: String) {
        if self.warnings.len() >= WARNINGS_MAX {
            return;
        }
        self.warnings.push(Warning { place: self.place, message });
    }

    /// `eval_hostname` of the client.
    pub(super) fn client_name(&mut self) -> &[u8] {
        let (place, lookups) = (self.place, &mut self.lookups);
        self.client.name(self.env, &mut |lookup| lookups.push(Lookup { place, ..lookup }))
    }

    /// `eval_hostname` of the server's end.
    pub(super) fn server_name(&mut self) -> &[u8] {
        let (place, lookups) = (self.place, &mut self.lookups);
        self.server.name(self.env, &mut |lookup| lookups.push(Lookup { place, ..lookup }))
    }

    /// `eval_user`: ident, once; it needs both ends of the connection.
    pub(super) fn ask_user(&mut self) -> &[u8] {
        if self.user.is_none() {
            let both = self.client.port().zip(self.server.port());
            let user = both.and_then(|_| self.env.ident()).map(user_name).filter(|user| !user.is_empty());
            if both.is_some() {
                self.ident_limit_s = self.rfc931_timeout_s;
                let question = lossy(self.client.address());
                let (kind, subject) = (LookupKind::Ident, Subject::Client);
                self.lookups.push(Lookup {
                    kind,
                    subject,
                    question,
                    found: user.is_some(),
                    place: self.place,
                });
            }
            self.user = Some(user.unwrap_or_else(|| UNKNOWN.to_vec()));
        }
        self.user.as_deref().unwrap_or(UNKNOWN)
    }

    fn hosts_access(&mut self, tables: &Tables) -> Result<(Verdict, Reason, Option<Place>), Stop> {
        if let Match::Yes = self.table_match(TableKind::Allow, &tables.allow)? {
            return Ok((Verdict::Allow, Reason::Rule, self.place));
        }
        Ok(match self.table_match(TableKind::Deny, &tables.deny)? {
            Match::Yes => (Verdict::Deny, Reason::Rule, self.place),
            Match::Unreadable => (Verdict::Deny, Reason::Unreadable, None),
            Match::No => (Verdict::Allow, Reason::NoRule, None),
        })
    }

    fn table_match(&mut self, kind: TableKind, table: &Table) -> Result<Match, Stop> {
        self.place = None;
        if let Some(why) = table.why_unreadable() {
            self.warn(format!("cannot open {}: {why}", kind.default_path()));
            return Ok(Match::Unreadable);
        }
        if table.is_missing() {
            return Ok(Match::No);
        }
        let slot = match kind {
            TableKind::Allow => 0,
            TableKind::Deny => 1,
        };
        for entry in table.entries() {
            self.place = Some(Place { table: kind, line: entry.line });
            self.read_to[slot] = Some(entry.line);
            match entry.kind {
                EntryKind::Unreadable => {
                    self.warn("missing newline or line too long".to_owned());
                    self.warn("all the subsequent rules will be ignored".to_owned());
                    return Ok(Match::Unreadable);
                }
                EntryKind::NoSeparator => self.warn("missing \":\" separator".to_owned()),
                EntryKind::Rule => {
                    let matched = self.list_match(words(table.daemons(entry)), Self::server_match)
                        && self.list_match(words(table.clients(entry)), Self::client_match);
                    if matched {
                        return self.run_options(table.options(entry));
                    }
                }
            }
        }
        self.read_to[slot] = Some(table.lines());
        self.place = None;
        Ok(Match::No)
    }

    /// After a match: the options, which may decide otherwise.
    fn run_options(&mut self, options: Option<&[u8]>) -> Result<Match, Stop> {
        let Some(options) = options else { return Ok(Match::Yes) };
        execute::options(options, self)?;
        // The rest of the table is not read: the rule has matched as far as the loop over it is concerned.
        Ok(if self.aclexec_failed { Match::No } else { Match::Yes })
    }

    /// `list_match`: the first word that matches decides, unless the list behind the next EXCEPT matches too.
    fn list_match<'w>(
        &mut self,
        mut list: impl Iterator<Item = &'w [u8]>,
        matches: fn(&mut Self, &[u8]) -> bool,
    ) -> bool {
        // Each EXCEPT is a recursion in libwrap, whose result the level above turns round.
        let mut turned = false;
        loop {
            let found = list.by_ref().take_while(|word| !is_except(word)).any(|word| matches(self, word));
            if !found || !list.any(is_except) {
                return found != turned;
            }
            turned = !turned;
        }
    }

    fn server_match(&mut self, word: &[u8]) -> bool {
        let (daemon, host) = at_sign(word);
        self.daemon_or_port(daemon) && host.is_none_or(|host| self.host_match(host, Subject::Server, 0))
    }

    /// Debian's addition: a number is the server's port.
    fn daemon_or_port(&self, word: &[u8]) -> bool {
        match inet::scan_unsigned(word, 10).filter(|&port| port <= 0xffff) {
            Some(port) => self.server.port().is_some_and(|own| u32::from(own) == port),
            None => string_match(word, &self.daemon, self.env),
        }
    }

    fn client_match(&mut self, word: &[u8]) -> bool {
        match at_sign(word) {
            (host, None) => self.host_match(host, Subject::Client, 0),
            (user, Some(host)) => {
                self.host_match(host, Subject::Client, 0) && {
                    let name = self.ask_user().to_vec();
                    string_match(user, &name, self.env)
                }
            }
        }
    }

    fn name(&mut self, subject: Subject) -> Vec<u8> {
        match subject {
            Subject::Client => self.client_name().to_vec(),
            Subject::Server => self.server_name().to_vec(),
        }
    }

    fn address(&self, subject: Subject) -> &[u8] {
        match subject {
            Subject::Client => self.client.address(),
            Subject::Server => self.server.address(),
        }
    }

    /// `host_match`. The order in which name and address are looked at decides what a rule costs.
    fn host_match(&mut self, word: &[u8], subject: Subject, depth: u32) -> bool {
        match word {
            [b'@', group @ ..] => {
                let name = lossy(&self.name(subject));
                let group = lossy(group);
                let found = self.env.netgroup(&group, &name);
                let kind = LookupKind::Netgroup;
                self.lookups.push(Lookup { kind, subject, question: group, found, place: self.place });
                found
            }
            [b'/', ..] => self.file_match(word, subject, depth),
            _ if word.eq_ignore_ascii_case(b"KNOWN") => {
                let name = self.name(subject);
                !self.address(subject).eq_ignore_ascii_case(UNKNOWN) && is_known(&name)
            }
            _ if word.eq_ignore_ascii_case(b"LOCAL") => {
                let name = self.name(subject);
                !name.contains(&b'.') && is_known(&name)
            }
            _ => match split_at(word, b'/') {
                Some(at) => {
                    let (net, mask) = word.split_at(at);
                    let (mask, address) = (mask.get(1..).unwrap_or_default(), self.address(subject));
                    masked_match4(net, mask, address) || masked_match6(net, mask, address, self.env)
                }
                None => {
                    string_match(word, self.address(subject), self.env)
                        || (is_not_address(word) && {
                            let name = self.name(subject);
                            string_match(word, &name, self.env)
                        })
                }
            },
        }
    }

    /// `hostfile_match`: the words of a file, each as if it stood in the rule.
    fn file_match(&mut self, path: &[u8], subject: Subject, depth: u32) -> bool {
        let path = lossy(path);
        if depth >= FILE_DEPTH {
            self.warn(format!("open {path}: Too many open files"));
            return false;
        }
        // libwrap reads a file that names itself again and again until it has no descriptors left. Each time it meets the same words in the same
        // order, so that what does not match the first time never does.
        if self.open_files.contains(&path) {
            self.warn(format!("open {path}: Too many open files"));
            return false;
        }
        self.files += 1;
        if self.files > FILES_MAX {
            if self.files == FILES_MAX + 1 {
                self.warn(format!(
                    "open {path}: files that name each other: no more than {FILES_MAX} are read"
                ));
            }
            return false;
        }
        match self.env.file(&path) {
            FileText::Missing | FileText::Elsewhere | FileText::NotKnown(_) => false,
            FileText::Unreadable(why) => {
                self.warn(format!("open {path}: {why}"));
                false
            }
            FileText::Text(text) => {
                self.open_files.push(path);
                let found =
                    text.split(|&byte| inet::is_space(byte)).filter(|word| !word.is_empty()).any(|word| {
                        // A NUL ends the word for libwrap.
                        let word = word.split(|&byte| byte == 0).next().unwrap_or_default();
                        self.host_match(word, subject, depth + 1)
                    });
                self.open_files.pop();
                found
            }
        }
    }
}

/// `split_at(word + 1, '@')`: a leading @ is a netgroup's.
fn at_sign(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = word.get(1..).and_then(|rest| split_at(rest, b'@'));
    match at {
        Some(at) => (word.get(..=at).unwrap_or_default(), word.get(at + 2..)),
        None => (word, None),
    }
}
