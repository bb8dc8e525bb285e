//! What `ping`'s connections come to: percentiles, a histogram, and what is wrong by all that a client can see.

mod queue;

use std::collections::BTreeMap;

use crate::decode::greeting::{self, Said};
use crate::model::{
    Nanos, Protocol, Severity,
    ping::{
        PingAttempt, PingBucket, PingCount, PingOutcome, PingProblem, PingProblemKind as Kind, PingTimes,
    },
};

/// From here on a greeting is late: a server that is only busy greets within a few milliseconds.
const SLOW_NS: u64 = 100_000_000;
/// From here on finding the address is slow.
const SLOW_NAME_NS: u64 = 500_000_000;
/// More lines a histogram should not have.
const MAX_BUCKETS: usize = 16;
/// "1129" and the like.
const TOO_MANY_CONNECTIONS: u16 = 1040;
const HOST_BLOCKED: u16 = 1129;
const HOST_NOT_ALLOWED: u16 = 1130;

pub use queue::queue;

/// Percentiles of some of the attempts' times; None where none has one.
pub fn times(attempts: &[PingAttempt], of: impl Fn(&PingAttempt) -> Option<u64>) -> Option<PingTimes> {
    let mut values: Vec<u64> = attempts.iter().filter_map(of).collect();
    values.sort_unstable();
    // The smallest value that so many percent of all are not above.
    let at = |percent: usize| {
        let rank = (values.len() * percent).div_ceil(100).max(1);
        values.get(rank - 1).copied()
    };
    Some(PingTimes {
        count: values.len() as u64,
        min_ns: *values.first()?,
        p50_ns: at(50)?,
        p90_ns: at(90)?,
        p99_ns: at(99)?,
        max_ns: *values.last()?,
    })
}

/// What a client waited for its first packet; None where none came.
pub fn waited(attempt: &PingAttempt) -> Option<u64> {
    attempt.greeting_ns.map(|_| attempt.total_ns)
}

/// The waits in buckets of 1, 2, 5, 10, … from the fastest to the slowest; wider ones where that would be too many.
pub fn histogram(attempts: &[PingAttempt]) -> Vec<PingBucket> {
    let waits: Vec<u64> = attempts.iter().filter_map(waited).collect();
    let (Some(&least), Some(&most)) = (waits.iter().min(), waits.iter().max()) else { return Vec::new() };
    let buckets = |steps: &[u64]| {
        let mut edges = vec![0_u64];
        let mut power = 1_000_u64;
        while edges.last().is_some_and(|last| *last <= most) {
            edges.extend(steps.iter().map(|step| power.saturating_mul(*step)));
            power = power.saturating_mul(10);
            if power == u64::MAX {
                edges.push(u64::MAX);
                break;
            }
        }
        let between = edges.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
        between.filter(|(from, to)| *to > least && *from <= most).collect::<Vec<_>>()
    };
    let fine = buckets(&[1, 2, 5]);
    let chosen = if fine.len() > MAX_BUCKETS { buckets(&[1]) } else { fine };
    let count = |from: u64, to: u64| waits.iter().filter(|wait| (from..to).contains(*wait)).count() as u64;
    chosen
        .into_iter()
        .map(|(from_ns, to_ns)| PingBucket { from_ns, to_ns, count: count(from_ns, to_ns) })
        .collect()
}

/// The outcomes, most frequent first.
pub fn outcomes(attempts: &[PingAttempt]) -> Vec<PingCount> {
    let mut counts: BTreeMap<(PingOutcome, Option<u16>), u64> = BTreeMap::new();
    for attempt in attempts {
        *counts.entry((attempt.outcome, attempt.error_code)).or_default() += 1;
    }
    let mut outcomes: Vec<_> = counts
        .into_iter()
        .map(|((outcome, error_code), count)| PingCount { outcome, error_code, count })
        .collect();
    outcomes.sort_by_key(|outcome| std::cmp::Reverse(outcome.count));
    outcomes
}

/// What is wrong, worst first.
pub fn problems(attempts: &[PingAttempt], resolve_ns: Option<u64>) -> Vec<PingProblem> {
    let mut problems: Vec<PingProblem> = outcomes(attempts)
        .into_iter()
        .filter_map(|count| {
            let first = attempts
                .iter()
                .find(|attempt| (attempt.outcome, attempt.error_code) == (count.outcome, count.error_code))?;
            of_outcome(count, attempts.len() as u64, first)
        })
        .collect();
    problems.extend(syn_dropped(attempts));
    problems.extend(greeting_slow(attempts));
    problems.extend(queue::one_by_one(attempts));
    problems.extend(resolve_ns.filter(|ns| *ns >= SLOW_NAME_NS).map(name_slow));
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    problems
}

fn problem(kind: Kind, severity: Severity, count: u64, message: String, change: &str) -> PingProblem {
    let change = (!change.is_empty()).then(|| change.to_owned());
    PingProblem { kind, severity, count, message, change }
}

const ON_THE_SERVER: &str = "On the server: wrapwatch live says what holds the accept thread.";

fn of_outcome(count: PingCount, all: u64, first: &PingAttempt) -> Option<PingProblem> {
    let n = count.count;
    let of =
        if n == all && n == 1 { "The connection".to_owned() } else { format!("{n} of {all} connections") };
    let waited = Nanos(first.total_ns);
    let words = first.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
    let (kind, message, change) = match count.outcome {
        PingOutcome::Greeted => return None,
        PingOutcome::ServerError => return Some(server_error(count, &of, &words)),
        PingOutcome::Silent => (
            Kind::NoGreeting,
            format!(
                "{of}: accepted by the kernel, which needs no server for that, but not greeted within {waited}."
            ),
            ON_THE_SERVER,
        ),
        PingOutcome::Closed => (
            Kind::ClosedWithoutGreeting,
            format!(
                "{of}: closed by the server without a byte, as libwrap does with clients that it refuses."
            ),
            "On the server: wrapwatch lint --client says by which rule; its system log says \"refused connect from\".",
        ),
        PingOutcome::Reset => (
            Kind::ResetBeforeGreeting,
            format!(
                "{of}: reset before the greeting: the server died or dropped it, or something between cuts in."
            ),
            "Look into the server's error log, and at proxies and firewalls in between.",
        ),
        PingOutcome::Refused => (
            Kind::NothingListens,
            format!("{of}: refused: the host is there, but nothing listens on this port."),
            "Is the server started, and does it listen on this address (for MySQL: bind_address, skip_networking)?",
        ),
        PingOutcome::NoAnswer => (
            Kind::NoAnswer,
            format!(
                "{of}: no answer to {} within {waited}: a firewall drops them, the host is down, or the accept queue was full all the time.",
                syns(first.syn_retries)
            ),
            "On the server: wrapwatch doctor says whether its queue is full; nstat -az TcpExtListenDrops rises if it is.",
        ),
        PingOutcome::Unreachable => (
            Kind::Unreachable,
            format!("{of}: the server cannot be reached{words}."),
            "The network says so: look at routes and firewalls.",
        ),
        PingOutcome::HalfGreeting => (
            Kind::HalfGreeting,
            match &first.error {
                Some(ended) => {
                    format!("{of}: the greeting began, and before it was whole {ended}, after {waited}.")
                }
                None => format!(
                    "{of}: the greeting began after {} and was not whole after {waited}.",
                    Nanos(first.first_byte_ns.unwrap_or_default())
                ),
            },
            match &first.error {
                Some(_) => {
                    "The server died or gave the client up while it wrote, or something in between cut the connection: look into its error log."
                }
                None => {
                    "The server writes it in pieces and stopped, or something in between holds packets back: look at proxies, firewalls and the path's MTU."
                }
            },
        ),
        PingOutcome::NotMysql => return Some(other_service(n, &of, first)),
        PingOutcome::Failed => (Kind::FailedHere, format!("{of}: could not be made here{words}."), ""),
    };
    Some(problem(kind, Severity::Critical, n, message, change))
}

/// Another service, or a text that libwrap sends.
fn other_service(n: u64, of: &str, first: &PingAttempt) -> PingProblem {
    let said = first.said.as_deref().unwrap_or_default();
    let message = match said {
        "" => format!("{of}: the first packet is not the greeting that was expected."),
        said => format!("{of}: the first packet is not the greeting that was expected, but: {said}"),
    };
    let change = match greeting::parse(said.as_bytes(), Protocol::Mysql) {
        Said::Greeting { protocol, .. } => {
            format!("This is {name}. Is it the right port? --protocol {name} times its greeting.", name = protocol.name())
        }
        _ => "Is it the right port? libwrap can send such a text, too, before it refuses: options banners and twist in hosts.allow and hosts.deny."
            .to_owned(),
    };
    problem(Kind::NotMysql, Severity::Critical, n, message, &change)
}

fn server_error(count: PingCount, of: &str, words: &str) -> PingProblem {
    let Some(code) = count.error_code else {
        let message = format!("{of}: turned away by the server{words}.").replace("..", ".");
        return problem(Kind::ServerError, Severity::Critical, count.count, message, "");
    };
    let (kind, meaning, change) = match code {
        TOO_MANY_CONNECTIONS => (
            Kind::TooManyConnections,
            "too many connections",
            "Find out what holds them (SHOW PROCESSLIST) before raising max_connections.",
        ),
        HOST_BLOCKED => (
            Kind::HostBlocked,
            "this host is blocked, after max_connect_errors interrupted connections",
            "On the server: FLUSH HOSTS (since MySQL 8.0.23: TRUNCATE TABLE performance_schema.host_cache), and find out who breaks off so often.",
        ),
        HOST_NOT_ALLOWED => (
            Kind::HostNotAllowed,
            "no account may log in from this host",
            "The server is there and answers: to be greeted, this host needs an account, or the server its name.",
        ),
        _ => (Kind::ServerError, "an error instead of a greeting", ""),
    };
    let message = format!("{of}: error {code}, {meaning}{words}.").replace("..", ".");
    problem(kind, Severity::Critical, count.count, message, change)
}

/// `its SYN`, `3 SYNs`.
fn syns(retries: u32) -> String {
    if retries == 0 { "its SYN".to_owned() } else { format!("{} SYNs", retries.saturating_add(1)) }
}

fn syn_dropped(attempts: &[PingAttempt]) -> Option<PingProblem> {
    let dropped: Vec<_> = attempts.iter().filter(|a| a.connect_ns.is_some() && a.syn_retries > 0).collect();
    let most = dropped.iter().map(|attempt| attempt.syn_retries).max()?;
    let longest = dropped.iter().filter_map(|attempt| attempt.connect_ns).max()?;
    let n = dropped.len();
    let message = format!(
        "{n} of {} connections succeeded only after their SYN was sent again (up to {most} times, {}): the accept queue was full, or packets get lost.",
        attempts.len(),
        Nanos(longest)
    );
    Some(problem(
        Kind::SynDropped,
        Severity::Critical,
        n as u64,
        message,
        "On the server: wrapwatch doctor says whether its queue is full; nstat -az TcpExtListenDrops rises if it is.",
    ))
}

fn greeting_slow(attempts: &[PingAttempt]) -> Option<PingProblem> {
    let late = |attempt: &&PingAttempt| attempt.greeting_ns.is_some_and(|ns| ns >= SLOW_NS);
    let slow: Vec<_> = attempts.iter().filter(late).collect();
    let longest = slow.iter().max_by_key(|attempt| attempt.greeting_ns)?;
    let message = format!(
        "{} of {} connections waited {} or longer for the first packet, up to {}, though connected in {}: the wait is in the server, in its accept queue, its wrapper check or its own lookup.",
        slow.len(),
        attempts.len(),
        Nanos(SLOW_NS),
        Nanos(longest.greeting_ns?),
        Nanos(longest.connect_ns?)
    );
    Some(problem(Kind::GreetingSlow, Severity::Warning, slow.len() as u64, message, ON_THE_SERVER))
}

fn name_slow(ns: u64) -> PingProblem {
    let message = format!(
        "Finding the server's address took {}: clients on this host wait for that before they connect.",
        Nanos(ns)
    );
    problem(
        Kind::NameSlow,
        Severity::Warning,
        0,
        message,
        "Look at this host's own resolv.conf; or connect by address.",
    )
}

#[cfg(test)]
mod tests;
