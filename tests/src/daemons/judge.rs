//! Whether what is told of a daemon is right. Pure: clocks, the nameservers' log and JSON in, a judgement out.
//!
//! *Right* is: each client is told once, with its outcome, its time to the first byte (or to the end where none came) as its own clock had it, its own
//! lookups and no other's, charged to whoever asked; nothing is left open; the verdict is of the right kind; lookups have the share of the wait that
//! the nameservers' log gives them; the check has the name that libwrap got; no finding and no sentence says what is not so.
//!
//! *Honest* is what is not right but says so itself: the connection is not complete and says why, the verdict is `cannot_tell`, or wrapwatch did not attach and
//! gave the reason that its file has. A statement that is false is never honest.

mod overall;

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::client::Clock;
use super::spec::{Asks, Behind, Standing, Wanted, WantedOfClient};
use super::told::Told;

/// What a time that is told may be off the client's own by, besides what the machine's scheduler adds.
const TOLERANCE_NS: u64 = 2_000_000;

/// A client, as it saw things itself, and as the nameservers saw it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address, which no other client has.
    pub address: IpAddr,
    /// It sends datagrams: it has no connection that could be told, but requests.
    pub datagrams: bool,
    /// Its clock.
    pub clock: Clock,
    /// How late the scheduler let threads run meanwhile.
    pub noise_ns: u64,
    /// What the nameservers were asked about it.
    pub asked: Vec<Asked>,
    /// What has to be told.
    pub wanted: WantedOfClient,
}

/// A query, by the nameserver's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Name, lower case, without the last dot.
    pub name: String,
    /// It came.
    pub from_ns: u64,
    /// It was answered.
    pub to_ns: u64,
}

/// Whether it is right, and what is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it is.
    pub standing: Standing,
    /// What is not right; what is not honest first.
    pub why: Vec<String>,
    /// How many of these are not honest.
    pub wrong: usize,
}

impl Judgement {
    /// What is not honest.
    pub fn wrong(&self) -> &[String] {
        self.why.get(..self.wrong).unwrap_or_default()
    }

    /// Something else that is not honest.
    pub(super) fn complain(&mut self, what: String) {
        self.standing = self.standing.min(Standing::Wrong);
        self.why.insert(0, what);
        self.wrong += 1;
    }
}

/// What is not right.
struct Complaint {
    what: String,
    /// Whether it is said that this is not known.
    admitted: bool,
}

impl Client {
    fn tolerance_ns(&self) -> u64 {
        TOLERANCE_NS + self.noise_ns
    }

    /// What the sum of so many lookups may be off: of each, the nameserver's log lacks two turns of a thread, that which read the query and that which read the
    /// answer.
    fn lookups_tolerance_ns(&self, lookups: usize) -> u64 {
        let lookups = lookups as u64;
        self.tolerance_ns() + lookups * (TOLERANCE_NS + 2 * self.noise_ns)
    }

    /// When its wait ended: the first byte, or the end where none came.
    fn end_ns(&self) -> Option<u64> {
        self.clock.first_ns.or(self.clock.ended_ns)
    }

    /// When it knew, or could have: where it was refused without a word, that was decided when the last name was answered. libwrap then keeps the socket for
    /// five seconds, in which nobody waits for an answer.
    fn decided_ns(&self) -> Option<u64> {
        let end = self.end_ns()?;
        let silent = self.wanted.outcome == "refused" && self.clock.first_ns.is_none();
        let last = self.asked.iter().map(|asked| asked.to_ns).max().filter(|_| silent);
        Some(last.map_or(end, |last| last.min(end)))
    }

    /// What was asked while it waited, or after. Of a program at a login the first byte is not known, and before it nothing is asked.
    fn asked_while_waiting(&self, waiting: bool) -> impl Iterator<Item = &Asked> {
        let end = self.end_ns().unwrap_or(if self.wanted.login { 0 } else { u64::MAX });
        self.asked.iter().filter(move |asked| (asked.from_ns < end) == waiting)
    }
}

/// Judges.
pub fn judge(wanted: &Wanted, clients: &[Client], told: &Told) -> Judgement {
    let mut complaints = Vec::new();
    if let Some(refused) = &told.refused {
        let admitted = wanted.refusal.as_ref().is_some_and(|reason| refused.contains(reason));
        complaints.push(Complaint { what: format!("it did not attach: {refused}"), admitted });
    } else {
        overall::find(wanted, clients, told, &mut complaints);
        for client in clients {
            one(wanted, client, told, &mut complaints);
        }
        overall::of_nobody(clients, told, &mut complaints);
    }
    // A client that did not get what it came for is the harness' fault or the daemon's: then nothing is proved.
    let failures = clients.iter().filter_map(|client| client.clock.failed.as_ref().map(|why| (client, why)));
    complaints.extend(failures.map(|(client, why)| Complaint {
        what: format!("the client {} itself failed: {why}", client.address),
        admitted: false,
    }));
    complaints.sort_by_key(|complaint| complaint.admitted);
    let standing = if clients.iter().any(|client| client.clock.failed.is_some()) {
        Standing::Failed
    } else if complaints.is_empty() {
        Standing::Right
    } else if complaints.iter().all(|complaint| complaint.admitted) {
        Standing::Honest
    } else {
        Standing::Wrong
    };
    let wrong = complaints.iter().filter(|complaint| !complaint.admitted).count();
    Judgement { standing, why: complaints.into_iter().map(|complaint| complaint.what).collect(), wrong }
}

/// A connection's client.
fn peer(connection: &Value) -> Option<IpAddr> {
    let peer: SocketAddr = connection.get("peer")?.as_str()?.parse().ok()?;
    Some(peer.ip())
}

fn one(wanted: &Wanted, client: &Client, told: &Told, complaints: &mut Vec<Complaint>) {
    let is_its = |connection: &&Value| peer(connection) == Some(client.address);
    let requests: Vec<&Value> = told.requests.iter().filter(is_its).collect();
    let mut its: Vec<&Value> = told.connections.iter().filter(is_its).collect();
    if client.datagrams && its.is_empty() {
        // It sent one: its request is all that there is.
        its.clone_from(&requests);
    }
    let [connection] = its.as_slice() else {
        let what = format!("{} is told of {} times", client.address, its.len());
        // Whom a request is from may be unknown, if that is said.
        let nameless = |request: &Value| peer(request).is_none() && says_so(request);
        let asked = client.datagrams && told.requests.iter().any(nameless);
        let admitted = its.is_empty() && (asked || told.verdict_kind() == "cannot_tell");
        complaints.push(Complaint { what, admitted });
        return;
    };
    let requests = if client.datagrams { Vec::new() } else { requests };
    let unnamed = told.without_uprobes;
    let mut about = About { client, connection, requests, unnamed, complaints };
    about.outcome();
    about.total();
    about.held();
    about.lookups();
    about.check(wanted);
    if wanted.behind == Behind::Nobody {
        about.behind_nobody();
    }
}

/// One client and its connection.
struct About<'a> {
    client: &'a Client,
    connection: &'a Value,
    /// What was asked about it later.
    requests: Vec<&'a Value>,
    /// Names that libwrap got are not seen, which is said.
    unnamed: bool,
    complaints: &'a mut Vec<Complaint>,
}

/// It is not complete, and why is said.
fn says_so(connection: &Value) -> bool {
    let why = connection.get("missing").and_then(Value::as_array);
    connection.get("complete") == Some(&Value::Bool(false)) && why.is_some_and(|why| !why.is_empty())
}

impl About<'_> {
    /// `gap`: what is wrong is only that something was not seen, so that a connection which says so is honest.
    fn complain(&mut self, what: &str, gap: bool) {
        let admitted = gap && says_so(self.connection);
        self.complaints.push(Complaint { what: format!("{}: {what}", self.client.address), admitted });
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.connection.get(name).and_then(Value::as_u64)
    }

    fn outcome(&mut self) {
        let outcome = self.connection.get("outcome").and_then(Value::as_str).unwrap_or_default();
        let wanted = match self.client.wanted.outcome.as_str() {
            "greeted" if self.client.datagrams => "admitted",
            wanted => wanted,
        };
        if outcome != wanted {
            let what = format!("{outcome}, should be {}", self.client.wanted.outcome);
            let gap = ["unfinished", "handed_over"].contains(&outcome);
            self.complain(&what, gap);
        }
        if self.connection.get("complete") != Some(&Value::Bool(true)) {
            let missing = self.connection.get("missing").unwrap_or(&Value::Null).to_string();
            self.complain(&format!("not complete: {missing}"), true);
        }
    }

    /// How long a refused client's socket was kept.
    fn held(&mut self) {
        let (Some(end), Some(decided)) = (self.client.end_ns(), self.client.decided_ns()) else { return };
        let held = end.saturating_sub(decided);
        // Besides the client's clock, the nameserver's: answers are sent and read.
        let tolerance = self.client.tolerance_ns() * 2;
        let told = self.number("held_ns");
        if held > tolerance && told.is_none_or(|told| told.abs_diff(held) > tolerance) {
            self.complain(
                &format!("its socket was kept for {held} ns after the verdict; told is {told:?}"),
                told.is_none(),
            );
        }
    }

    /// The time to the first byte, or the end, by the client's clock.
    fn total(&mut self) {
        let clock = &self.client.clock;
        let Some(end) = self.client.end_ns() else { return };
        let tolerance = self.client.tolerance_ns();
        // An end that was there when the client looked for it may have come at any moment until then.
        let earliest = if clock.first_ns.is_none() && clock.end_was_there { clock.connected_ns } else { end };
        let seen = clock.sent_ns.unwrap_or(clock.connected_ns);
        let least = earliest.saturating_sub(seen).saturating_sub(tolerance);
        let most = end.saturating_sub(clock.called_ns) + tolerance;
        match self.number("total_ns") {
            Some(total) if (least..=most).contains(&total) => {}
            // Up to where it was seen, it was so long.
            total => self.complain(
                &format!("total_ns is {total:?}; by the client's clock {least} to {most}"),
                total.is_none_or(|total| total <= most),
            ),
        }
    }

    fn lookups(&mut self) {
        let told: Vec<_> = self.all().flat_map(queries).collect();
        let asked: Vec<&Asked> = self.client.asked.iter().collect();
        for (name, _) in &told {
            if !asked.iter().any(|asked| asked.name == *name) {
                self.complain(&format!("it is charged with {name}, which nobody asked for its sake"), false);
            }
        }
        let due: Vec<&Asked> =
            if self.client.wanted.login { asked } else { self.client.asked_while_waiting(true).collect() };
        for name in missing(&due, &told) {
            self.complain(&format!("its lookup of {name} is not told"), true);
        }
        self.times();
        self.later();
    }

    /// The connection and what was asked later.
    fn all(&self) -> impl Iterator<Item = &'_ Value> {
        std::iter::once(self.connection).chain(self.requests.iter().copied())
    }

    /// Who is charged with how much, after the first byte.
    fn later(&mut self) {
        let later: Vec<&Asked> = self.client.asked_while_waiting(false).collect();
        let asked_ns = overall::covered(later.iter().copied(), 0, u64::MAX);
        let tolerance = self.client.lookups_tolerance_ns(later.len());
        let sum = |name: &str| -> u64 {
            self.requests.iter().filter_map(|request| request.get(name).and_then(Value::as_u64)).sum()
        };
        let (check, own) = (sum("dns_ns"), sum("resolve_ns"));
        let right = match self.client.wanted.asks {
            Asks::Check => check,
            Asks::Own | Asks::Nobody => own,
            Asks::Both => check + own,
        };
        if self.client.wanted.login && right.abs_diff(asked_ns) > tolerance {
            let what = format!(
                "later lookups took {asked_ns} ns by the nameservers' log; told are dns_ns {check}, resolve_ns {own}"
            );
            // Who asked may not be known, if that is said.
            let admitted = check + own >= asked_ns.saturating_sub(tolerance)
                && self.requests.iter().all(|request| says_so(request));
            self.complaints.push(Complaint { what: format!("{}: {what}", self.client.address), admitted });
        }
        let connection = self.connection.get("conn");
        if self
            .requests
            .iter()
            .any(|request| request.get("within").is_some_and(|within| Some(within) != connection))
        {
            self.complain("a request is told to be another connection's", false);
        }
    }

    /// Who is charged with how much, of the wait until the first byte.
    fn times(&mut self) {
        if self.client.end_ns().is_none() {
            return;
        }
        let before: Vec<&Asked> = self.client.asked_while_waiting(true).collect();
        let end = self.client.end_ns().unwrap_or(u64::MAX);
        // A and AAAA may be asked for at once.
        let asked_ns = overall::covered(before.iter().copied(), 0, end);
        let tolerance = self.client.lookups_tolerance_ns(before.len());
        let (check, own) = (self.number("dns_ns").unwrap_or(0), self.number("resolve_ns").unwrap_or(0));
        let (right, other) = match self.client.wanted.asks {
            Asks::Check => (check, own),
            Asks::Own | Asks::Nobody => (own, check),
            Asks::Both => (check + own, 0),
        };
        if right.abs_diff(asked_ns) > tolerance {
            let gap = right < asked_ns;
            self.complain(
                &format!(
                    "lookups took {asked_ns} ns by the nameservers' log; told are dns_ns {check}, resolve_ns {own}"
                ),
                gap,
            );
        } else if other > tolerance {
            let asks = self.client.wanted.asks;
            self.complain(
                &format!("charged to the wrong one ({asks:?}): dns_ns {check}, resolve_ns {own}"),
                false,
            );
        }
    }

    /// Others' checks are not blamed for any of its wait. (That it was queued for a moment behind them is true where the server was forking.)
    fn behind_nobody(&mut self) {
        let blame = self.connection.get("blame").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let queued = blame.iter().filter_map(|blame| blame.get("queued_ns")?.as_u64());
        let queued: u64 = queued.sum::<u64>() + self.number("queued_resolve_ns").unwrap_or(0);
        if queued > self.client.tolerance_ns() {
            self.complain(&format!("told to have waited {queued} ns for others' lookups"), false);
        }
    }

    /// The check's name as libwrap got it.
    fn check(&mut self, wanted: &Wanted) {
        let Some(daemon) = &wanted.daemon else { return };
        let checks = self.all().filter_map(|told| told.get("checks").and_then(Value::as_array)).flatten();
        let names: Vec<String> = checks
            .filter_map(|check| check.get("daemon").and_then(Value::as_str).map(str::to_owned))
            .collect();
        let should =
            !matches!(self.client.wanted.asks, Asks::Nobody) || self.client.wanted.outcome == "refused";
        if names.iter().any(|name| name != daemon) || (names.is_empty() && should) {
            let what = format!("{}: checked as {names:?}, should be {daemon}", self.client.address);
            let admitted = names.is_empty() && (self.unnamed || says_so(self.connection));
            self.complaints.push(Complaint { what, admitted });
        }
    }
}

/// Names and round trips.
fn queries(connection: &Value) -> Vec<(String, u64)> {
    let list = |value: &Value, name: &str| -> Vec<Value> {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let queries = list(connection, "lookups").into_iter().flat_map(|lookup| list(&lookup, "queries"));
    queries
        .filter_map(|query| {
            let name = query.get("qname")?.as_str()?.to_lowercase();
            Some((name, query.get("rtt_ns").and_then(Value::as_u64).unwrap_or(0)))
        })
        .collect()
}

/// Names that were asked more often than is told.
fn missing(asked: &[&Asked], told: &[(String, u64)]) -> Vec<String> {
    let mut left: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    let mut missing = Vec::new();
    for asked in asked {
        match left.iter().position(|name| *name == asked.name) {
            Some(at) => drop(left.swap_remove(at)),
            None => missing.push(asked.name.clone()),
        }
    }
    missing
}

#[cfg(test)]
mod tests;
