//! What every connection asked of its accept thread, in 80 bytes each, so that a million of them fit: arrivals and service times for
//! what-if, the busiest stretch, waits over time, and who was queued behind whom.

use std::collections::BTreeMap;

use crate::model::{Client, Connection, KtimeNs, Stage};

use super::handover::Handover;
use super::scenario::{self, Durations, float, whole};

/// Connections kept; later ones are counted only.
const JOBS_MAX: usize = 4 << 20;
/// Accept threads told apart.
const THREADS_MAX: usize = 64;

/// One connection as its accept thread's work.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub conn: u64,
    /// When accept returned.
    pub accepted: KtimeNs,
    /// Time in the queue; NaN where it is not known.
    pub queued_ns: f32,
    /// The check.
    pub wrapper_ns: f32,
    /// DNS in it.
    pub dns_ns: f32,
    /// ESTABLISHED (else accept) to the first packet.
    pub total_ns: f32,
    /// What is unknown of the time after the check.
    pub unknown_ns: f32,
    /// The check's length in each scenario.
    pub check_ns: Durations,
    /// What the server's own lookups take in each scenario; `None` where there were none.
    pub own_ns: Option<Box<Durations>>,
}

impl Job {
    /// ESTABLISHED, where it is known, else accept.
    pub fn arrival(&self) -> KtimeNs {
        if self.queued_ns.is_nan() {
            return self.accepted;
        }
        KtimeNs(self.accepted.0.saturating_sub(whole(f64::from(self.queued_ns))))
    }

    /// The check's end.
    pub fn check_end(&self) -> KtimeNs {
        self.accepted.plus(whole(f64::from(self.wrapper_ns)))
    }

    /// Whether its time in the queue is known.
    pub const fn queue_known(&self) -> bool {
        !self.queued_ns.is_nan()
    }
}

/// A stretch in which an accept thread did one check after another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stretch {
    /// First accept.
    pub from: KtimeNs,
    /// Last check's end.
    pub to: KtimeNs,
    /// Checks.
    pub count: u64,
    /// Time inside them.
    pub checks_ns: u64,
    /// DNS inside them.
    pub dns_ns: u64,
    /// The last connection of it.
    pub last: u64,
}

impl Stretch {
    /// How long.
    pub const fn ns(&self) -> u64 {
        self.to.since(self.from)
    }
}

/// One accept thread's work.
#[derive(Debug, Default)]
struct Thread {
    jobs: Vec<Job>,
    handover: Handover,
}

/// Whether it was checked where that keeps the accept thread from nothing, in a process or thread of its own: the accept thread had it for less time than the check took.
pub(super) const fn checked_elsewhere(connection: &Connection) -> bool {
    connection.wrapper_ns > connection.service_ns
}

/// The work of each accept thread.
#[derive(Debug, Default)]
pub struct Load {
    threads: BTreeMap<(u32, u32), Thread>,
    kept: usize,
    /// Connections that were not kept.
    pub beyond: u64,
    sorted: bool,
}

impl Load {
    /// Takes a connection. Those of a unix socket are no work worth counting, and a check in a process of its own is no work of the accept thread's.
    pub fn add(&mut self, connection: &Connection) {
        if connection.peer == Some(Client::Unix) || checked_elsewhere(connection) {
            return;
        }
        let key = (connection.pid, connection.tid);
        let room =
            self.kept < JOBS_MAX && (self.threads.len() < THREADS_MAX || self.threads.contains_key(&key));
        if !room {
            self.beyond += 1;
            return;
        }
        self.kept += 1;
        self.sorted = false;
        let thread = self.threads.entry(key).or_default();
        thread.handover.add(connection);
        thread.jobs.push(Job {
            conn: connection.conn,
            accepted: connection.accepted_ktime,
            queued_ns: connection.queued_ns.map_or(f32::NAN, float),
            wrapper_ns: float(connection.wrapper_ns),
            dns_ns: float(connection.parts.dns_ns),
            total_ns: connection.total_ns.map_or(f32::NAN, float),
            unknown_ns: float(connection.unknown_in(Stage::Thread)),
            check_ns: scenario::checks(connection),
            own_ns: scenario::own_lookups(connection),
        });
    }

    /// Brings each thread's jobs into the order of their accepts; to be called before what follows.
    pub fn sort(&mut self) {
        if !self.sorted {
            let threads = self.threads.values_mut();
            threads.for_each(|thread| thread.jobs.sort_unstable_by_key(|job| job.accepted));
            self.sorted = true;
        }
    }

    /// The accept thread that checked longest: process, thread, its work.
    pub fn busiest(&self) -> Option<(u32, u32, &[Job])> {
        let checks = |jobs: &[Job]| jobs.iter().map(|job| f64::from(job.wrapper_ns)).sum::<f64>();
        let longest =
            self.threads.iter().max_by(|(_, a), (_, b)| checks(&a.jobs).total_cmp(&checks(&b.jobs)));
        let (&(pid, tid), thread) = longest?;
        Some((pid, tid, &thread.jobs))
    }

    /// What that thread needs beside the check, where it was seen.
    pub fn handover_ns(&self) -> Option<f64> {
        let (pid, tid, _) = self.busiest()?;
        self.threads.get(&(pid, tid))?.handover.median_ns()
    }

    /// All jobs, thread after thread.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.threads.values().flat_map(|thread| &thread.jobs)
    }

    /// Number of accept threads.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }
}

/// The longest stretch of checks back to back.
pub fn longest_stretch(jobs: &[Job]) -> Stretch {
    let mut longest = Stretch::default();
    let mut current = Stretch::default();
    for job in jobs {
        let check = whole(f64::from(job.wrapper_ns));
        // Between two checks lie the hand-over and an accept: some percent of a long check, little in any case.
        let pause = (check / 20).clamp(200_000, 10_000_000);
        if current.count == 0 || job.accepted.since(current.to) > pause {
            current = Stretch { from: job.accepted, to: job.accepted, ..Stretch::default() };
        }
        current.to = current.to.max(job.check_end());
        current.count += 1;
        current.checks_ns = current.checks_ns.saturating_add(check);
        current.dns_ns = current.dns_ns.saturating_add(whole(f64::from(job.dns_ns)));
        current.last = job.conn;
        if current.ns() > longest.ns() {
            longest = current;
        }
    }
    longest
}
