//! How long a check's lookups can take at worst, and of what that consists.
//!
//! A nameserver that answers at the last moment costs as much as one that keeps silent, and the lookup goes on: so the worst check waits out every
//! question of both lookups, the forward one for the name itself and with each domain of the search list. Over UDP; an answer that was cut sends the
//! question over TCP, where glibc has no time-out of its own. A command that a rule runs and that does not go into the background has no bound.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classify::client_words;
use super::cost::{IDENT_TIMEOUT_NS, Resolver, Wanted};
use super::evaluation::{Evaluation, Lookup, LookupKind, Subject};
use super::input::{Input, UNLISTED};
use super::options::{Keyword, Step, is_waited_for, rfc931_seconds, steps};
use super::problems::may_concern;
use super::table::{Entry, Table, TableKind, Tables};
use crate::model::Nanos;

/// One lookup of a check, or a command that it waits for, and the longest that it can take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LintWait")]
pub struct Wait {
    /// Which lookup; null for a command.
    pub lookup: Option<LookupKind>,
    /// The longest that it takes; null where nothing that is known here bounds it.
    pub ns: Option<u64>,
    /// Of what that consists.
    pub of: String,
}

/// The waits of a check's lookups in order, then those for its commands.
pub(super) fn waits(
    input: &Input<'_>,
    resolver: &Resolver<'_>,
    client: (std::net::IpAddr, &str),
    checked: &Evaluation,
) -> Vec<Wait> {
    let one = |lookup: &Lookup| {
        let (address, name) = match lookup.subject {
            Subject::Client => client,
            Subject::Server => (input.server.address, UNLISTED),
        };
        let address = address.to_canonical();
        let (ns, of) = match lookup.kind {
            LookupKind::Ident => ident(input, checked.ident_limit_s),
            LookupKind::Netgroup => {
                let (ns, of) = resolver.netgroup_bound();
                (ns, format!("netgroup {}: {of}", lookup.question))
            }
            LookupKind::Reverse => resolver.bound(Wanted::Reverse, input.hosts.reverse(address).is_some()),
            LookupKind::Forward => {
                let ipv6 = address.is_ipv6();
                resolver.bound(Wanted::Forward { name, ipv6 }, input.hosts.forward(name, ipv6).is_some())
            }
        };
        Wait { lookup: Some(lookup.kind), ns, of }
    };
    let waited = checked.commands.iter().filter(|command| is_waited_for(command.option, &command.command));
    let commands = waited.map(|command| {
        let of = format!("{}: as long as it runs", command.option.name());
        Wait { lookup: None, ns: None, of }
    });
    checked.lookups.iter().map(one).chain(commands).collect()
}

/// What may happen in a check of some client, by the kinds of problems that a daemon's own rules have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// A rule needs names.
    pub names: bool,
    /// One needs the server's own name (`daemon@name`).
    pub server_name: bool,
    /// One asks the client's ident service.
    pub ident: bool,
    /// One asks for a netgroup.
    pub netgroup: bool,
    /// One runs a command that is waited for.
    pub command: bool,
}

/// The longest check of any client: each step that its rules may take, once.
pub fn worst(
    tables: &Tables,
    (daemon, port): (&str, u16),
    resolver: &Resolver<'_>,
    steps: Steps,
) -> Vec<Wait> {
    let mut waits = Vec::new();
    let mut push = |lookup, (ns, of)| waits.push(Wait { lookup, ns, of });
    for _ in [steps.names, steps.server_name].into_iter().filter(|&asked| asked) {
        // A name with dots, as clients have, and servers.
        let forward = Wanted::Forward { name: "client.example.com", ipv6: false };
        push(Some(LookupKind::Reverse), resolver.bound(Wanted::Reverse, false));
        push(Some(LookupKind::Forward), resolver.bound(forward, false));
    }
    if steps.ident {
        push(Some(LookupKind::Ident), ident_told(worst_ident(tables, daemon, port)));
    }
    if steps.netgroup {
        push(Some(LookupKind::Netgroup), resolver.netgroup_bound());
    }
    if steps.command {
        push(None, (None, "a rule's command: as long as it runs".to_owned()));
    }
    waits
}

/// All of them together; none where one of them has no bound.
pub fn sum(waits: &[Wait]) -> Option<u64> {
    waits.iter().try_fold(0u64, |sum, wait| Some(sum.saturating_add(wait.ns?)))
}

/// The client's ident service: as long as the rule's own option said before it was asked. libwrap keeps that number for the rest of the process, so that
/// whatever else asks (`user@host`, `%u`, `rfc931` without a number) may wait as long as the largest of those that this daemon can get to.
fn ident(input: &Input<'_>, own_s: Option<u32>) -> (Option<u64>, String) {
    let longest = || longest_ident(input.tables, input.daemon, input.server.port);
    ident_told(own_s.map_or_else(longest, seconds_ns))
}

/// The longest that libwrap waits for an ident service by the rules that this daemon can get to.
fn longest_ident(tables: &Tables, daemon: &str, port: u16) -> u64 {
    options_of(tables, (daemon, port)).filter_map(rfc931).fold(IDENT_TIMEOUT_NS, u64::max)
}

/// The same for the worst check: where each rule that asks says a time of its own before it does, that of libwrap's beginning never counts.
fn worst_ident(tables: &Tables, daemon: &str, port: u16) -> u64 {
    let asks_without = rules_of(tables, (daemon, port)).any(|(table, entry)| {
        client_words(table.clients(&entry)).any(|word| word.user.is_some())
            || table.options(&entry).is_some_and(|options| {
                steps(options)
                    .map_while(Result::ok)
                    .find_map(|step| asks_without_time(&step))
                    .unwrap_or(false)
            })
    });
    if asks_without {
        return longest_ident(tables, daemon, port);
    }
    options_of(tables, (daemon, port)).filter_map(rfc931).max().unwrap_or(IDENT_TIMEOUT_NS)
}

/// Of an option that asks the ident service: whether it does so without a time of its own.
fn asks_without_time(step: &Step) -> Option<bool> {
    let value = step.value.as_deref().unwrap_or_default();
    match step.keyword {
        Keyword::Rfc931 => Some(rfc931_seconds(value).is_none()),
        // What a banner has is not known here.
        Keyword::Banners => Some(true),
        _ => (step.expand && value.windows(2).any(|pair| pair == b"%u")).then_some(true),
    }
}

/// Whether a rule that this daemon can get to runs a command that is waited for.
pub fn waits_for_commands(tables: &Tables, daemon: (&str, u16)) -> bool {
    let waits = |options| {
        steps(options)
            .map_while(Result::ok)
            .any(|step| is_waited_for(step.keyword, step.value.as_deref().unwrap_or_default()))
    };
    options_of(tables, daemon).any(waits)
}

/// The options of each rule that a daemon can get to.
fn options_of<'a>(tables: &'a Tables, daemon: (&str, u16)) -> impl Iterator<Item = &'a [u8]> {
    rules_of(tables, daemon).filter_map(|(table, entry)| table.options(&entry))
}

/// Each rule that a daemon can get to, and its table.
fn rules_of<'a>(tables: &'a Tables, (daemon, port): (&str, u16)) -> impl Iterator<Item = (&'a Table, Entry)> {
    [TableKind::Allow, TableKind::Deny]
        .into_iter()
        .map(|kind| tables.get(kind))
        .flat_map(|table| table.entries().map(move |entry| (table, entry)))
        .filter(move |(table, entry)| may_concern(table.daemons(entry), daemon, port))
}

fn ident_told(ns: u64) -> (Option<u64>, String) {
    let of = format!(
        "the client's port 113 for {}, longer where the server blocks SIGALRM (MySQL and MariaDB do)",
        Nanos(ns)
    );
    (Some(ns), of)
}

/// The time that a rule's `rfc931` option says, where it says one.
fn rfc931(options: &[u8]) -> Option<u64> {
    let step = steps(options).map_while(Result::ok).find(|step| step.keyword == Keyword::Rfc931)?;
    rfc931_seconds(step.value.as_deref()?).map(seconds_ns)
}

fn seconds_ns(seconds: u32) -> u64 {
    u64::from(seconds).saturating_mul(super::cost::SECOND_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wrappers::test_host::Host;

    #[test]
    fn other_daemons_ident_timeouts_are_not_this_ones() {
        let bound = |allow: &str| {
            let host = Host::new(allow.as_bytes(), b"ALL: ALL\n").asked_about(&[("10.9.0.21", None)]);
            sum(&host.lint().clients[0].waits)
        };
        assert_eq!(bound("sshd: ALL: rfc931 60\nmysqld: me@10.9.0.21\n"), Some(IDENT_TIMEOUT_NS));
        let own = bound("mysqld: 10.7.7.7: rfc931 60\nmysqld: me@10.9.0.21\n");
        assert_eq!(own, Some(60 * crate::wrappers::cost::SECOND_NS));
    }

    #[test]
    fn ident_takes_as_long_as_libwrap_has_been_told_before_it_asks() {
        let bound = |allow: &str| {
            let host = Host::new(allow.as_bytes(), b"ALL: ALL\n").asked_about(&[("10.9.0.21", None)]);
            sum(&host.lint().clients[0].waits).map(|ns| ns / crate::wrappers::cost::SECOND_NS)
        };
        assert_eq!(bound("mysqld: 10. : rfc931 3\n"), Some(3));
        assert_eq!(
            bound("mysqld: me@10. : rfc931 3\n"),
            Some(10),
            "the pattern asks before the option says a time"
        );
        assert_eq!(bound("mysqld: 10. : spawn echo %u & : rfc931 3\n"), Some(10));
        assert_eq!(
            bound("mysqld: 10.9. : rfc931\nmysqld: 10.7. : rfc931 60\n"),
            Some(60),
            "the number is kept"
        );
    }

    #[test]
    fn the_worst_ident_of_any_client_is_not_longer_than_the_rules_say() {
        let worst = |allow: &str| {
            let host = Host::new(allow.as_bytes(), b"");
            worst_ident(&host.tables, "mysqld", 3306) / crate::wrappers::cost::SECOND_NS
        };
        assert_eq!(
            worst("mysqld: 10. : rfc931 3\nmysqld: 11. : rfc931 2 : spawn echo %u &\nsshd: ALL: rfc931\n"),
            3
        );
        assert_eq!(worst("mysqld: 10. : rfc931 3\nmysqld: me@11.\n"), 10);
        assert_eq!(worst("mysqld: 10. : spawn echo %u & : rfc931 3\n"), 10);
        assert_eq!(worst("mysqld: 10. : rfc931 3\nmysqld: 11. : rfc931\n"), 10);
        assert_eq!(worst("mysqld: 10. : rfc931 30\nmysqld: 11. : rfc931\n"), 30);
    }

    #[test]
    fn a_command_that_is_waited_for_has_no_bound() {
        let waits = |allow: &str| {
            let host = Host::new(allow.as_bytes(), b"ALL: ALL\n").asked_about(&[("10.9.0.21", None)]);
            let client = host.lint().clients.remove(0);
            (client.waits.len(), client.worst_case_ns)
        };
        assert_eq!(waits("mysqld: 10. : spawn (sleep 60)\n"), (1, None));
        assert_eq!(waits("mysqld: 10. : aclexec /bin/true\n"), (1, None));
        assert_eq!(waits("mysqld: 10. : spawn (sleep 60) &\n"), (0, Some(0)));
        assert_eq!(waits("mysqld: 10. : twist /bin/echo\n"), (0, Some(0)));
    }
}
