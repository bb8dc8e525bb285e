//! What a page draws: waits over time, and the longest check with the queue behind it.

use std::cmp::Reverse;

use crate::model::KtimeNs;

use super::load::{Job, Load};
use super::scenario::whole;

/// Columns of the chart of waits.
pub const COLUMNS: usize = 120;
/// Rows of a waterfall.
const ROWS_MAX: usize = 40;

/// The waits of the clients that arrived in one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitColumn {
    /// Clients.
    pub count: u64,
    /// Their median wait.
    pub p50_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// Waits over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// When the first column begins.
    pub from: KtimeNs,
    /// When the last one ends.
    pub to: KtimeNs,
    /// Equal stretches of the time between.
    pub columns: Vec<WaitColumn>,
}

/// One bar of a waterfall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Connection.
    pub conn: u64,
    /// ESTABLISHED, or accept where the queue is not known.
    pub arrival: KtimeNs,
    /// Accept.
    pub accepted: KtimeNs,
    /// DNS in the check.
    pub dns_ns: u64,
    /// The check's end.
    pub check_end: KtimeNs,
    /// The server's own lookups after it.
    pub own_ns: u64,
    /// What is unknown of the time after it.
    pub unknown_ns: u64,
    /// First packet or close; the check's end where neither was seen.
    pub end: KtimeNs,
}

/// The longest check and who was queued behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waterfall {
    /// In the order of their accepts; the first one is the check.
    pub bars: Vec<Bar>,
    /// Connections that there was no room for.
    pub more: u64,
    /// False where the queue is not known: then these are the checks that followed at once.
    pub queue_known: bool,
}

fn wait_ns(job: &Job) -> u64 {
    if job.total_ns.is_nan() {
        return whole(f64::from(job.wrapper_ns) + f64::from(job.queued_ns).max(0.0));
    }
    whole(f64::from(job.total_ns))
}

/// Waits over the time of a trace.
pub fn waits(load: &Load) -> Waits {
    let arrivals = || load.jobs().map(Job::arrival);
    let (Some(from), Some(to)) = (arrivals().min(), arrivals().max()) else { return Waits::default() };
    let span = to.since(from).max(1);
    let column = |at: KtimeNs| {
        let share = u128::from(at.since(from)) * COLUMNS as u128 / (u128::from(span) + 1);
        usize::try_from(share).unwrap_or(0).min(COLUMNS - 1)
    };
    let mut waits: Vec<Vec<u64>> = vec![Vec::new(); COLUMNS];
    for job in load.jobs() {
        if let Some(column) = waits.get_mut(column(job.arrival())) {
            column.push(wait_ns(job));
        }
    }
    let columns = waits.into_iter().map(|mut waits| {
        waits.sort_unstable();
        WaitColumn {
            count: waits.len() as u64,
            p50_ns: waits.get(waits.len() / 2).copied().unwrap_or(0),
            max_ns: waits.last().copied().unwrap_or(0),
        }
    });
    Waits { from, to, columns: columns.collect() }
}

/// The longest check of the busiest accept thread, with the queue behind it.
pub fn waterfall(load: &Load) -> Waterfall {
    let Some((_, _, jobs)) = load.busiest() else { return Waterfall::default() };
    let longest = jobs
        .iter()
        .enumerate()
        .max_by_key(|(at, job)| (whole(f64::from(job.wrapper_ns) / 1e6), Reverse(*at)));
    let Some((at, check)) = longest else { return Waterfall::default() };
    let queue_known = check.queue_known();
    let end = check.check_end();
    let later = jobs.get(at + 1..).unwrap_or_default();
    let behind: Vec<&Job> = if queue_known {
        // Accepts are in order, so is the queue: the first that came after the check's end ends it.
        later.iter().take_while(|job| job.arrival() < end).collect()
    } else {
        let mut last = end;
        let mut follows = |job: &&Job| {
            let pause = job.accepted.since(last);
            last = last.max(job.check_end());
            pause <= 10_000_000
        };
        later.iter().take_while(|job| follows(job)).collect()
    };
    let all = std::iter::once(check).chain(behind.iter().copied());
    let bars: Vec<Bar> = all
        .take(ROWS_MAX)
        .map(|job| Bar {
            conn: job.conn,
            arrival: job.arrival(),
            accepted: job.accepted,
            dns_ns: whole(f64::from(job.dns_ns)),
            check_end: job.check_end(),
            own_ns: job.own_ns.as_ref().map_or(0, |own| whole(f64::from(own[0]))),
            unknown_ns: whole(f64::from(job.unknown_ns)),
            end: job.arrival().plus(wait_ns(job)).max(job.check_end()),
        })
        .collect();
    let more = (behind.len() + 1).saturating_sub(bars.len()) as u64;
    Waterfall { bars, more, queue_known }
}
