//! Events → connections: one state machine a thread, one registry of open connections, bounded memory. No I/O, no clock:
//! time is what the events say.
//!
//! ```text
//! let mut correlator = Correlator::new(Config::new(clock));
//! correlator.add_target(pid, info);
//! for each event { correlator.push(&event); while let Some(connection) = correlator.pop() { … } }
//! now and then   { correlator.advance(now); …pop…; for check in correlator.stalls(now, slow_ns) { … } }
//! at the end     { correlator.finish(now); …pop… }
//! ```
//!
//! What is assumed of the order of events: those of one thread are in order; a connection's accept comes before what other threads do with
//! it, and after its handshake. Events of different threads may otherwise come in any order within [`REORDER_NS`].
//!
//! A connection is told once it has ended (first packet, or close) and its accept thread's next accept was seen, or `LINGER_NS` have passed.

mod asked;
mod behind;
mod blind;
mod check;
mod config;
mod cpu;
mod due;
mod events;
mod handshakes;
mod infer;
mod inferred;
mod lookups;
pub(crate) mod map;
mod open_connection;
mod parts;
mod queue;
mod requests;
mod resolver;
mod seed;
mod seqs;
mod servers;
mod shared;
mod sight;
mod stall;
mod take;
mod tell;
mod texts;
mod turns;
mod workers;

use std::collections::VecDeque;

use wrapwatch_common::counters::Counter;
use wrapwatch_common::maps::{SAME_SUBJECT_NS, thread_key};

use crate::model::{ClockPair, Connection, Degradation, KtimeNs, Missing};

pub use config::{Config, HOLD_NS, Limits, Listener, TablePaths, TableText, TargetInfo, longest_wait_ns};
pub use seed::{SeededCheck, SeededSocket};
pub use stall::OpenCheck;

use cpu::RunDelays;
use due::Due;
use handshakes::Handshakes;
use map::HashMap;
use open_connection::{Birth, OpenConnection};
use parts::Divider;
use queue::History;
use requests::Past;
use servers::Servers;
use shared::Shared;

/// How much later an event of another thread may arrive than one that happened after it.
pub const REORDER_NS: u64 = 1_000_000;
/// How long after a connection's end the next accept in its thread still tells its service time.
const LINGER_NS: u64 = 20_000_000;
const _: () =
    assert!(LINGER_NS > SAME_SUBJECT_NS, "a request is reported once the kernel side adds nothing to it");

/// Longer than most lookups last that were not seen to begin.
const UNSEEN_LOOKUP_NS: u64 = 60_000_000_000;

/// How long a socket that the accept thread closed without `shutdown` may be followed by the `execve` of a `twist`.
const TWIST_NS: u64 = 500_000_000;

/// Connections' places that are kept for others. Few are open at a time.
const SPARE_MAX: usize = 16;

/// An accept thread.
#[derive(Debug, Default)]
struct AcceptThread {
    /// The connection that it turned to last, told or not.
    current: Option<u64>,
    /// When it turned to that one: its accept, or, where one thread serves all, the beginning of its check.
    turned: KtimeNs,
    history: History,
    /// Since when it asks libwrap about a client without a connection.
    unowned_check: Option<KtimeNs>,
    /// An accept of this thread was lost since the last that was seen.
    lost_accept: bool,
    delays: RunDelays,
    /// When it was last seen otherwise than by its records, and was not at its listener.
    seen_busy: KtimeNs,
}

/// How much there was, and what did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records taken.
    pub events: u64,
    /// Accept records taken.
    pub accepts: u64,
    /// Connections told, complete or not; those that began before the trace included.
    pub told: u64,
    /// Of these, not complete.
    pub incomplete: u64,
    /// Of these, accepted before the trace.
    pub seeded: u64,
    /// Connections of which something was seen, but not the accept. They are not told.
    pub orphans: u64,
    /// Connections told before their end because there were too many.
    pub evicted: u64,
    /// Records that belong to no connection that is open.
    pub strays: u64,
    /// Questions to libwrap about a client that was not accepted, as far as was seen, or had its first byte already, which there was no room to follow.
    pub unowned_checks: u64,
    /// Requests told.
    pub requests: u64,
    /// Handshakes forgotten because there were too many.
    pub handshakes_dropped: u64,
    /// Connections open now.
    pub open: usize,
    /// Handshakes waiting for their accept now.
    pub waiting: usize,
}

/// Turns events into connections, see the [module](self).
#[derive(Debug)]
pub struct Correlator {
    config: Config,
    shared: Shared,
    open: HashMap<u64, Box<OpenConnection>>,
    threads: HashMap<u64, AcceptThread>,
    handshakes: Handshakes,
    /// Sockets of open connections.
    socks: HashMap<u64, u64>,
    /// Accepted descriptors of open connections.
    fds: HashMap<u64, u64>,
    /// Connections that have ended, by when they are told.
    due: Due,
    /// Of connections that were told: their room is for those that come.
    #[expect(clippy::vec_box, reason = "they come from boxes and become some again")]
    spare: Vec<Box<OpenConnection>>,
    divider: Divider,
    ready: VecDeque<Box<Connection>>,
    requests: VecDeque<Box<Connection>>,
    /// Clients of connections that were told, whose processes may ask about them later.
    past: Past,
    now: KtimeNs,
    /// When accept records, socket states, ICMP errors, and any that say how a check goes on were last known to be lost.
    accepts_lost_at: Option<KtimeNs>,
    states_lost_at: Option<KtimeNs>,
    errors_lost_at: Option<KtimeNs>,
    steps_lost_at: Option<KtimeNs>,
    /// Until when calls were left out: accepts that are still to come may have been before that.
    skipped_until: Option<KtimeNs>,
    stats: Stats,
}

impl Correlator {
    /// One that has seen nothing.
    pub fn new(config: Config) -> Self {
        Self {
            shared: Shared::new(config.limits),
            open: HashMap::default(),
            threads: HashMap::default(),
            handshakes: Handshakes::new(config.limits.handshakes),
            socks: HashMap::default(),
            fds: HashMap::default(),
            due: Due::default(),
            spare: Vec::new(),
            divider: Divider::default(),
            ready: VecDeque::new(),
            requests: VecDeque::new(),
            past: Past::default(),
            now: KtimeNs(0),
            accepts_lost_at: None,
            states_lost_at: None,
            errors_lost_at: None,
            steps_lost_at: None,
            skipped_until: None,
            stats: Stats::default(),
            config,
        }
    }

    /// Makes a process known, or replaces what is known of it. Events of unknown processes are taken with the defaults.
    pub fn add_target(&mut self, tgid: u32, info: TargetInfo) {
        let target = self.shared.targets.entry(tgid).or_default();
        target.info = info;
        target.inferred.clear();
    }

    /// Something cannot be seen: what it would have shown is unknown from now on, and never taken for absent.
    pub fn note_degradation(&mut self, degradation: &Degradation) {
        let blind = match degradation.pid {
            Some(pid) => &mut self.shared.targets.entry(pid).or_default().blind,
            None => &mut self.shared.blind,
        };
        blind.note(degradation.kind);
    }

    /// A process is gone, and was seen to be otherwise than by its last event, which may have been lost: its number may be another's from now on.
    pub fn target_gone(&mut self, tgid: u32) {
        self.process_gone(tgid, Missing::ServerEnded);
    }

    /// Sets the text that rules of a table are quoted from, for checks that opened it at `from` or later. `path` as the target opens it. Events
    /// of earlier checks may still be to come. None: what it is from then on is not known.
    pub fn set_table_text(&mut self, tgid: u32, path: &str, text: Option<TableText>, from: KtimeNs) {
        shared::set_text(&mut self.shared.targets, tgid, path, text, from);
    }

    /// A new pair of clocks, for connections told from now on.
    pub fn set_clock(&mut self, clock: ClockPair) {
        self.config.clock = clock;
    }

    /// The kernel left out calls between these times, anybody's. Before the events that came meanwhile are pushed; what has ended by then is told only
    /// after [`Config::hold_ns`], so that it is still there.
    pub fn note_skipped(&mut self, since: KtimeNs, until: KtimeNs) {
        self.skipped_until = self.skipped_until.max(Some(until));
        self.steps_lost_at = self.steps_lost_at.max(Some(until));
        for ongoing in self.open.values_mut() {
            if !ongoing.is_told()
                || ongoing.ended().is_none_or(|ended| ended.max(ongoing.check_end()) >= since)
            {
                ongoing.miss(Missing::CallsSkipped);
            }
        }
    }

    /// The process was seen stopped (state `T` of proc(5)) from one sample to another: this time is nobody's fault but the stopper's.
    pub fn note_stopped(&mut self, tgid: u32, from: KtimeNs, to: KtimeNs) {
        if from < to {
            self.shared.targets.entry(tgid).or_default().stopped(from, to);
        }
    }

    /// The scheduler's count of the time that a thread was ready to run and did not, in nanoseconds (`/proc/PID/task/TID/schedstat`, second number), at
    /// `at`, where it comes otherwise than with the records. Before the events that came meanwhile are pushed.
    pub fn note_run_delay(&mut self, tgid: u32, tid: u32, at: KtimeNs, total_ns: u64) {
        if let Some(thread) = self.threads.get_mut(&thread_key(tgid, tid)) {
            thread.delays.sample(at, total_ns);
        }
    }

    /// An accept thread was seen asleep (states `S` and `D` of proc(5)) at `at`: it was not waiting for a CPU. After the events that came before are pushed, of
    /// those in [`Self::in_checks`].
    pub fn note_asleep(&mut self, tgid: u32, tid: u32, at: KtimeNs) {
        if let Some(thread) = self.threads.get_mut(&thread_key(tgid, tid)) {
            thread.delays.seen_asleep(at);
        }
    }

    /// Process and thread of every accept thread that is in a check as far as is known, in order.
    pub fn in_checks(&self) -> Vec<(u32, u32)> {
        let current = self.threads.values().filter_map(|thread| self.open.get(&thread.current?));
        let checking =
            current.filter(|ongoing| ongoing.holds_accept_thread() && ongoing.in_check() != Some(false));
        let mut threads: Vec<_> = checking.map(|ongoing| (ongoing.tgid, ongoing.tid)).collect();
        threads.sort_unstable();
        threads
    }

    /// Process and thread of every accept thread seen so far, in order.
    pub fn accept_threads(&self) -> Vec<(u32, u32)> {
        let half = |n: u64| u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0);
        let mut threads: Vec<_> = self.threads.keys().map(|key| (half(key >> 32), half(*key))).collect();
        threads.sort_unstable();
        threads
    }

    /// Events were lost since the last call, by counter; best asked for before the events that came meanwhile are pushed. A connection's own losses
    /// show by its numbers; these show in none: a lost accept hides who others waited behind, a lost socket state a handshake or a client's leaving, a lost ICMP error why a query
    /// got no answer.
    pub fn note_lost(&mut self, lost: &[(Counter, u64)]) {
        self.note_lost_until(lost, KtimeNs(0));
    }

    /// As [`Self::note_lost`], by counters read at `until`: events of before may still be to come.
    pub fn note_lost_until(&mut self, lost: &[(Counter, u64)], until: KtimeNs) {
        let now = self.now.max(until);
        for &(counter, _) in lost.iter().filter(|(_, n)| *n > 0) {
            if !matches!(
                counter,
                Counter::LostSockState
                    | Counter::LostSockError
                    | Counter::LostAcceptFailed
                    | Counter::FullFailures
                    | Counter::SkippedCalls
            ) {
                self.steps_lost_at = Some(now);
            }
            let why = match counter {
                Counter::LostAccept => {
                    self.accepts_lost_at = Some(now);
                    Missing::AcceptsLost
                }
                Counter::LostSockState => {
                    self.states_lost_at = Some(now);
                    Missing::StatesLost
                }
                Counter::LostSockError => {
                    self.errors_lost_at = Some(now);
                    continue;
                }
                Counter::LostOther => {
                    self.execs_lost();
                    // A trace of before they had a counter of their own counts ICMP errors here.
                    self.errors_lost_at = Some(now);
                    continue;
                }
                Counter::LostFirstPacket => {
                    // A connection's last record leaves no gap.
                    self.open.values_mut().for_each(|ongoing| ongoing.end_lost |= !ongoing.is_told());
                    continue;
                }
                _ => continue,
            };
            for ongoing in self.open.values_mut() {
                ongoing.miss(why);
            }
        }
    }

    /// Whether [`Self::advance`] would tell a connection.
    pub fn is_due(&self, now: KtimeNs) -> bool {
        self.due.first().is_some_and(|(at, _)| at <= now)
    }

    /// Says that it is `now`, where no event does: connections that wait for nothing more are told.
    pub fn advance(&mut self, now: KtimeNs) {
        self.now = self.now.max(now);
        while let Some((at, conn)) = self.due.first() {
            if at > self.now {
                break;
            }
            self.conclude(conn, false);
        }
    }

    /// The next connection whose story is told. To be called until it gives none after every push: what is ready is kept.
    pub fn pop(&mut self) -> Option<Box<Connection>> {
        self.ready.pop_front()
    }

    /// The next request, as [`Self::pop`].
    pub fn pop_request(&mut self) -> Option<Box<Connection>> {
        self.requests.pop_front()
    }

    /// The trace ends: everything open is told as far as it went.
    pub fn finish(&mut self, now: KtimeNs) {
        self.advance(now);
        let mut rest: Vec<(KtimeNs, u64)> =
            self.open.values().map(|ongoing| (ongoing.accepted, ongoing.conn)).collect();
        rest.sort_unstable();
        for (_, conn) in rest {
            if let Some(ongoing) = self.open.get_mut(&conn)
                && !ongoing.is_told()
                && !ongoing.leader_gone
            {
                let checking = ongoing.in_check() == Some(true);
                ongoing.miss(match (checking, ongoing.end_lost) {
                    (true, _) => Missing::StillInCheck,
                    (false, true) => Missing::EndUnseen,
                    (false, false) => Missing::StillOpen,
                });
            }
            self.conclude(conn, true);
        }
    }

    /// Clients whose handshake was completed, and that neither left nor were accepted.
    pub fn still_queued(&self) -> u64 {
        self.handshakes.iter().filter(|handshake| handshake.left.is_none()).count() as u64
    }

    /// How much there was.
    pub fn stats(&self) -> Stats {
        Stats {
            open: self.open.len(),
            waiting: self.handshakes.len(),
            handshakes_dropped: self.handshakes.dropped(),
            ..self.stats
        }
    }

    /// Ends a connection's story and tells it.
    fn conclude(&mut self, conn: u64, still: bool) {
        self.close_check(conn, still);
        let Some(mut ongoing) = self.open.remove(&conn) else { return };
        // Its end, or what it waits for, may be among what was lost since.
        ongoing.end_lost |= still && self.steps_lost_at.is_some_and(|lost| lost >= ongoing.last_seen());
        if let Some(due) = ongoing.due {
            self.due.remove(due, conn);
        }
        // Its place may be another socket's by now.
        if self.socks.get(&ongoing.sk) == Some(&conn) {
            self.socks.remove(&ongoing.sk);
        }
        let key = wrapwatch_common::maps::watch_key(ongoing.process, ongoing.fd);
        if self.fds.get(&key) == Some(&conn) {
            self.fds.remove(&key);
        }
        if ongoing.is_unsure()
            && let Some(thread) = self.threads.get_mut(&thread_key(ongoing.tgid, ongoing.tid))
        {
            thread.history.was_unsure(ongoing.conn);
        }
        if ongoing.birth == Birth::Orphan {
            self.stats.orphans += 1;
            return;
        }
        if ongoing.leader_gone {
            ongoing.miss(Missing::ServerEnded);
        }
        if self.errors_lost_at.is_some_and(|lost_at| ongoing.may_be_refused(lost_at)) {
            ongoing.miss(Missing::ErrorsLost);
        }
        if !ongoing.sure() {
            ongoing.resolver.tell_unmatched(&mut self.shared);
        }
        self.serves_behind(&mut ongoing);
        if self.config.tells {
            self.tell(&mut ongoing, still);
        }
        if ongoing.birth == Birth::Request {
            self.stats.requests += 1;
            return;
        }
        self.stats.told += 1;
        self.stats.seeded += u64::from(ongoing.birth == Birth::Seeded);
        self.past.remember(&ongoing, self.shared.limits.history);
        if self.spare.len() < SPARE_MAX {
            self.spare.push(ongoing);
        }
    }

    /// Makes of a story that is over what is told.
    fn tell(&mut self, ongoing: &mut OpenConnection, still: bool) {
        self.unsure_behind(ongoing);
        let blind = self.shared.blind(ongoing.tgid);
        let now = if still { self.now } else { KtimeNs(0) };
        let workers = self.workers(ongoing, now);
        let gives = self.shared.gives(ongoing.tgid, ongoing.local);
        let mut connection = Box::new(tell::to_connection(
            ongoing,
            &tell::Around { config: &self.config, servers: &self.shared.servers, blind, now, workers, gives },
        ));
        if let Some(target) = self.shared.targets.get_mut(&ongoing.tgid) {
            infer::infer(&mut connection, ongoing, target);
        }
        if ongoing.birth == Birth::Request {
            self.requests.push_back(connection);
        } else {
            self.stats.incomplete += u64::from(!connection.complete);
            self.ready.push_back(connection);
        }
    }

    /// Decides when an ended connection is told.
    fn schedule(&mut self, conn: u64) {
        let Some(ongoing) = self.open.get_mut(&conn).filter(|ongoing| ongoing.is_told()) else { return };
        let ended = ongoing.ended().unwrap_or(ongoing.accepted);
        let due = if ongoing.next_accept.is_some() {
            ended.plus(REORDER_NS)
        } else if ongoing.may_be_twisted() {
            ended.plus(TWIST_NS)
        } else {
            ended.max(ongoing.check_end()).plus(LINGER_NS + REORDER_NS)
        };
        let due = due.plus(self.config.hold_ns);
        if ongoing.due != Some(due) {
            if let Some(old) = ongoing.due.replace(due) {
                self.due.remove(old, conn);
            }
            self.due.insert(due, conn);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
