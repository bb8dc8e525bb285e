//! How long a check's lookups can take at worst, and of what that consists.
//!
//! A nameserver that answers at the last moment costs as much as one that keeps silent, and the lookup goes on: so the worst check waits out every
//! question of both lookups, the forward one for the name itself and with each domain of the search list. Over UDP; an answer that was cut sends the
//! question over TCP, where glibc has no time-out of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cost::{IDENT_TIMEOUT_NS, Resolver, Wanted};
use super::evaluate::{Lookup, LookupKind, Place, Subject};
use super::inet;
use super::lint::{Input, UNLISTED};
use super::options::{Keyword, lossy, steps};
use super::problems::may_concern;
use super::table::TableKind;
use crate::model::Nanos;

/// One lookup of a check and the longest that it can take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LintWait")]
pub struct Wait {
    /// Which lookup.
    pub lookup: LookupKind,
    /// The longest that it takes; null where nothing that is known here bounds it.
    pub ns: Option<u64>,
    /// Of what that consists.
    pub of: String,
}

/// The waits of a check's lookups, in order.
pub(super) fn waits(
    input: &Input<'_>,
    resolver: &Resolver<'_>,
    client: (std::net::IpAddr, &str),
    lookups: &[Lookup],
) -> Vec<Wait> {
    let one = |lookup: &Lookup| {
        let (address, name) = match lookup.subject {
            Subject::Client => client,
            Subject::Server => (input.server.address, UNLISTED),
        };
        let address = address.to_canonical();
        let (ns, of) = match lookup.kind {
            LookupKind::Ident => ident(input, lookup.place),
            LookupKind::Netgroup => (
                None,
                format!(
                    "netgroup {}: as long as the services of nsswitch.conf's netgroup line take",
                    lookup.question
                ),
            ),
            LookupKind::Reverse => resolver.bound(Wanted::Reverse, input.hosts.reverse(address).is_some()),
            LookupKind::Forward => {
                let ipv6 = address.is_ipv6();
                resolver.bound(Wanted::Forward { name, ipv6 }, input.hosts.forward(name, ipv6).is_some())
            }
        };
        Wait { lookup: lookup.kind, ns, of }
    };
    lookups.iter().map(one).collect()
}

/// All of them together; none where one of them has no bound.
pub(super) fn sum(waits: &[Wait]) -> Option<u64> {
    waits.iter().try_fold(0u64, |sum, wait| Some(sum.saturating_add(wait.ns?)))
}

/// The client's ident service, as long as the option that asks for it says. libwrap keeps that number for the rest of the process, so that a
/// `user@host` pattern may wait as long as the largest of those that this daemon can get to.
fn ident(input: &Input<'_>, place: Option<Place>) -> (Option<u64>, String) {
    let tables = input.tables;
    let own = place.and_then(|place| {
        let table = tables.get(place.table);
        rfc931(table.options(table.entry_at(place.line)?)?)
    });
    let seconds = own.or_else(|| {
        [TableKind::Allow, TableKind::Deny]
            .into_iter()
            .flat_map(|kind| tables.get(kind).entries().iter().map(move |entry| (kind, entry)))
            .filter(|(kind, entry)| {
                may_concern(tables.get(*kind).daemons(entry), input.daemon, input.server.port)
            })
            .filter_map(|(kind, entry)| rfc931(tables.get(kind).options(entry)?))
            .max()
    });
    let ns = match (own, seconds) {
        (Some(own), _) => own,
        (None, Some(other)) => other.max(IDENT_TIMEOUT_NS),
        (None, None) => IDENT_TIMEOUT_NS,
    };
    (
        Some(ns),
        format!(
            "the client's port 113 for {}, longer where the server blocks SIGALRM (MySQL and MariaDB do)",
            Nanos(ns)
        ),
    )
}

/// The time of a rule's `rfc931` option.
fn rfc931(options: &[u8]) -> Option<u64> {
    let step = steps(options).map_while(Result::ok).find(|step| step.keyword == Keyword::Rfc931)?;
    let seconds = step.value.as_deref().and_then(|value| inet::scan_signed(lossy(value).as_bytes()));
    let ns = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|&seconds| seconds > 0);
    Some(ns.map_or(IDENT_TIMEOUT_NS, |seconds| seconds.saturating_mul(super::cost::SECOND_NS)))
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
}
