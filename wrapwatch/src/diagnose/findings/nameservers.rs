//! Nameservers that are silent, slow or refuse; and the first one dead, which costs every lookup its time-out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::{
    Connection, Evidence, Finding, FindingId, LookupKind, NameserverStats, Nanos, QueryOutcome, Severity,
    Share, UNKNOWN_SERVER,
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
/// Names told apart of one server.
const NAMES_MAX: usize = 512;
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
    /// How its answers were by name; beyond the limit they are not told apart.
    names: BTreeMap<String, Answers>,
    names_beyond: bool,
}

/// One name's answers.
#[derive(Debug, Default)]
struct Answers {
    count: u64,
    slow: u64,
    proof: Proof,
}

impl Server {
    fn answered(&mut self, name: &str, connection: &Connection, waited: u64) {
        if self.names.len() >= NAMES_MAX && !self.names.contains_key(name) {
            self.names_beyond = true;
            return;
        }
        let answers = self.names.entry(name.to_owned()).or_default();
        answers.count += 1;
        answers.slow += u64::from(waited >= SLOW_P50_NS);
        answers.proof.add(connection, waited);
    }

    /// The names that are slow while all others are answered at once: then it is not the server that is slow.
    fn slow_names(&self) -> Vec<(&String, &Answers)> {
        let (slow, others): (Vec<_>, Vec<_>) =
            self.names.iter().partition(|(_, answers)| answers.slow.saturating_mul(2) > answers.count);
        let (late, all) = others.iter().fold((0, 0), |(late, all), (_, a)| (late + a.slow, all + a.count));
        let few = slow.len().saturating_mul(4) <= self.names.len();
        if self.names_beyond || !few || late * 20 > all { Vec::new() } else { slow }
    }
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
                        let name = query.qname.as_deref().or(lookup.name.as_deref()).unwrap_or_default();
                        server.answered(name, connection, waited);
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

    fn see_request(&mut self, seen: &Seen<'_>) {
        self.see(seen);
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
            let names = server.slow_names();
            if slow && stats.rtt.p50_ns < SLOW_P50_NS && !names.is_empty() {
                findings.push(about.tell_slow_names(&names));
            } else if slow {
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
                "{}, {answered} answered, {timeouts} timed out, {each} each on average",
                counted(queries, "query", "queries")
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
                    "In /etc/resolv.conf delete the line `nameserver {name}` (or move it below `nameserver {other}`), and add `options timeout:1 attempts:1` so that the next dead one costs less. With glibc 2.26 or later {} reads the file again by itself; otherwise restart it.",
                    self.case.server.name
                )),
            ),
            None if self.is_local() => finding(
                FindingId::NameserverSilent,
                severity,
                format!("Nameserver {name} {never}: a lookup waits {each} for it."),
                evidence,
                Some(format!(
                    "{name} is a cache on this machine: is it running (`ss -lnup 'sport = 53'`), and does its upstream answer (`resolvectl status` for \
                     systemd-resolved, else `forward` in its configuration)? Add `options timeout:1 attempts:1` to /etc/resolv.conf so that the next outage costs less."
                )),
            ),
            None => finding(
                FindingId::NameserverSilent,
                severity,
                format!("Nameserver {name} {never}: a lookup waits {each} for it."),
                evidence,
                Some(format!(
                    "In /etc/resolv.conf replace `nameserver {name}` by a server that answers, preferably by a cache on this machine, and add `options timeout:1 \
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
        let how = if rtt.p50_ns >= SLOW_P50_NS {
            format!("half of its answers take {} or more", Nanos(rtt.p50_ns))
        } else {
            format!("one answer in a hundred takes {} or more", Nanos(rtt.p99_ns))
        };
        let change = if self.is_local() {
            format!(
                "{name} is a cache on this machine that waits for its upstream: find out which that is (`resolvectl status` for systemd-resolved, else `forward` in its configuration), and replace it by a faster one, or find out what it waits for."
            )
        } else {
            format!(
                "Run a cache on this machine (unbound, dnsmasq, systemd-resolved) that forwards to {name}, and put it first in /etc/resolv.conf \
                 (`nameserver 127.0.0.1`); or find out what {name} itself waits for."
            )
        };
        finding(
            FindingId::NameserverSlow,
            self.severity(),
            format!("Nameserver {name} is slow: {how}."),
            self.evidence(&self.server.slow, facts),
            Some(change),
        )
    }

    /// It answers everything else at once.
    fn tell_slow_names(&self, names: &[(&String, &Answers)]) -> Finding {
        let name = self.name();
        let Some((worst, answers)) = names.iter().max_by_key(|(_, answers)| answers.proof.sum) else {
            return self.tell_slow();
        };
        let others = self.stats.rtt.count.saturating_sub(names.iter().map(|(_, a)| a.count).sum());
        let more = match names.len() - 1 {
            0 => String::new(),
            n => format!(" (and {} like it)", counted(n as u64, "name", "names")),
        };
        let message = format!(
            "The name {worst}{more} is slow, {} each on average; nameserver {name} is not: it answers others in {}.",
            Nanos(answers.proof.mean()),
            Nanos(self.stats.rtt.p50_ns)
        );
        let mut facts: Vec<String> = names
            .iter()
            .take(4)
            .map(|(slow, a)| {
                format!(
                    "{slow}: {} of {} answers late, the latest after {}",
                    a.slow,
                    a.count,
                    Nanos(a.proof.max)
                )
            })
            .collect();
        facts.push(format!(
            "{} of other names, p50 {}",
            counted(others, "answer", "answers"),
            Nanos(self.stats.rtt.p50_ns)
        ));
        facts.push(self.share());
        let told = names.iter().map(|(name, _)| (*name).clone()).collect();
        let change = format!(
            "Find out who answers for {worst} (`dig +trace {worst}`): its zone's servers, or the upstream that {name} asks for it, are slow or dead. Until then put these clients into /etc/hosts."
        );
        finding(
            FindingId::NameSlow,
            self.severity(),
            message,
            Evidence { names: told, ..self.evidence(&answers.proof, facts) },
            Some(change),
        )
    }

    /// It is on this machine: another cache in front of it would be the same again.
    fn is_local(&self) -> bool {
        self.name().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
            counted(self.server.refusals.count, "query", "queries")
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
