//! Connections → a summary, in memory that does not grow with their number.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;

use crate::context::{Context, Losses};
use crate::model::{
    AcceptThreadStats, Client, ClockPair, Connection, DegradationKind, KtimeNs, Missing, NameserverStats,
    Outcome, OutcomeCount, Percentiles, QueryOutcome, StallCause, Summary, ThreadRole, UnknownReason,
    UnknownTotal, Waiting, WallTime,
};

use super::handover::{Handover, ceiling_per_s};
use super::load::checked_elsewhere;
use super::server;
use super::verdict::{self, Facts};
use super::waiting;

/// Nameservers told apart; the rest are one.
const SERVERS_MAX: usize = 64;
/// Name of the rest.
const OTHER_SERVERS: &str = "other servers";
/// Accept threads told apart.
const THREADS_MAX: usize = 64;
/// Error codes told apart.
const ERRORS_MAX: usize = 64;
/// Longest duration that percentiles tell apart, an hour; maximum and sum are exact.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// What the connections do not show: the kernel side's counts, and which server it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepts, counted beside the ring.
    pub accepts: u64,
    /// Events lost, of all kinds.
    pub lost: u64,
    /// Accept records lost.
    pub lost_accepts: u64,
    /// Connections that there was no room to follow.
    pub untracked: u64,
    /// Connections that began before the trace (`correlate::Stats::seeded`).
    pub began_before: u64,
    /// Questions to libwrap that there was no room to follow (`correlate::Stats::unowned_checks`).
    pub unowned_checks: u64,
    /// Clients in accept queues by the last sample; null where queues were not sampled.
    pub queued: Option<u32>,
    /// The server is not mysqld: it may have no connection threads.
    pub other_server: bool,
    /// Who asked libwrap otherwise than for a connection is not seen.
    pub checks_unseen: bool,
}

impl Counts {
    /// What inputs and losses say; `accepts` where the kernel side has not counted them.
    pub fn of(facts: &Context, losses: &Losses, accepts: u64) -> Self {
        Self {
            accepts: facts.counters.get("accepts").copied().unwrap_or(accepts),
            lost: losses.events(&facts.counters),
            lost_accepts: losses.accepts(&facts.counters),
            untracked: losses.untracked(&facts.counters),
            queued: facts.queue.fullest_at_end(),
            other_server: !server::Server::of(facts).is_mysqld,
            checks_unseen: facts.degradations.iter().any(|lost| lost.kind == DegradationKind::ChecksUnseen),
            ..Self::default()
        }
    }
}

/// One duration's distribution.
#[derive(Clone, Debug)]
struct Spread {
    histogram: Option<Histogram<u32>>,
    max: u64,
    sum: u64,
    count: u64,
}

impl Spread {
    fn new() -> Self {
        // Two digits: it grows with what comes, to 18 KB. The digits are valid, so there is a histogram; without one only percentiles would lack.
        Self { histogram: Histogram::new(2).ok(), max: 0, sum: 0, count: 0 }
    }

    fn add(&mut self, ns: u64) {
        self.max = self.max.max(ns);
        self.sum = self.sum.saturating_add(ns);
        self.count += 1;
        if let Some(histogram) = &mut self.histogram {
            // An hour can always be recorded.
            histogram.record(ns.min(LONGEST_NS)).ok();
        }
    }

    fn percentiles(&self) -> Percentiles {
        let at = |quantile| {
            let value = self.histogram.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile));
            value.min(self.max)
        };
        Percentiles {
            count: self.count,
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            max_ns: self.max,
            sum_ns: self.sum,
        }
    }
}

#[derive(Clone, Debug)]
struct Server {
    stats: NameserverStats,
    rtt: Spread,
}

impl Server {
    fn new(name: &str) -> Self {
        let stats = NameserverStats {
            server: name.to_owned(),
            queries: 0,
            answered: 0,
            timeouts: 0,
            unreachable: 0,
            unseen: 0,
            rtt: Percentiles::default(),
            blamed_ns: 0,
            explained_ns: 0,
            own_ns: 0,
        };
        Self { stats, rtt: Spread::new() }
    }
}

/// One accept thread's work.
#[derive(Clone, Debug)]
struct Work {
    connections: u64,
    /// Of TCP, with their checks: what the ceiling is made of.
    checked: u64,
    checks_ns: u64,
    handover: Handover,
    busy_ns: u64,
    first: KtimeNs,
    last: KtimeNs,
    /// Since when it has been busy without a pause, and the longest that it was.
    busy_since: KtimeNs,
    busy_longest_ns: u64,
}

/// Between two services that follow each other at once no more than this passes.
const PAUSE_NS: u64 = 5_000_000;

/// Takes connections and sums them up.
#[derive(Clone, Debug)]
pub struct SummaryBuilder {
    from: Option<WallTime>,
    to: Option<WallTime>,
    connections: u64,
    incomplete: u64,
    outcomes: BTreeMap<Outcome, u64>,
    errors: BTreeMap<u16, u64>,
    clients_left: u64,
    queued: Spread,
    wrapper: Spread,
    dns: Spread,
    greeting: Spread,
    total: Spread,
    servers: BTreeMap<Arc<str>, Server>,
    accept_threads: BTreeMap<(u32, u32), Work>,
    waiting: Waiting,
    unknown: BTreeMap<UnknownReason, u64>,
    ends_unseen: u64,
    /// The longest that any client waited, as far as it was seen.
    longest_ns: u64,
    /// Connections of TCP whose time in the queue is not known.
    queue_unseen: u64,
    /// Own lookups of which it is not known whether the wrappers asked.
    unclear_ns: u64,
    /// Some of these were not in the accept thread.
    unclear_elsewhere: bool,
    still_queued: u64,
    /// How long requests took, and what became of them.
    requests: Spread,
    /// Logins: what the client waited for, and what the server.
    logins: [Spread; 2],
    answers: BTreeMap<Outcome, u64>,
    /// Requests of which it was not seen when they came.
    arrivals_unseen: u64,
}

impl Default for SummaryBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl SummaryBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            from: None,
            to: None,
            connections: 0,
            incomplete: 0,
            outcomes: BTreeMap::new(),
            errors: BTreeMap::new(),
            clients_left: 0,
            queued: Spread::new(),
            wrapper: Spread::new(),
            dns: Spread::new(),
            greeting: Spread::new(),
            total: Spread::new(),
            servers: BTreeMap::new(),
            accept_threads: BTreeMap::new(),
            waiting: Waiting::default(),
            unknown: BTreeMap::new(),
            ends_unseen: 0,
            longest_ns: 0,
            queue_unseen: 0,
            unclear_ns: 0,
            unclear_elsewhere: false,
            still_queued: 0,
            requests: Spread::new(),
            logins: [Spread::new(), Spread::new()],
            answers: BTreeMap::new(),
            arrivals_unseen: 0,
        }
    }

    /// Takes a request: a wait of its own, of which only what was asked is seen.
    pub fn add_request(&mut self, request: &Connection) {
        self.from = Some(self.from.map_or(request.accepted, |from| from.min(request.accepted)));
        self.to = Some(self.to.map_or(request.accepted, |to| to.max(request.accepted)));
        *self.answers.entry(request.outcome).or_default() += 1;
        self.requests.add(request.waited_ns);
        if let Some(login) = &request.login {
            let [server, client] = &mut self.logins;
            server.add(request.waited_ns);
            client.add(login.client_ns);
        }
        self.arrivals_unseen += u64::from(request.missing.contains(&Missing::ArrivalUnseen));
        self.nameservers(request);
        self.waiting += waiting(request);
        self.unseen_parts(request);
        self.unclear(request);
    }

    /// Takes a connection.
    pub fn add(&mut self, connection: &Connection) {
        let began = connection.established.unwrap_or(connection.accepted);
        self.from = Some(self.from.map_or(began, |from| from.min(began)));
        self.to = Some(self.to.map_or(connection.accepted, |to| to.max(connection.accepted)));
        self.connections += 1;
        self.incomplete += u64::from(!connection.complete);
        *self.outcomes.entry(connection.outcome).or_default() += 1;
        if let Some(code) = connection.error_code
            && (self.errors.len() < ERRORS_MAX || self.errors.contains_key(&code))
        {
            *self.errors.entry(code).or_default() += 1;
        }
        self.clients_left += u64::from(connection.client_left.is_some());
        self.durations(connection);
        self.nameservers(connection);
        self.accept_thread(connection);
        self.waiting += waiting(connection);
        self.longest_ns = self.longest_ns.max(connection.waited_ns);
        self.unseen(connection);
    }

    fn unseen(&mut self, connection: &Connection) {
        if connection.missing.contains(&Missing::NoTimes) {
            // Of a wait whose length is not known nothing is unknown to the nanosecond, and all of it.
            self.unknown.entry(UnknownReason::NoTimes).or_default();
        }
        self.unseen_parts(connection);
        let goes_on = |why: &Missing| {
            matches!(
                why,
                Missing::HandedOver
                    | Missing::EndUnseen
                    | Missing::NumberReused
                    | Missing::TooManyOpen
                    | Missing::ClientCallsNotTraced
                    | Missing::ThreadEnded
                    | Missing::Other
            )
        };
        let unix = connection.peer == Some(Client::Unix);
        let unended = matches!(connection.outcome, Outcome::Unfinished | Outcome::HandedOver);
        let begun = |why: &Missing| matches!(why, Missing::StillOpen | Missing::StillInCheck);
        // Of one that the trace's end cut off at once, no more was seen than of one that went elsewhere.
        let cut_off = connection.waited_ns < super::verdict::SHORT_NS && connection.missing.iter().any(begun);
        if unended && !unix && (cut_off || connection.missing.iter().any(goes_on)) {
            self.ends_unseen += 1;
            if cut_off {
                self.unknown.entry(UnknownReason::TraceEnded).or_default();
            }
        }
        self.queue_unseen += u64::from(!unix && connection.queued_ns.is_none());
        let lacks = |why| connection.missing.contains(&why);
        let in_accept_thread = connection.lookups.iter().any(|lookup| lookup.thread == ThreadRole::Accept);
        self.unclear(connection);
        // Of a server that checks in threads or processes of their own, only opens tell a check from what it looks up itself.
        if lacks(Missing::AskerUnseen) {
            let checks = connection.blame.iter().filter(|blame| blame.cause == StallCause::Dns);
            let in_checks = checks
                .fold(0, |sum: u64, blame| sum.saturating_add(blame.own_ns).saturating_add(blame.queued_ns));
            self.unclear_ns = self.unclear_ns.saturating_add(in_checks);
        }
        let unclear = lacks(Missing::TablesNotTraced) || lacks(Missing::AskerUnseen);
        if unclear || (in_accept_thread && lacks(Missing::TablesUnseen)) {
            self.unclear_elsewhere |= !in_accept_thread && !connection.lookups.is_empty();
            self.unclear_ns = self.unclear_ns.saturating_add(waiting(connection).resolve_ns);
        }
    }

    /// Lookups outside a check may be libwrap's where that is not seen.
    fn unclear(&mut self, connection: &Connection) {
        if connection.missing.contains(&Missing::ChecksUnseen) && connection.wrapper_ns == 0 {
            self.unclear_elsewhere |= connection.resolve_ns > 0;
            self.unclear_ns = self.unclear_ns.saturating_add(connection.resolve_ns);
            self.unknown.entry(UnknownReason::ChecksUnseen).or_default();
        }
    }

    fn unseen_parts(&mut self, connection: &Connection) {
        for part in &connection.unknown {
            let sum = self.unknown.entry(part.reason).or_default();
            *sum = sum.saturating_add(part.ns);
        }
    }

    /// Clients that were still queued at the end (`correlate::Correlator::still_queued`).
    pub fn note_still_queued(&mut self, clients: u64) {
        self.still_queued = clients;
    }

    fn durations(&mut self, connection: &Connection) {
        if connection.wrapper_ns > 0 {
            self.wrapper.add(connection.wrapper_ns);
        }
        if connection.lookups.iter().any(|lookup| lookup.thread != ThreadRole::Connection) {
            self.dns.add(connection.parts.dns_ns);
        }
        let seen = [
            (&mut self.queued, connection.queued_ns),
            (&mut self.greeting, connection.greeting_ns),
            (&mut self.total, connection.total_ns),
        ];
        for (spread, ns) in seen {
            if let Some(ns) = ns {
                spread.add(ns);
            }
        }
    }

    fn nameservers(&mut self, connection: &Connection) {
        for query in
            connection.lookups.iter().filter(|lookup| !is_ident(lookup)).flat_map(|lookup| &lookup.queries)
        {
            let server = self.server(&query.server);
            server.stats.queries += 1;
            let count = match query.outcome {
                QueryOutcome::Answered => &mut server.stats.answered,
                QueryOutcome::Timeout => &mut server.stats.timeouts,
                QueryOutcome::Unreachable => &mut server.stats.unreachable,
                QueryOutcome::Unseen => &mut server.stats.unseen,
            };
            *count += 1;
            if let (QueryOutcome::Answered, Some(rtt)) = (query.outcome, query.rtt_ns) {
                server.rtt.add(rtt);
            }
        }
        for blame in connection.blame.iter().filter(|blame| blame.cause == StallCause::Dns) {
            let Some(name) = &blame.server else { continue };
            let server = self.server(name);
            server.stats.blamed_ns = server.stats.blamed_ns.saturating_add(blame.own_ns);
            let explained = blame.own_ns.saturating_add(blame.queued_ns);
            server.stats.explained_ns = server.stats.explained_ns.saturating_add(explained);
        }
        for (name, ns) in own_lookups(connection) {
            let stats = &mut self.server(name).stats;
            stats.own_ns = stats.own_ns.saturating_add(ns);
            stats.explained_ns = stats.explained_ns.saturating_add(ns);
        }
    }

    fn accept_thread(&mut self, connection: &Connection) {
        let key = (connection.pid, connection.tid);
        if self.accept_threads.len() >= THREADS_MAX && !self.accept_threads.contains_key(&key) {
            return;
        }
        let accepted = connection.accepted_ktime;
        let until = accepted.plus(connection.service_ns);
        let new = Work {
            connections: 0,
            checked: 0,
            checks_ns: 0,
            handover: Handover::default(),
            busy_ns: 0,
            first: accepted,
            last: until,
            busy_since: accepted,
            busy_longest_ns: 0,
        };
        let work = self.accept_threads.entry(key).or_insert(new);
        if accepted > work.last.plus(PAUSE_NS) {
            work.busy_since = accepted;
        }
        work.busy_longest_ns = work.busy_longest_ns.max(until.since(work.busy_since));
        work.connections += 1;
        if connection.peer != Some(Client::Unix) && !checked_elsewhere(connection) {
            work.checked += 1;
            work.checks_ns = work.checks_ns.saturating_add(connection.wrapper_ns);
            work.handover.add(connection);
        }
        work.busy_ns = work.busy_ns.saturating_add(connection.service_ns);
        work.first = work.first.min(accepted);
        work.last = work.last.max(until);
    }

    fn server(&mut self, name: &Arc<str>) -> &mut Server {
        let known = self.servers.len() < SERVERS_MAX || self.servers.contains_key(name);
        let name = if known { name.clone() } else { OTHER_SERVERS.into() };
        self.servers.entry(name).or_insert_with_key(|name| Server::new(name))
    }

    /// The summary so far.
    pub fn build_with(&self, counts: Counts, facts: &Context, clock: &ClockPair) -> Summary {
        let errors = facts.accept_errors.iter();
        let mut accept_errors: Vec<_> = errors.map(|error| error.told(clock)).collect();
        accept_errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        let cost = facts.end.as_ref().and_then(|end| end.cost);
        Summary { accept_errors, cost, ..self.build(counts) }
    }

    /// The summary without what only inputs say.
    pub fn build(&self, counts: Counts) -> Summary {
        let mut nameservers: Vec<NameserverStats> = self
            .servers
            .values()
            .map(|server| NameserverStats { rtt: server.rtt.percentiles(), ..server.stats.clone() })
            .collect();
        nameservers.sort_by(|a, b| {
            (b.explained_ns, b.blamed_ns, &a.server).cmp(&(a.explained_ns, a.blamed_ns, &b.server))
        });
        let mut errors: Vec<(u16, u64)> = self.errors.iter().map(|(&code, &count)| (code, count)).collect();
        errors.sort_by_key(|&(code, count)| (std::cmp::Reverse(count), code));
        let mut accept_threads: Vec<AcceptThreadStats> =
            self.accept_threads.iter().map(|(&thread, work)| stats(thread, work)).collect();
        accept_threads.sort_by_key(|thread| (std::cmp::Reverse(thread.busy_ns), thread.pid, thread.tid));
        let total = self.total.percentiles();
        let mut unknown: Vec<UnknownTotal> =
            self.unknown.iter().map(|(&reason, &ns)| UnknownTotal { reason, ns }).collect();
        unknown.sort_by_key(|part| std::cmp::Reverse(part.ns));
        let busy = self.accept_threads.values().map(|work| work.busy_longest_ns).max();
        let facts = Facts {
            connections: self.connections,
            refused: refused(&self.outcomes),
            requests: self.requests.percentiles(),
            requests_refused: refused(&self.answers),
            arrivals_unseen: self.arrivals_unseen,
            still_queued: self.still_queued,
            queued_by_samples: counts.queued,
            other_server: counts.other_server,
            total: &total,
            waiting: &self.waiting,
            nameservers: &nameservers,
            errors: &errors,
            unknown: &unknown,
            ends_unseen: self.ends_unseen,
            queue_unseen: self.queue_unseen,
            busy_longest_ns: busy.unwrap_or(0),
            longest_ns: self.longest_ns,
            never_seen: counts.lost_accepts.saturating_add(counts.untracked),
            unclear_ns: self.unclear_ns,
            unclear_elsewhere: self.unclear_elsewhere,
            unowned_checks: counts.unowned_checks,
            checks_unseen: counts.checks_unseen,
        };
        let verdict::Verdict { kind, text } = verdict::verdict(&facts);
        let unknown_share = facts.unknown_share();
        let share =
            |ns| (self.waiting.total_ns > 0).then(|| crate::model::Share::of(ns, self.waiting.total_ns).0);
        Summary {
            verdict: text,
            verdict_kind: kind,
            unknown_share,
            ends_unseen: self.ends_unseen,
            lookup_share: share(self.waiting.lookups()),
            wrapper_share: share(self.waiting.explained()),
            dns_share: share(self.waiting.dns_ns),
            waiting: self.waiting,
            unknown: unknown.clone(),
            from: self.from,
            to: self.to,
            connections: self.connections,
            incomplete: self.incomplete,
            began_before: counts.began_before,
            unowned_checks: counts.unowned_checks,
            still_queued: self.still_queued,
            accepts: counts.accepts,
            outcomes: counted(&self.outcomes),
            requests: self.requests.percentiles(),
            logins: self.logins[0].percentiles(),
            logins_client: self.logins[1].percentiles(),
            request_outcomes: counted(&self.answers),
            errors: errors.clone(),
            clients_left: self.clients_left,
            queued: self.queued.percentiles(),
            wrapper: self.wrapper.percentiles(),
            dns: self.dns.percentiles(),
            greeting: self.greeting.percentiles(),
            total,
            accept_threads,
            nameservers,
            accept_errors: Vec::new(),
            lost: counts.lost,
            lost_accepts: counts.lost_accepts,
            cost: None,
        }
    }
}

fn refused(outcomes: &BTreeMap<Outcome, u64>) -> u64 {
    outcomes.get(&Outcome::Refused).copied().unwrap_or(0)
}

fn counted(outcomes: &BTreeMap<Outcome, u64>) -> Vec<OutcomeCount> {
    outcomes.iter().map(|(&outcome, &count)| OutcomeCount { outcome, count }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
fn stats((pid, tid): (u32, u32), work: &Work) -> AcceptThreadStats {
    let span_ns = work.last.since(work.first);
    AcceptThreadStats {
        pid,
        tid,
        connections: work.connections,
        busy_ns: work.busy_ns,
        span_ns,
        utilisation: crate::model::Share::of(work.busy_ns.min(span_ns), span_ns).0,
        ceiling_per_s: ceiling_per_s(work.checked, work.checks_ns as f64, work.handover.median_ns()),
    }
}

/// The server's own lookups by nameserver: at each moment the query that was sent first counts.
fn own_lookups(connection: &Connection) -> Vec<(&Arc<str>, u64)> {
    let mut left = connection.resolve_ns;
    let mut waits: Vec<(u64, u64, &Arc<str>)> = Vec::new();
    for lookup in connection.lookups.iter().filter(|lookup| !is_ident(lookup)) {
        // What the accept thread asked for within a check is in `blame`.
        if lookup.thread != ThreadRole::Connection && connection.wrapper_ns > 0 {
            continue;
        }
        let end = lookup.at_ns.saturating_add(lookup.dur_ns);
        waits.extend(lookup.queries.iter().map(|query| {
            let to = query.rtt_ns.map_or(end, |rtt| query.at_ns.saturating_add(rtt));
            (query.at_ns, to, &query.server)
        }));
    }
    waits.sort_unstable();
    let mut at = 0_u64;
    let mut by_server = Vec::with_capacity(waits.len());
    for (from, to, server) in waits {
        let ns = to.saturating_sub(from.max(at)).min(left);
        left -= ns;
        at = at.max(to);
        by_server.push((server, ns));
    }
    by_server
}

fn is_ident(lookup: &crate::model::Lookup) -> bool {
    lookup.kind == crate::model::LookupKind::Ident
}
