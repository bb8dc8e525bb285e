//! What is supposed to have been otherwise, and how long each check and the server's own lookups would then have taken.

use std::collections::BTreeSet;

use crate::model::{Connection, Lookup, LookupKind, QueryOutcome, Scenario, ThreadRole};

/// Rows of the table, in order.
pub const SCENARIOS: [Scenario; 8] = [
    Scenario::AsItWas,
    Scenario::DeadNameserverRemoved,
    Scenario::ShortTimeouts,
    Scenario::LocalCache,
    Scenario::ClientsInHosts,
    Scenario::AddressRules,
    Scenario::WrappersOff,
    Scenario::SkipNameResolve,
];

/// What a cache on the same machine takes for an answer.
const CACHE_NS: u64 = 1_000_000;
/// With `timeout:1` glibc waits a second for each server (max(1 s, `timeout` << i, divided by the number of servers for i > 0)).
const SHORT_WAIT_NS: u64 = 1_000_000_000;

/// A duration for each scenario.
pub type Durations = [f32; SCENARIOS.len()];

/// What some lookups come to: of a check, or the server's own.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    lookups: u64,
    /// Time-outs of nameservers though another one answered.
    in_vain_ns: u64,
    saved_by_short_timeouts_ns: u64,
}

impl Asked {
    /// Of those that the server made itself, or of those in the check.
    fn of(connection: &Connection, own: bool) -> Self {
        let mut asked = Self::default();
        let lookups = connection
            .lookups
            .iter()
            .filter(|l| (l.thread == ThreadRole::Connection) == own && l.kind != LookupKind::Ident);
        for lookup in lookups {
            asked.lookups += 1;
            asked.in_vain_ns = asked.in_vain_ns.saturating_add(waited_in_vain(lookup));
            let saved = saved_by_short_timeouts(lookup);
            asked.saved_by_short_timeouts_ns = asked.saved_by_short_timeouts_ns.saturating_add(saved);
        }
        asked
    }

    /// What is left of `dns_ns` spent on them; `None` where the scenario is not about lookups.
    fn left(&self, scenario: Scenario, dns_ns: u64) -> Option<u64> {
        match scenario {
            Scenario::DeadNameserverRemoved => Some(dns_ns - self.in_vain_ns.min(dns_ns)),
            Scenario::ShortTimeouts => Some(dns_ns - self.saved_by_short_timeouts_ns.min(dns_ns)),
            Scenario::LocalCache => Some(CACHE_NS.saturating_mul(self.lookups).min(dns_ns)),
            Scenario::ClientsInHosts => Some(0),
            _ => None,
        }
    }
}

/// The check's length in each scenario.
pub fn checks(connection: &Connection) -> Durations {
    let wrapper = connection.wrapper_ns;
    let dns = connection.parts.dns_ns.min(wrapper);
    let ident = connection.parts.ident_ns;
    let asked = Asked::of(connection, false);
    SCENARIOS.map(|scenario| {
        float(match scenario {
            Scenario::WrappersOff => 0,
            Scenario::AddressRules => wrapper.saturating_sub(dns.saturating_add(ident)),
            other => wrapper - dns + asked.left(other, dns).unwrap_or(dns),
        })
    })
}

/// What the server's own lookups take in each scenario; `None` where there are none.
pub fn own_lookups(connection: &Connection) -> Option<Box<Durations>> {
    let own = connection.resolve_ns;
    let asked = Asked::of(connection, true);
    let of = |scenario| match scenario {
        Scenario::SkipNameResolve => 0,
        other => asked.left(other, own).unwrap_or(own),
    };
    (own > 0).then(|| Box::new(SCENARIOS.map(|scenario| float(of(scenario)))))
}

/// A duration as a whole number of nanoseconds; nothing for what is none.
pub(super) fn whole(ns: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and NaN is 0")]
    let ns = ns as u64;
    ns
}

#[expect(clippy::cast_precision_loss, reason = "seven digits of a duration are enough here")]
pub(super) const fn float(ns: u64) -> f32 {
    ns as f32
}

/// Time-outs of a lookup that another server answered after all.
fn waited_in_vain(lookup: &Lookup) -> u64 {
    let Some(last) = lookup.queries.iter().rposition(|query| query.outcome == QueryOutcome::Answered) else {
        return 0;
    };
    let answered = lookup.queries.get(last).map(|query| &query.server);
    let before = lookup.queries.get(..last).unwrap_or_default();
    before
        .iter()
        .filter(|query| query.outcome == QueryOutcome::Timeout && Some(&query.server) != answered)
        .filter_map(|query| query.rtt_ns)
        .fold(0, u64::saturating_add)
}

/// What one round of one second for each server would have saved.
fn saved_by_short_timeouts(lookup: &Lookup) -> u64 {
    let mut asked: BTreeSet<(&str, Option<&str>, Option<&str>)> = BTreeSet::new();
    let mut saved = 0_u64;
    for query in &lookup.queries {
        let waited = query.rtt_ns.unwrap_or(0);
        let key = (&*query.server, query.qname.as_deref(), query.qtype.as_deref());
        let first_round = asked.insert(key);
        let kept = if first_round { waited.min(SHORT_WAIT_NS) } else { 0 };
        saved = saved.saturating_add(waited - kept);
    }
    saved
}
