//! What a wrapper check comes to: the verdict, the rule, and all that libwrap asked, ran and logged on the way.

use super::options::{Keyword, OptionError};
use super::table::TableKind;

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
    pub option: Keyword,
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
    /// Whether an aclexec command has failed in this process by now (see [`Request::aclexec_failed`](super::request::Request::aclexec_failed)).
    pub aclexec_failed: bool,
}

impl Evaluation {
    /// The rule that forced the first lookup.
    pub fn lookup_rule(&self) -> Option<Place> {
        self.lookups.first()?.place
    }
}
