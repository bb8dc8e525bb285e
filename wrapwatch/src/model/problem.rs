//! The kinds of problems that tables and resolver settings have. `lint` and `doctor` name them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// What is wrong with a line. The names are stable.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    EnumCount,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
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
    /// A comment ends in a backslash: the next line belongs to it.
    ContinuedComment,
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
    /// A character that cannot be seen is part of a word.
    InvisibleCharacter,
    /// An option stands where the list of clients belongs.
    ClientListMissing,
    /// A rule by name for a daemon that never tells libwrap its clients' names.
    NamesNotKnown,
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
    /// Queries over TCP have no timeout of their own.
    TcpQueries,
    /// DNS is asked before /etc/hosts, or names go another way.
    ServiceOrder,
    /// A name in /etc/hosts that does not lead back to its address.
    HostsMismatch,
}

impl ProblemKind {
    /// As in JSON, and as people select it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for kind in ProblemKind::VARIANTS {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(ProblemKind::named(kind.name()), Some(*kind));
        }
    }
}
