//! What the waits would have been with other service times: one accept thread, first come first served.
//!
//! With arrivals A and service times S, the wait in the queue follows Lindley's recursion (1952): `W' = max(0, W + S - (A' - A))`. The service time of a
//! scenario is the check's length without what the scenario takes away, plus the hand-over as it was. The ceiling, 1 / mean S, needs no arrivals; waits do,
//! and are those "for the arrivals seen": a stalled server throttles its own arrivals.

use std::collections::BTreeSet;

use crate::model::{Connection, Lookup, LookupKind, QueryOutcome, Scenario, ThreadRole, WhatIf};

use super::load::{Job, float, handover_ns, whole};

/// Rows of the table, in order.
pub const SCENARIOS: [Scenario; 7] = [
    Scenario::AsItWas,
    Scenario::DeadNameserverRemoved,
    Scenario::ShortTimeouts,
    Scenario::LocalCache,
    Scenario::ClientsInHosts,
    Scenario::AddressRules,
    Scenario::WrappersOff,
];

/// What a cache on the same machine takes for an answer.
const CACHE_NS: u64 = 1_000_000;
/// With `timeout:1` glibc waits a second for each server (max(1 s, `timeout` << i, divided by the number of servers for i > 0)).
const SHORT_WAIT_NS: u64 = 1_000_000_000;

/// The check's length in each scenario.
pub fn checks(connection: &Connection) -> [f32; SCENARIOS.len()] {
    let wrapper = connection.wrapper_ns;
    let dns = connection.parts.dns_ns.min(wrapper);
    let ident = connection.parts.ident_ns;
    let (mut dead, mut saved_by_short, mut lookups) = (0_u64, 0_u64, 0_u64);
    let in_check =
        connection.lookups.iter().filter(|l| l.thread == ThreadRole::Accept && l.kind != LookupKind::Ident);
    for lookup in in_check {
        lookups += 1;
        dead = dead.saturating_add(waited_in_vain(lookup));
        saved_by_short = saved_by_short.saturating_add(saved_by_short_timeouts(lookup));
    }
    let cached = CACHE_NS.saturating_mul(lookups).min(dns);
    SCENARIOS.map(|scenario| {
        let check = match scenario {
            // The check is not the server's own lookup.
            Scenario::AsItWas | Scenario::SkipNameResolve => wrapper,
            Scenario::DeadNameserverRemoved => wrapper - dead.min(dns),
            Scenario::ShortTimeouts => wrapper - saved_by_short.min(dns),
            Scenario::LocalCache => wrapper - dns + cached,
            Scenario::ClientsInHosts => wrapper - dns,
            Scenario::AddressRules => wrapper.saturating_sub(dns.saturating_add(ident)),
            Scenario::WrappersOff => 0,
        };
        float(check)
    })
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

/// What is known besides the arrivals.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Why waits cannot be told; none: they can.
    pub no_waits: Option<String>,
    /// A nameserver is dead and another one is not.
    pub dead_nameserver: bool,
    /// Lookups timed out.
    pub timeouts: bool,
    /// Checks made lookups.
    pub lookups: bool,
    /// How long the trace lasted.
    pub elapsed_ns: u64,
}

/// The table for one accept thread. `jobs` in the order of their accepts, which on one thread is that of their arrivals.
pub fn table(jobs: &[Job], about: &Circumstances) -> Vec<WhatIf> {
    if jobs.is_empty() {
        return Vec::new();
    }
    let handover = handover_ns(jobs);
    SCENARIOS
        .iter()
        .enumerate()
        .filter(|(_, scenario)| match scenario {
            Scenario::AsItWas | Scenario::WrappersOff => true,
            Scenario::DeadNameserverRemoved => about.dead_nameserver,
            Scenario::ShortTimeouts => about.timeouts,
            _ => about.lookups,
        })
        .map(|(index, &scenario)| row(jobs, index, scenario, handover, about))
        .collect()
}

fn row(
    jobs: &[Job],
    index: usize,
    scenario: Scenario,
    handover: Option<f64>,
    about: &Circumstances,
) -> WhatIf {
    let check = |job: &Job| job.check_ns.get(index).map_or(0.0, |ns| f64::from(*ns));
    let service = |job: &Job| check(job) + handover.unwrap_or(0.0);
    let busy: f64 = jobs.iter().map(service).sum();
    // The last hand-over is not in the trace any more: as it was, the thread was busy all the time at most.
    let as_it_was: f64 = jobs.iter().map(|job| f64::from(job.check_ns[0]) + handover.unwrap_or(0.0)).sum();
    #[expect(clippy::cast_precision_loss, reason = "a count of connections")]
    let count = jobs.len() as f64;
    #[expect(clippy::cast_precision_loss, reason = "a duration for people")]
    let elapsed = (about.elapsed_ns as f64).max(as_it_was);
    let [p50, p99, max] =
        if about.no_waits.is_some() { [None; 3] } else { quantiles(lindley(jobs, check, service)).map(Some) };
    WhatIf {
        scenario,
        ceiling_per_s: (busy > 0.0).then(|| count * 1e9 / busy),
        utilisation: (elapsed > 0.0).then(|| busy / elapsed),
        wait_p50_ns: p50,
        wait_p99_ns: p99,
        wait_max_ns: max,
    }
}

/// Each client's wait: queue and check.
fn lindley(jobs: &[Job], check: impl Fn(&Job) -> f64, service: impl Fn(&Job) -> f64) -> Vec<f32> {
    let mut waits = Vec::with_capacity(jobs.len());
    let mut before: Option<(crate::model::KtimeNs, f64)> = None;
    for job in jobs {
        let arrival = job.arrival();
        let queued = before.map_or(0.0, |(at, left)| {
            // A clock that steps back, or two accepts told out of order: as if at once.
            let gap = f64::from(float(arrival.since(at)));
            (left - gap).max(0.0)
        });
        #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
        waits.push((queued + check(job)) as f32);
        before = Some((arrival, queued + service(job)));
    }
    waits
}

fn quantiles(mut waits: Vec<f32>) -> [u64; 3] {
    // Not sorted: of a million only three are asked for.
    let mut at = |percent: usize| {
        let index = (waits.len() * percent).div_ceil(100).saturating_sub(1);
        if index >= waits.len() {
            return 0;
        }
        let (_, ns, _) = waits.select_nth_unstable_by(index, f32::total_cmp);
        whole(f64::from(*ns))
    };
    [at(50), at(99), at(100)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KtimeNs;

    const MS: u64 = 1_000_000;

    fn job(conn: u64, arrival_ms: u64, accepted_ms: u64, check_ms: u64, other_ms: u64) -> Job {
        let mut check_ns = [float(other_ms * MS); SCENARIOS.len()];
        check_ns[0] = float(check_ms * MS);
        Job {
            conn,
            accepted: KtimeNs(accepted_ms * MS),
            queued_ns: float((accepted_ms - arrival_ms) * MS),
            wrapper_ns: float(check_ms * MS),
            dns_ns: 0.0,
            total_ns: float((accepted_ms + check_ms - arrival_ms) * MS),
            check_ns,
        }
    }

    #[test]
    fn twenty_at_once_are_a_staircase_and_a_hundredth_of_it_with_a_hundredth_of_the_service() {
        let jobs: Vec<Job> = (0..20).map(|n| job(n, 0, n * 600, 600, 6)).collect();
        let about = Circumstances { lookups: true, elapsed_ns: 12_000 * MS, ..Circumstances::default() };
        let rows = table(&jobs, &about);
        let was = &rows[0];
        // Times are kept in 24 bits of precision.
        assert!(was.wait_max_ns.unwrap().abs_diff(12_000 * MS) < 2 * MS);
        assert!(was.wait_p50_ns.unwrap().abs_diff(6_000 * MS) < 2 * MS);
        assert!((was.utilisation.unwrap() - 1.0).abs() < 1e-3);
        assert!((was.ceiling_per_s.unwrap() - 1.0 / 0.6).abs() < 1e-3);
        let hosts = rows.iter().find(|row| row.scenario == Scenario::ClientsInHosts).unwrap();
        assert!(hosts.wait_max_ns.unwrap().abs_diff(120 * MS) < MS);
        assert!((hosts.ceiling_per_s.unwrap() / was.ceiling_per_s.unwrap() - 100.0).abs() < 1.0);
    }

    #[test]
    fn one_slow_check_delays_those_behind_it_and_nobody_later() {
        let mut jobs = vec![job(0, 0, 0, 800, 1)];
        jobs.extend((1..=5).map(|n| job(n, 10 * n, 800 + n, 1, 1)));
        jobs.push(job(9, 2_000, 2_000, 1, 1));
        let waits = lindley(&jobs, |job| f64::from(job.check_ns[0]), |job| f64::from(job.check_ns[0]));
        let ms: Vec<u64> = waits.iter().map(|ns| whole(f64::from(*ns)) / MS).collect();
        assert_eq!(ms, [800, 791, 782, 773, 764, 755, 1]);
    }
}
