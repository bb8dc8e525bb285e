//! A wrapper check, step by step as libwrap 7.6.q (Debian's build) does it: `hosts_access` over two tables, one request and an
//! [`Environment`] that answers what libwrap would ask.
//!
//! Lookups are lazy as in libwrap: the first rule that wants a name pays for all that follow. What a table says can be known without
//! its environment up to that point, so [`Evaluation::lookup_rule`] never depends on the answers.

use super::check::{Check, Stop};
use super::environment::{Environment, FileText};
use super::evaluation::{Evaluation, Lookup, LookupKind, Place, Reason, Subject, Verdict};
use super::pattern::{is_not_address, masked_match4, masked_match6, string_match};
use super::request::{Request, UNKNOWN, is_known};
use super::table::{EntryKind, Table, TableKind, Tables, is_except, split_at, words};
use super::{execute, inet, options::lossy};

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

/// What `table_match` returns.
enum Match {
    Yes,
    No,
    Unreadable,
}

/// `/file` patterns inside files inside files: libwrap goes on until it has no descriptors left.
const FILE_DEPTH: u32 = 32;
/// Files that one check reads: two that name each other twice would be read 2^32 times, for which libwrap takes as long as it does.
const FILES_MAX: u32 = 1_000;

impl Check<'_> {
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
                    let matched = self.list_match(words(table.daemons(&entry)), Self::server_match)
                        && self.list_match(words(table.clients(&entry)), Self::client_match);
                    if matched {
                        return self.run_options(table.options(&entry));
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
