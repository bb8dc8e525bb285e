//! What several detectors need.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::model::{
    Connection, Evidence, Finding, FindingId, KtimeNs, Lookup, LookupKind, Nanos, RuleRef, Severity,
    ThreadRole,
};

use super::Seen;

/// Connections named as proof.
const NAMED_MAX: usize = 5;
/// Addresses told apart.
const CLIENTS_MAX: usize = 4096;
/// Addresses named in a sentence.
const LISTED_MAX: usize = 6;

/// Connections that show a finding: how many, and those that show it most.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof {
    pub count: u64,
    pub sum: u64,
    pub max: u64,
    worst: Vec<(u64, u64)>,
}

impl Proof {
    /// Takes a connection that shows it with this weight.
    pub(super) fn add(&mut self, connection: &Connection, weight: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(weight);
        self.max = self.max.max(weight);
        if let Some(known) = self.worst.iter().position(|&(_, conn)| conn == connection.conn) {
            if self.worst.get(known).is_some_and(|&(known, _)| known >= weight) {
                return;
            }
            self.worst.remove(known);
        }
        let at = self.worst.partition_point(|&(known, _)| known >= weight);
        if at < NAMED_MAX {
            self.worst.insert(at, (weight, connection.conn));
            self.worst.truncate(NAMED_MAX);
        }
    }

    pub(super) fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }

    pub(super) fn evidence(&self, facts: Vec<String>) -> Evidence {
        let connections = self.worst.iter().map(|(_, conn)| *conn).collect();
        Evidence { facts, count: self.count, connections, server: None, rule: None, names: Vec::new() }
    }
}

/// Stretches of time, of which it is asked how many there were at once; the newest.
#[derive(Debug, Default)]
pub(super) struct AtOnce(VecDeque<(KtimeNs, KtimeNs)>);

impl AtOnce {
    /// Stretches remembered.
    const MOST: usize = 4096;

    pub(super) fn add(&mut self, from: KtimeNs, to: KtimeNs) {
        if self.0.len() >= Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((from, to));
    }

    /// How many lasted at this time.
    pub(super) fn at(&self, at: KtimeNs) -> usize {
        self.0.iter().filter(|(from, to)| (from..to).contains(&&at)).count()
    }

    /// How many there were when there were most.
    pub(super) fn most(&self) -> usize {
        let mut ends: Vec<(KtimeNs, bool)> =
            self.0.iter().flat_map(|&(from, to)| [(from, true), (to, false)]).collect();
        // What ends when another begins is over.
        ends.sort_unstable();
        let (mut now, mut most) = (0_usize, 0);
        for (_, begins) in ends {
            now = if begins { now.saturating_add(1) } else { now.saturating_sub(1) };
            most = most.max(now);
        }
        most
    }
}

/// A finding about a rule or nothing in particular.
pub(super) fn finding(
    id: FindingId,
    severity: Severity,
    message: String,
    evidence: Evidence,
    change: Option<String>,
) -> Finding {
    Finding { id, severity, message, evidence, change }
}

/// Distinct clients with something of each, mostly a text; capped.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients<T = String> {
    known: BTreeMap<IpAddr, T>,
    pub more: bool,
}

impl<T> Clients<T> {
    pub(super) fn add(&mut self, client: IpAddr, text: impl FnOnce() -> T) {
        if self.known.contains_key(&client) {
            return;
        }
        if self.known.len() >= CLIENTS_MAX {
            self.more = true;
            return;
        }
        self.known.insert(client, text());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&IpAddr, &T)> {
        self.known.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// `10.77.0.1, 10.77.0.2 and 18 more`
    pub(super) fn list(&self) -> String {
        let named: Vec<String> = self.known.keys().take(LISTED_MAX).map(ToString::to_string).collect();
        let rest = self.known.len().saturating_sub(named.len());
        let many = if self.more { "many" } else { "" };
        match rest {
            0 => named.join(", "),
            n if many.is_empty() => format!("{} and {n} more", named.join(", ")),
            _ => format!("{} and {many} more", named.join(", ")),
        }
    }
}

/// Whether a path is one of a target's two tables: by what is known of the target, else by the usual names.
pub(super) fn is_table(seen: &Seen<'_>, path: &str) -> bool {
    let target = seen.facts.target_by_pid(seen.connection.pid);
    let known = target.into_iter().flat_map(|target| [&target.allow_table, &target.deny_table]).flatten();
    let mut known = known.map(String::as_str).peekable();
    if known.peek().is_none() {
        return path.ends_with("/hosts.allow") || path.ends_with("/hosts.deny");
    }
    known.any(|table| table == path)
}

/// Whether a table is the one with whom to refuse.
pub(super) fn is_deny_table(seen: &Seen<'_>, path: &str) -> bool {
    let known = seen.facts.target_by_pid(seen.connection.pid).and_then(|target| target.deny_table.as_deref());
    known.map_or_else(|| path.ends_with("/hosts.deny"), |deny| deny == path)
}

/// Lookups of names inside the check.
pub(super) fn in_check(connection: &Connection) -> impl Iterator<Item = &Lookup> {
    connection
        .lookups
        .iter()
        .filter(|lookup| lookup.thread != ThreadRole::Connection && lookup.kind != LookupKind::Ident)
}

/// `hosts.allow:2`
pub(super) fn at(rule: &RuleRef) -> String {
    let base = rule.file.rsplit('/').next().unwrap_or(&rule.file);
    format!("{base}:{}", rule.line)
}

/// ``hosts.allow:2 `mysqld: .corp.example` ``
pub(super) fn quoted(rule: &RuleRef) -> String {
    match &rule.text {
        Some(text) => format!("{} `{text}`", at(rule)),
        None => at(rule),
    }
}

/// `1 client`, `2 clients`
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// `20 checks, 602 ms each on average, the longest 603 ms`
pub(super) fn spread(proof: &Proof, one: &str, many: &str) -> String {
    let (mean, max) = (Nanos(proof.mean()), Nanos(proof.max));
    if proof.count == 1 {
        return format!("1 {one}, {max}");
    }
    format!("{}, {mean} each on average, the longest {max}", counted(proof.count, one, many))
}

/// Addresses that are somebody's own to name: RFC 1918, RFC 6598, RFC 4193, link-local and loopback ones.
pub(super) fn is_own(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// Name of an address's PTR record, RFC 1035 3.5 and RFC 3596 2.5.
pub(super) fn ptr_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let labels: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            labels + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ptr_names_are_as_the_resolver_asks_for_them() {
        assert_eq!(ptr_name("10.77.0.1".parse().unwrap()), "1.0.77.10.in-addr.arpa");
        let v6 = ptr_name("2001:db8::1".parse().unwrap());
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
    }
}
