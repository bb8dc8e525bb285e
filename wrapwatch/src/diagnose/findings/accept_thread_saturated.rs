//! The accept thread does one check after another: whoever connects waits for all before him.

use crate::model::{Finding, FindingId, Nanos, Scenario, Severity, Share};

use super::super::load::Stretch;
use super::super::what_if;
use super::support::{Proof, counted, finding, in_check};
use super::{Case, Detector, Seen};

/// From here on the thread has no time to spare.
const BUSY: f64 = 0.8;
/// A stretch of checks back to back that a client notices.
const LONG_NS: u64 = 1_000_000_000;
/// Less than this, all of it together, nobody notices: what `--slow` is where nothing is said.
const NOTICED_NS: u64 = 100_000_000;
/// Fewer checks are one slow client's, not a crowd.
const CHECKS_MIN: u64 = 5;

#[derive(Debug, Default)]
pub(super) struct AcceptThreadSaturated {
    lookups: Proof,
    checks: Proof,
}

impl Detector for AcceptThreadSaturated {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        if connection.wrapper_ns > 0 {
            self.checks.add(connection, connection.wrapper_ns);
        }
        for lookup in in_check(connection) {
            self.lookups.add(connection, lookup.dur_ns);
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let Stretch { count, checks_ns, dns_ns, .. } = case.stretch;
        let ns = case.stretch.ns();
        // Of one thread: two that are half busy are no busy one.
        let busiest = case.summary.accept_threads.first();
        let busy_ns = busiest.map_or(0, |thread| thread.busy_ns.min(case.elapsed_ns));
        let whole_trace = Share::of(busy_ns, case.elapsed_ns);
        let stretched = count >= CHECKS_MIN && ns >= LONG_NS;
        // A trace of a few milliseconds is full of little.
        let crowded = busiest.is_some_and(|thread| thread.connections >= CHECKS_MIN) && busy_ns >= NOTICED_NS;
        if !stretched && (whole_trace.0 < BUSY || !crowded) {
            return Vec::new();
        }
        let each = checks_ns.checked_div(count).unwrap_or(0);
        let dns = Share::of(dns_ns, checks_ns);
        let mut message = format!(
            "The accept thread was saturated: for {} it did {} back to back, {} each, and every client waited for all clients before it",
            Nanos(ns),
            counted(count, "check", "checks"),
            Nanos(each)
        );
        let by_dns = dns.0 >= 0.5 && self.lookups.count > 0;
        if by_dns {
            message += &format!("; {dns} of that was DNS, {} a lookup", Nanos(self.lookups.mean()));
        }
        let mut facts = vec![
            format!("busy for {whole_trace} of the trace's {}", Nanos(case.elapsed_ns)),
            if case.summary.queued.count > 0 {
                format!("the longest queue and check: {}", Nanos(slowest(case)))
            } else {
                format!("the longest check: {}; time in the queue was not seen", Nanos(slowest(case)))
            },
        ];
        if let Some((was, without)) = ceilings(case) {
            facts.push(format!(
                "ceiling: {was:.1} connections a second; without DNS in the check {without:.0}"
            ));
        }
        let change = if by_dns {
            "Take DNS out of the check (see dns-in-accept-path): more threads, a longer queue or a bigger max_connections do not help, since one thread \
             checks everybody"
        } else {
            "Take what the checks wait for out of them (see the other findings): one thread checks everybody, so a longer queue only makes a longer wait"
        };
        let evidence = self.checks.evidence(facts);
        vec![finding(
            FindingId::AcceptThreadSaturated,
            Severity::Critical,
            message + ".",
            evidence,
            Some(change.to_owned() + "."),
        )]
    }
}

fn slowest(case: &Case<'_>) -> u64 {
    let wait = |job: &super::super::load::Job| {
        super::super::scenario::whole(f64::from(job.wrapper_ns) + f64::from(job.queued_ns).max(0.0))
    };
    case.load.jobs().map(wait).max().unwrap_or(0)
}

/// The ceiling as it was and with the clients in /etc/hosts.
fn ceilings(case: &Case<'_>) -> Option<(f64, f64)> {
    let (_, _, jobs) = case.load.busiest()?;
    let about = what_if::Circumstances {
        lookups: true,
        no_waits: Some(String::new()),
        handover_ns: case.load.handover_ns(),
        ..what_if::Circumstances::default()
    };
    let rows = what_if::table(jobs, &about);
    let of = |scenario| rows.iter().find(|row| row.scenario == scenario).and_then(|row| row.ceiling_per_s);
    Some((of(Scenario::AsItWas)?, of(Scenario::ClientsInHosts)?))
}
