//! The names of the kinds of problems, as in JSON and as people select them.

use super::ProblemKind;

impl ProblemKind {
    /// Every kind, in the order in which they are declared.
    pub const ALL: [Self; 41] = {
        use ProblemKind as K;
        [
            K::TableUnreadable,
            K::MissingFinalNewline,
            K::LineTooLong,
            K::NulByte,
            K::NoSeparator,
            K::CommentInsideLine,
            K::EmptyList,
            K::UnbracketedIpv6,
            K::UnknownOption,
            K::OptionError,
            K::OptionWithoutEffect,
            K::BlockingSpawn,
            K::Aclexec,
            K::Twist,
            K::DnsLookup,
            K::AddressWildcard,
            K::BareIpv6,
            K::NamesBeforeAddresses,
            K::ServerName,
            K::Ident,
            K::Netgroup,
            K::FilePattern,
            K::NeverMatches,
            K::InvisibleCharacter,
            K::ClientListMissing,
            K::NamesNotKnown,
            K::UnreachableRule,
            K::FailsClosed,
            K::FailsOpen,
            K::NothingRefused,
            K::NoRuleForDaemon,
            K::SlowTimeout,
            K::SingleNameserver,
            K::NameserverIgnored,
            K::ResolvConfIgnored,
            K::NoNameserver,
            K::NoAttempts,
            K::EndlessSortlist,
            K::TcpQueries,
            K::ServiceOrder,
            K::HostsMismatch,
        ]
    };

    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TableUnreadable => "table-unreadable",
            Self::MissingFinalNewline => "missing-final-newline",
            Self::LineTooLong => "line-too-long",
            Self::NulByte => "nul-byte",
            Self::NoSeparator => "no-separator",
            Self::CommentInsideLine => "comment-inside-line",
            Self::EmptyList => "empty-list",
            Self::UnbracketedIpv6 => "unbracketed-ipv6",
            Self::UnknownOption => "unknown-option",
            Self::OptionError => "option-error",
            Self::OptionWithoutEffect => "option-without-effect",
            Self::BlockingSpawn => "blocking-spawn",
            Self::Aclexec => "aclexec",
            Self::Twist => "twist",
            Self::DnsLookup => "dns-lookup",
            Self::AddressWildcard => "address-wildcard",
            Self::BareIpv6 => "bare-ipv6",
            Self::NamesBeforeAddresses => "names-before-addresses",
            Self::ServerName => "server-name",
            Self::Ident => "ident",
            Self::Netgroup => "netgroup",
            Self::FilePattern => "file-pattern",
            Self::NeverMatches => "never-matches",
            Self::InvisibleCharacter => "invisible-character",
            Self::ClientListMissing => "client-list-missing",
            Self::NamesNotKnown => "names-not-known",
            Self::UnreachableRule => "unreachable-rule",
            Self::FailsClosed => "fails-closed",
            Self::FailsOpen => "fails-open",
            Self::NothingRefused => "nothing-refused",
            Self::NoRuleForDaemon => "no-rule-for-daemon",
            Self::SlowTimeout => "slow-timeout",
            Self::SingleNameserver => "single-nameserver",
            Self::NameserverIgnored => "nameserver-ignored",
            Self::ResolvConfIgnored => "resolv-conf-ignored",
            Self::NoNameserver => "no-nameserver",
            Self::NoAttempts => "no-attempts",
            Self::EndlessSortlist => "endless-sortlist",
            Self::TcpQueries => "tcp-queries",
            Self::ServiceOrder => "service-order",
            Self::HostsMismatch => "hosts-mismatch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json_and_none_is_missing() {
        for kind in ProblemKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        // The schema lists each variant once.
        let schema = serde_json::to_value(schemars::schema_for!(ProblemKind)).unwrap();
        let variants = schema["oneOf"].as_array().unwrap().len();
        assert_eq!(variants, ProblemKind::ALL.len());
    }
}
