//! What the waits would have been with other service times: one accept thread, first come first served.
//!
//! With arrivals A and service times S, the wait in the queue follows Lindley's recursion (1952): `W' = max(0, W + S - (A' - A))`. The service time of a
//! scenario is the check's length without what the scenario takes away, plus the hand-over as it was. The ceiling, 1 / mean S, needs no arrivals; waits do,
//! and are those "for the arrivals seen": a stalled server throttles its own arrivals.

use crate::model::{Scenario, WhatIf};

use super::handover::ceiling_per_s;
use super::load::Job;
use super::scenario::{SCENARIOS, float, whole};

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
    /// The server made lookups of its own.
    pub own_lookups: bool,
    /// The setting of MySQL's and MariaDB's would turn them off.
    pub skip_name_resolve: bool,
    /// What the accept thread needs beside the check, where that was seen.
    pub handover_ns: Option<f64>,
    /// How long the trace lasted.
    pub elapsed_ns: u64,
}

/// The table for one accept thread. `jobs` in the order of their accepts, which on one thread is that of their arrivals.
pub fn table(jobs: &[Job], about: &Circumstances) -> Vec<WhatIf> {
    if jobs.is_empty() {
        return Vec::new();
    }
    SCENARIOS
        .iter()
        .enumerate()
        .filter(|(_, scenario)| match scenario {
            Scenario::AsItWas | Scenario::WrappersOff => true,
            Scenario::DeadNameserverRemoved => about.dead_nameserver,
            Scenario::ShortTimeouts => about.timeouts,
            Scenario::SkipNameResolve => about.skip_name_resolve,
            Scenario::AddressRules => about.lookups,
            _ => about.lookups || about.own_lookups,
        })
        .map(|(index, &scenario)| row(jobs, index, scenario, about))
        .collect()
}

/// In a shorter trace nobody can say how busy the thread is.
const SPAN_MIN_NS: u64 = 1_000_000_000;

fn row(jobs: &[Job], index: usize, scenario: Scenario, about: &Circumstances) -> WhatIf {
    let handover = about.handover_ns.unwrap_or(0.0);
    let check = |job: &Job| job.check_ns.get(index).map_or(0.0, |ns| f64::from(*ns));
    let own = |job: &Job| job.own_ns.as_ref().and_then(|own| own.get(index)).map_or(0.0, |ns| f64::from(*ns));
    let service = |job: &Job| check(job) + handover;
    let checks: f64 = jobs.iter().map(check).sum();
    let busy: f64 = jobs.iter().map(service).sum();
    // The last hand-over is not in the trace any more: as it was, the thread was busy all the time at most.
    let as_it_was: f64 = jobs.iter().map(|job| f64::from(job.check_ns[0]) + handover).sum();
    #[expect(clippy::cast_precision_loss, reason = "a duration for people")]
    let elapsed = (about.elapsed_ns as f64).max(as_it_was);
    let [p50, p99, max] = if about.no_waits.is_some() {
        [None; 3]
    } else {
        quantiles(lindley(jobs, |job| check(job) + own(job), service)).map(Some)
    };
    WhatIf {
        scenario,
        ceiling_per_s: ceiling_per_s(jobs.len() as u64, checks, about.handover_ns),
        utilisation: (about.elapsed_ns >= SPAN_MIN_NS).then(|| busy / elapsed),
        wait_p50_ns: p50,
        wait_p99_ns: p99,
        wait_max_ns: max,
    }
}

/// Each client's wait: in the queue, and for what is done for it then.
fn lindley(jobs: &[Job], after: impl Fn(&Job) -> f64, service: impl Fn(&Job) -> f64) -> Vec<f32> {
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
        waits.push((queued + after(job)) as f32);
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
            unknown_ns: 0.0,
            check_ns,
            own_ns: None,
        }
    }

    #[test]
    fn skipping_names_takes_the_servers_own_lookups_away_and_nothing_else() {
        let mut jobs: Vec<Job> = (0..3).map(|n| job(n, n * 5_000, n * 5_000, 1, 1)).collect();
        let skip = SCENARIOS.iter().position(|scenario| *scenario == Scenario::SkipNameResolve).unwrap();
        for job in &mut jobs {
            let mut own = [float(2_000 * MS); SCENARIOS.len()];
            own[skip] = 0.0;
            job.own_ns = Some(Box::new(own));
        }
        let about = Circumstances {
            own_lookups: true,
            skip_name_resolve: true,
            elapsed_ns: 15_000 * MS,
            ..Circumstances::default()
        };
        let rows = table(&jobs, &about);
        let max =
            |scenario| rows.iter().find(|row| row.scenario == scenario).unwrap().wait_max_ns.unwrap() / MS;
        assert!(max(Scenario::AsItWas) >= 2_000 && max(Scenario::SkipNameResolve) == 1, "{rows:?}");
        assert!(rows.iter().all(|row| row.scenario != Scenario::AddressRules), "no check asks for a name");
    }

    #[test]
    fn five_connections_in_a_moment_keep_nobody_busy() {
        let jobs: Vec<Job> = (0..5).map(|n| job(n, n * 4, n * 4, 4, 4)).collect();
        let about = Circumstances { elapsed_ns: 20 * MS, ..Circumstances::default() };
        assert_eq!(table(&jobs, &about)[0].utilisation, None);
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
