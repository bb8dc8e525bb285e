//! A whole trace diagnosed: the summary, findings, what-if, and the connections that took longest. [`Diagnosis`] takes connections one by one and
//! keeps 80 bytes of each, and more of those with lookups of the server's own.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::context::Context as Facts;
use crate::model::{
    Client, Connection, Finding, KtimeNs, LookupKind, QueryOutcome, Severity, Summary, ThreadRole, WallTime,
    WhatIf,
};
use crate::trace::Head;

use super::closed_loop::ClosedLoop;
use super::findings::{self, Case, Detector, Seen};
use super::load::{Load, Stretch, longest_stretch};
use super::server::Server;
use super::what_if::{self, Circumstances};
use super::{headline, verdict};

/// What a report is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceInfo {
    /// The trace's head.
    #[serde(flatten)]
    pub head: Head,
    /// The file.
    pub file_name: String,
    /// Last moment.
    pub to: Option<WallTime>,
    /// Why the recording ended; null where the recorder did not end by itself.
    pub ended: Option<String>,
    /// What is missing from the file, a sentence each.
    pub damage: Vec<String>,
}

/// `report --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The trace's head and what became of the file.
    pub trace: TraceInfo,
    /// A paragraph for a tired person: what it was, how far it goes, what to do first.
    pub verdict: String,
    /// The summary.
    pub summary: Summary,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// What-if table of the busiest accept thread.
    pub what_if: Vec<WhatIf>,
    /// What its numbers do not say.
    pub what_if_caveats: Vec<String>,
    /// The connections and requests that took longest, longest first.
    pub connections: Vec<Connection>,
}

impl Report {
    /// What [`Self::connections`] are.
    pub const fn slowest(&self) -> &'static str {
        if self.summary.requests.count > 0 {
            "Slowest connections and requests"
        } else {
            "Slowest connections"
        }
    }

    /// The worst finding's severity.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// Takes connections and comes to a [`Report`].
#[derive(Debug)]
pub struct Diagnosis {
    detectors: Vec<Box<dyn Detector>>,
    load: Load,
    closed_loop: ClosedLoop,
    slowest: BTreeSet<(u64, Reverse<u64>)>,
    kept: Vec<Connection>,
    keep: usize,
    timeouts: bool,
    lookups: bool,
    own_lookups: bool,
    queue_known: u64,
    count: u64,
    first: Option<KtimeNs>,
    last: KtimeNs,
}

impl Diagnosis {
    /// One that keeps the `keep` connections that took longest.
    pub fn new(keep: usize) -> Self {
        Self {
            detectors: findings::detectors(),
            load: Load::default(),
            closed_loop: ClosedLoop::default(),
            slowest: BTreeSet::new(),
            kept: Vec::new(),
            keep,
            timeouts: false,
            lookups: false,
            own_lookups: false,
            queue_known: 0,
            count: 0,
            first: None,
            last: KtimeNs(0),
        }
    }

    /// Takes a connection.
    pub fn add(&mut self, connection: &Connection, facts: &Facts) {
        let accepted = connection.accepted_ktime;
        let client = connection.peer.and_then(Client::ip);
        let seen = Seen { connection, client, facts };
        for detector in &mut self.detectors {
            detector.see(&seen);
        }
        self.load.add(connection);
        self.closed_loop.add(connection, client);
        if connection.peer != Some(Client::Unix) {
            self.count += 1;
            self.queue_known += u64::from(connection.queued_ns.is_some());
        }
        self.own_lookups |= connection.resolve_ns > 0;
        for lookup in connection.lookups.iter().filter(|lookup| lookup.kind != LookupKind::Ident) {
            self.lookups |= lookup.thread != ThreadRole::Connection;
            self.timeouts |= lookup.queries.iter().any(|query| query.outcome == QueryOutcome::Timeout);
        }
        let began = KtimeNs(accepted.0.saturating_sub(connection.queued_ns.unwrap_or(0)));
        self.first = Some(self.first.map_or(began, |first| first.min(began)));
        self.last = self.last.max(accepted.plus(connection.wrapper_ns));
        self.keep_slowest(connection);
    }

    /// Takes a request.
    pub fn add_request(&mut self, request: &Connection, facts: &Facts) {
        let seen = Seen { connection: request, client: request.peer.and_then(Client::ip), facts };
        for detector in &mut self.detectors {
            detector.see_request(&seen);
        }
        self.own_lookups |= request.resolve_ns > 0;
        self.keep_slowest(request);
    }

    fn keep_slowest(&mut self, connection: &Connection) {
        let took = took_ns(connection);
        let key = (took, Reverse(connection.conn));
        if self.slowest.len() >= self.keep {
            match self.slowest.first() {
                Some(least) if *least < key => {
                    let Reverse(gone) = least.1;
                    let least = *least;
                    self.slowest.remove(&least);
                    self.kept.retain(|kept| kept.conn != gone);
                }
                _ => return,
            }
        }
        self.slowest.insert(key);
        self.kept.push(connection.clone());
    }

    /// The work of the accept threads, for drawing; complete after [`Self::finish`].
    pub const fn load(&self) -> &Load {
        &self.load
    }

    /// The report of a trace with so many connections in all. One that keeps none of the slowest can go on, and be asked again.
    /// `whole`: no filter chose among them, so that arrivals and services are those of the server.
    pub fn finish(
        &mut self,
        facts: &Facts,
        mut summary: Summary,
        file_name: &str,
        all: u64,
        whole: bool,
    ) -> Report {
        self.load.sort();
        let elapsed_ns = self.first.map_or(0, |first| self.last.since(first));
        let jobs = self.load.busiest().map_or(&[][..], |(_, _, jobs)| jobs);
        let stretch: Stretch = longest_stretch(jobs);
        let server = Server::of(facts);
        let case = Case { summary: &summary, facts, load: &self.load, stretch, elapsed_ns, server: &server };
        let findings = findings::tell(&self.detectors, &case);
        let (about, caveats) = self.circumstances(facts, &findings, elapsed_ns);
        let what_if = if whole { what_if::table(jobs, &about) } else { Vec::new() };
        let caveats = if whole {
            caveats
        } else {
            vec!["what-if needs all connections of the server; a filter chose among them".to_owned()]
        };
        let mut connections = std::mem::take(&mut self.kept);
        connections.sort_by_key(|connection| (Reverse(took_ns(connection)), connection.conn));
        self.slowest.clear();
        let none = self.first.is_none() && all > 0;
        let verdict =
            if none { verdict::of_nobody(all) } else { headline::headline(&summary, &findings, &what_if) };
        if none {
            summary.verdict.clone_from(&verdict);
        }
        Report {
            trace: TraceInfo {
                // What was found to be missing later on counts as well.
                head: Head { degradations: facts.degradations.clone(), ..facts.head.clone() },
                file_name: file_name.to_owned(),
                to: facts.to,
                ended: facts.end.as_ref().map(|end| end.reason.clone()),
                damage: facts.damages.iter().map(ToString::to_string).collect(),
            },
            verdict,
            summary,
            findings,
            what_if,
            what_if_caveats: caveats,
            connections,
        }
    }

    fn circumstances(
        &self,
        facts: &Facts,
        findings: &[Finding],
        elapsed_ns: u64,
    ) -> (Circumstances, Vec<String>) {
        use crate::model::FindingId::{FirstNameserverDead, NameserverSilent, QueueOverflow};
        let found = |id| findings.iter().any(|finding| finding.id == id);
        let mut caveats = Vec::new();
        let overflow = found(QueueOverflow);
        let no_waits = if self.queue_known.saturating_mul(20) < self.count.saturating_mul(19) {
            Some("waits are left out: when clients arrived is not known (the trace has no handshakes)")
        } else if overflow {
            Some("waits are left out: the accept queue overflowed, so clients came later than they wanted")
        } else if self.closed_loop.is_closed() {
            Some(
                "waits are left out: most clients came right after an earlier connection of theirs had ended, so a faster server would have had more of them",
            )
        } else {
            None
        };
        match no_waits {
            Some(why) => caveats.push(why.to_owned()),
            None => caveats.push(
                "waits are queue, check and the server's own lookups, for the arrivals seen: a server that stalls throttles its own arrivals".to_owned(),
            ),
        }
        if elapsed_ns < 1_000_000_000 {
            caveats.push("the trace is too short to say how busy the accept thread is".to_owned());
        }
        if self.load.threads() > 1 {
            caveats.push(format!(
                "there are {} accept threads; this is the one that checked longest",
                self.load.threads()
            ));
        }
        if self.load.beyond > 0 {
            caveats.push(format!("the last {} connections are not in it", self.load.beyond));
        }
        if self.timeouts {
            caveats
                .push("with short timeouts more lookups fail, and name rules then do not match".to_owned());
        }
        if facts.head.origin == crate::trace::Origin::Strace {
            caveats.push("strace slowed the server down: without it every ceiling is higher".to_owned());
        }
        let about = Circumstances {
            no_waits: no_waits.map(str::to_owned),
            dead_nameserver: found(FirstNameserverDead) || found(NameserverSilent),
            timeouts: self.timeouts,
            lookups: self.lookups,
            own_lookups: self.own_lookups,
            skip_name_resolve: self.own_lookups && Server::of(facts).is_mysqld,
            handover_ns: self.load.handover_ns(),
            elapsed_ns,
        };
        (about, caveats)
    }
}

/// How long its client waited.
pub fn took_ns(connection: &Connection) -> u64 {
    let told = connection.queued_ns.unwrap_or(0).saturating_add(connection.wrapper_ns);
    // What a socket is kept after libwrap has said no is nobody's wait for an answer.
    let total = connection.total_ns.unwrap_or(0).saturating_sub(connection.held_ns.unwrap_or(0));
    total.max(connection.waited_ns).max(told)
}
