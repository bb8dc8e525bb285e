//! Nameservers that are silent, slow or refuse; and the first one dead, which costs every lookup its time-out.

use std::collections::BTreeMap;

use crate::model::{
    Evidence, Finding, FindingId, LookupKind, NameserverStats, Nanos, QueryOutcome, Severity, Share,
    UNKNOWN_SERVER,
};
use crate::wrappers::ResolvConf;

use super::super::verdict::bare;
use super::support::{Proof, counted, finding};
use super::{Case, Detector, Seen};

/// Servers told apart.
const SERVERS_MAX: usize = 64;
/// A median from here on is slow for a nameserver of one's own.
const SLOW_P50_NS: u64 = 20_000_000;
/// A 99th percentile from here on is.
const SLOW_P99_NS: u64 = 200_000_000;
/// Fewer queries prove nothing.
const QUERIES_MIN: u64 = 3;

#[derive(Debug, Default)]
struct Server {
    timeouts: Proof,
    refusals: Proof,
    slow: Proof,
    /// `REFUSED`, `SERVFAIL`, …, and how often.
    rcodes: BTreeMap<String, u64>,
    /// Lookups of several servers that began with it.
    asked_first: u64,
    /// Lookups of several servers that came to it later.
    asked_later: u64,
}

#[derive(Debug, Default)]
pub(super) struct Nameservers {
    servers: BTreeMap<String, Server>,
}

impl Nameservers {
    fn server(&mut self, name: &str) -> Option<&mut Server> {
        if !self.servers.contains_key(name) {
            if self.servers.len() >= SERVERS_MAX {
                return None;
            }
            self.servers.insert(name.to_owned(), Server::default());
        }
        self.servers.get_mut(name)
    }
}

impl Detector for Nameservers {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        for lookup in connection.lookups.iter().filter(|lookup| lookup.kind != LookupKind::Ident) {
            let first = lookup.queries.first().map(|query| &*query.server);
            let several = lookup.queries.iter().any(|query| Some(&*query.server) != first);
            for (index, query) in lookup.queries.iter().enumerate() {
                let Some(server) = self.server(&query.server) else { continue };
                let waited = query.rtt_ns.unwrap_or(0);
                if several {
                    server.asked_first += u64::from(index == 0);
                    server.asked_later += u64::from(Some(&*query.server) != first);
                }
                match query.outcome {
                    QueryOutcome::Timeout => server.timeouts.add(connection, waited),
                    QueryOutcome::Unreachable => server.refusals.add(connection, waited),
                    QueryOutcome::Answered => {
                        server.slow.add(connection, waited);
                        let rcode = query.rcode.as_deref().unwrap_or("NOERROR");
                        if matches!(rcode, "REFUSED" | "SERVFAIL" | "NOTIMP" | "FORMERR") {
                            *server.rcodes.entry(rcode.to_owned()).or_default() += 1;
                            server.refusals.add(connection, waited);
                        }
                    }
                    QueryOutcome::Unseen => {}
                }
            }
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let conf = case.facts.targets.iter().find_map(|target| case.facts.resolv_conf(target.pid));
        let mut findings = Vec::new();
        for stats in &case.summary.nameservers {
            // One whose address is not in the trace cannot be blamed by name, nor be replaced.
            if stats.server == UNKNOWN_SERVER {
                continue;
            }
            let Some(server) = self.servers.get(&stats.server) else { continue };
            let about = About { stats, server, conf: conf.as_ref(), case };
            let silent = about.silent();
            // Of one that is both, what cost more is the cause.
            let slow = about.slow() && (!silent || server.slow.sum > server.timeouts.sum);
            if slow {
                findings.push(about.tell_slow());
            }
            if silent {
                findings.push(about.tell_silent(slow));
            }
            if server.refusals.count > 0 {
                findings.push(about.tell_refusing());
            }
        }
        findings
    }
}

/// One server and what is known around it.
struct About<'a> {
    stats: &'a NameserverStats,
    server: &'a Server,
    conf: Option<&'a ResolvConf>,
    case: &'a Case<'a>,
}

impl About<'_> {
    /// It never answered, or misses so many that waiting for it is the rule.
    fn silent(&self) -> bool {
        let NameserverStats { timeouts, answered, .. } = self.stats;
        *timeouts > 0 && (*answered == 0 || timeouts.saturating_mul(20) >= *answered)
    }

    fn slow(&self) -> bool {
        let rtt = &self.stats.rtt;
        rtt.count >= QUERIES_MIN && (rtt.p50_ns >= SLOW_P50_NS || rtt.p99_ns >= SLOW_P99_NS)
    }

    fn name(&self) -> &str {
        bare(&self.stats.server)
    }

    /// Critical where it explains most of the wait, and clients noticed.
    fn severity(&self) -> Severity {
        let waiting = self.case.summary.waiting.total_ns;
        let most = Share::of(self.stats.explained_ns, waiting).0 >= 0.5;
        if most && self.case.summary.total.max_ns >= 500_000_000 {
            Severity::Critical
        } else {
            Severity::Warning
        }
    }

    fn share(&self) -> String {
        let waiting = self.case.summary.waiting.total_ns;
        format!("it explains {} of all waiting", Share::of(self.stats.explained_ns, waiting))
    }

    fn evidence(&self, proof: &Proof, facts: Vec<String>) -> Evidence {
        Evidence { server: Some(self.stats.server.clone()), ..proof.evidence(facts) }
    }

    /// By resolv.conf, else by the order in which lookups asked.
    fn first(&self) -> bool {
        match self.conf {
            Some(conf) => conf.nameservers.first().is_some_and(|first| first.to_string() == self.name()),
            None => self.server.asked_first > 0 && self.server.asked_later == 0,
        }
    }

    fn others_answer(&self) -> Option<&str> {
        let others = self.case.summary.nameservers.iter().filter(|other| other.server != self.stats.server);
        others.filter(|other| other.answered > 0).map(|other| bare(&other.server)).next()
    }

    /// `slower`: its answers cost more than its silence.
    fn tell_silent(&self, slower: bool) -> Finding {
        let NameserverStats { queries, timeouts, answered, .. } = *self.stats;
        let (name, each) = (self.name(), Nanos(self.server.timeouts.mean()));
        let mut facts = vec![
            format!(
                "{}, {answered} answered, {timeouts} timed out, {each} each in the mean",
                counted(queries, "query").replace("querys", "queries")
            ),
            if slower { "its slow answers cost more than that".to_owned() } else { self.share() },
        ];
        if let Some(conf) = self.conf {
            let listed: Vec<String> = conf.nameservers.iter().map(ToString::to_string).collect();
            facts.push(format!(
                "resolv.conf: nameservers {}, timeout:{} attempts:{}",
                listed.join(", "),
                conf.timeout_s,
                conf.attempts
            ));
        } else {
            facts.push("resolv.conf is not in the trace; the order is that of the queries".to_owned());
        }
        let evidence = self.evidence(&self.server.timeouts, facts);
        let severity = if slower { Severity::Warning } else { self.severity() };
        let (never, lookup) = if answered == 0 {
            ("never answers".to_owned(), "every lookup")
        } else {
            (format!("left {timeouts} of {queries} queries unanswered"), "such a lookup")
        };
        match self.others_answer().filter(|_| self.first()) {
            Some(other) => finding(
                FindingId::FirstNameserverDead,
                severity,
                format!(
                    "The first nameserver, {name}, {never}: {lookup} waits {each} for it before {other} is asked."
                ),
                evidence,
                Some(format!(
                    "In /etc/resolv.conf delete the line `nameserver {name}` (or move it behind `nameserver {other}`), and add `options timeout:1 attempts:1` \
                     against the next time. mysqld reads the file again by itself where its libc does (glibc from 2.26); restart it otherwise."
                )),
            ),
            None => finding(
                FindingId::NameserverSilent,
                severity,
                format!("Nameserver {name} {never}: a lookup waits {each} for it."),
                evidence,
                Some(format!(
                    "In /etc/resolv.conf replace `nameserver {name}` by a server that answers, first of all by a cache on this machine, and add `options timeout:1 \
                     attempts:1`; or find out why {name} does not answer this host (a firewall on UDP port 53?)."
                )),
            ),
        }
    }

    fn tell_slow(&self) -> Finding {
        let rtt = &self.stats.rtt;
        let name = self.name();
        let facts = vec![
            format!(
                "{} answers, p50 {}, p99 {}, max {}",
                rtt.count,
                Nanos(rtt.p50_ns),
                Nanos(rtt.p99_ns),
                Nanos(rtt.max_ns)
            ),
            self.share(),
        ];
        finding(
            FindingId::NameserverSlow,
            self.severity(),
            format!("Nameserver {name} is slow: half of its answers take {} or more.", Nanos(rtt.p50_ns)),
            self.evidence(&self.server.slow, facts),
            Some(format!(
                "Run a cache on this machine (unbound, dnsmasq, systemd-resolved) that forwards to {name}, and put it first in /etc/resolv.conf \
                 (`nameserver 127.0.0.1`); or find out what {name} itself waits for."
            )),
        )
    }

    fn tell_refusing(&self) -> Finding {
        let name = self.name();
        let mut facts: Vec<String> =
            self.server.rcodes.iter().map(|(rcode, n)| format!("{rcode} {n} times")).collect();
        if self.stats.unreachable > 0 {
            facts.push(format!("unreachable {} times (ICMP, or a refused connect)", self.stats.unreachable));
        }
        let message = format!(
            "Nameserver {name} refuses or fails: {} got no usable answer from it.",
            counted(self.server.refusals.count, "query").replace("querys", "queries")
        );
        let change = format!(
            "Make {name} answer for this host and these names (is it running, does it allow recursion from here, does its zone load?), or delete `nameserver \
             {name}` from /etc/resolv.conf."
        );
        finding(
            FindingId::NameserverRefusing,
            Severity::Warning,
            message,
            self.evidence(&self.server.refusals, facts),
            Some(change),
        )
    }
}
