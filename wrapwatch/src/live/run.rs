//! The loop of a live trace.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use caps::Capability;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until},
};
use wrapwatch_common::{counters::Counter, records::Kind};

use super::{
    End, Ended, Measure, Process, SessionError, Settings,
    feed::Feed,
    inputs,
    looks::Looks,
    losses::Losses,
    meter::{Meter, Turn},
    pace::Paces,
    session::{Beginning, Session},
    signals::Signals,
};
use crate::{
    decode,
    engine::{Engine, HOLD_NS, Options, Question},
    host::{
        clock, confine, heap, reader, servers,
        wanted::{self, Wanted},
        watch,
    },
    model::{Cost, Degradation, DegradationKind, KtimeNs, Lost, Summary},
    observe::{Notice, Observer},
    probe::{self, Probe, Ring, Then},
    trace::{self, AcceptThread, Input, ProcessSample},
};

/// How often the ring is emptied, and what the events do not show is looked at: a stopped server, losses.
const SAMPLE: Duration = Duration::from_millis(100);
/// How often a stall is told, and the clocks are compared.
const SECOND: Duration = Duration::from_secs(1);
/// How often a process to trace is looked for while there is none, and every how many times while there is one.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS_PASSED: u32 = 8;
/// Longest time in which records are taken before signals, the trace's end and processes' ends are looked at again: with a full ring, and records that are dear to take,
/// it is never empty.
const DRAIN: Duration = Duration::from_millis(200);
/// How long the end waits until the kernel has taken the programs off.
const LET_GO: Duration = Duration::from_millis(500);
/// How many records are taken between two looks at that time.
const DRAIN_STEP: u32 = 16;

impl<'a> Session<'a> {
    /// Attaches, and traces until it is over. Must be called inside a tokio runtime with I/O and time.
    pub async fn run(settings: &'a Settings, observer: &'a mut dyn Observer) -> Result<End, SessionError> {
        probe::check()?;
        // As long as the rights are there.
        reader::start();
        let first = if settings.wait { Vec::new() } else { find(settings)? };
        // Beside the session: whatever the ring hands out, all of the session is there to take it.
        let (mut session, mut ring) = Self::attach(settings, observer, &first)?;
        let ended = match session.follow(first, &mut ring).await {
            Ok(why) => session.end(why, &mut ring),
            Err(error) => Err(error),
        };
        session.let_go().await;
        ended
    }

    fn attach(
        settings: &'a Settings,
        observer: &'a mut dyn Observer,
        first: &[Process],
    ) -> Result<(Self, Ring), SessionError> {
        let mut options = settings.probe;
        options.targets = options.targets.max(first.len() as u64);
        for tracee in first {
            options.max_fds = options.max_fds.max(tracee.info.max_fds);
            options.threads = options.threads.max(tracee.info.threads.saturating_mul(2));
            options.local |= tracee.local_listeners.as_ref().is_ok_and(|listeners| !listeners.is_empty());
        }
        let signals = Signals::new()?;
        let mut probe = Probe::attach(&options)?;
        let ring = probe.take_ring()?;
        let connections = observer.wants_connections();
        let engine = Engine::new(Options { slow_ns: settings.slow_ns, connections, ..Options::default() });
        let losses = Losses::new(probe.counts());
        let (exited, exits) = mpsc::unbounded_channel();
        let session = Self {
            settings,
            feed: Feed::new(observer, engine),
            degradations: probe.degradations().to_vec(),
            probe,
            targets: BTreeMap::new(),
            stopped: BTreeMap::new(),
            replaced: BTreeMap::new(),
            refused: BTreeSet::new(),
            exits,
            exited,
            signals,
            losses,
            holds: probe::raw_skips_calls(),
            last_conn: 0,
            meter: Meter::new(settings.measure),
            window: None,
            above: None,
            not_run: None,
            run_at: clock::now(),
            looks: Looks::default(),
            beginning: Some(Beginning::default()),
            paces: Paces::default(),
        };
        Ok((session, ring))
    }

    /// Traces the first targets, then, if asked to, the next ones.
    async fn follow(&mut self, first: Vec<Process>, ring: &mut Ring) -> Result<Ended, SessionError> {
        self.add_first(first)?;
        heap::give_back();
        // Before the trace is said to have begun: that it cannot be measured, if so.
        self.measure(clock::now());
        // Before a recording has threads of its own.
        self.give_up_capabilities();
        self.begin();
        watch::begun();
        for tracee in self.targets.values() {
            self.feed.notice(&Notice::Watching(&inputs::describe(tracee)));
        }
        let end = self.settings.duration.map(|duration| Instant::now() + duration);
        let mut sample = every(SAMPLE);
        let mut second = every(SECOND);
        let mut look = every(LOOK);
        let mut looks = 0_u32;
        if self.targets.is_empty() {
            self.feed.notice(&Notice::Waiting(&self.settings.wanted.what()));
        }
        loop {
            if let Some(error) = self.feed.take_error() {
                return match error.kind() {
                    std::io::ErrorKind::BrokenPipe => Ok(Ended::OutputClosed),
                    _ => Err(SessionError::Output(error)),
                };
            }
            if let Some(ended) = self.too_expensive().or_else(|| self.hooks_off()) {
                return Ok(ended);
            }
            self.feed.flush();
            // They have ended, or are what cannot be traced.
            if self.targets.is_empty() && !self.settings.wait {
                return Ok(Ended::TargetsGone);
            }
            tokio::select! {
                // In this order: what ends a trace is obeyed whatever else there is to do.
                biased;
                () = self.signals.any() => return Ok(Ended::Asked),
                () = until(end) => return Ok(Ended::Duration),
                Some(pid) = self.exits.recv() => {
                    self.drain(ring);
                    self.remove(pid);
                    if self.targets.is_empty() && self.settings.wait {
                        self.feed.notice(&Notice::Waiting(&self.settings.wanted.what()));
                    }
                }
                _ = second.tick() => self.each_second(ring),
                _ = sample.tick() => self.sample(ring),
                _ = look.tick(), if self.settings.wait => {
                    looks = looks.wrapping_add(1);
                    if self.targets.is_empty() || looks.is_multiple_of(LOOKS_PASSED) {
                        self.look(ring);
                    }
                }
                result = ring.wait() => {
                    result?;
                    self.drain(ring);
                }
            }
        }
    }

    /// The next target's uprobes and network namespace take CAP_SYS_ADMIN again.
    fn give_up_capabilities(&self) {
        let mut keep = self.settings.keep.clone();
        if self.settings.wait {
            keep.push(Capability::CAP_SYS_ADMIN);
        }
        reader::give_up_all_but(if self.settings.wait { &[Capability::CAP_SYS_ADMIN] } else { &[] });
        probe::privileges::drop_all_but(&keep);
        confine::forbid_calls();
    }

    /// Takes what was written into the ring until now, but not for long; whether all of that was taken. What comes while it is at it waits for the next time: with a server that
    /// is always busy the ring is never empty, and to run after each record would cost a look at the server's files for each.
    pub(super) fn drain(&mut self, ring: &mut Ring) -> bool {
        self.drain_until(clock::now(), ring)
    }

    /// As [`Self::drain`], of the records until then. Before each batch tells of calls that were left out, for its records are to be seen in that light.
    fn drain_until(&mut self, until: KtimeNs, ring: &mut Ring) -> bool {
        let end = Instant::now() + DRAIN;
        loop {
            let mut taken = 0_u32;
            let more = ring.drain(|record| {
                if taken == 0 {
                    self.skips();
                }
                let at = self.take(record);
                taken = taken.wrapping_add(1);
                after(at, until, || taken.is_multiple_of(DRAIN_STEP) && Instant::now() >= end)
            });
            if !more {
                return true;
            }
            // With a full ring this goes on for long: what is written to must not wait for its end.
            self.feed.flush();
            self.feed.tick(clock::now());
            if self.feed.has_failed() || Instant::now() >= end {
                return false;
            }
        }
    }

    /// Before time goes on to `at`, where the kernel may leave out calls: asks whether it did, unless that was asked lately. What has ended
    /// since is held back by the engine, by the records' time; by how long this process waited for a CPU nothing is decided.
    fn know_skips(&mut self, at: KtimeNs) {
        if self.holds && at.since(self.losses.skips_asked()) > HOLD_NS / 2 {
            self.skips();
        }
    }

    /// Takes one record from the ring; when it was made.
    fn take(&mut self, record: &[u8]) -> KtimeNs {
        let Some(header) = decode::header(record) else {
            log::warn!("{} bytes that are not a record", record.len());
            return KtimeNs(0);
        };
        let at = KtimeNs(header.ts_ns);
        self.know_skips(at);
        self.last_conn = self.last_conn.max(header.conn);
        // A trace has the files before the record that quotes from them, too.
        self.look_before(header.kind, record);
        self.feed.input(&Input::Record(record));
        if header.kind == Kind::Exec as u16 {
            self.is_replaced(header.tgid);
        }
        at
    }

    pub(super) const fn last_conn(&self) -> u64 {
        self.last_conn
    }

    /// Ten times a second: did a table change, is a server stopped, was anything lost, has time passed without events.
    fn sample(&mut self, ring: &mut Ring) {
        self.look_at_files_sometimes(clock::now());
        self.files_due(clock::now());
        let (now, emptied) = self.catch_up(ring);
        if emptied {
            self.look_at_threads(clock::now());
            self.know_skips(now);
            self.feed.time(now);
        }
        self.look_at_replaced(now);
        self.measure(now);
        self.probe.flush_kernel_log();
        self.feed.tick(now);
    }

    /// Takes what is in the ring, and tells what was lost by then. The time until which all records are taken, if the ring was emptied.
    fn catch_up(&mut self, ring: &mut Ring) -> (KtimeNs, bool) {
        let now = clock::now();
        (now, self.catch_up_until(now, ring))
    }

    /// As [`Self::catch_up`], of the records until then.
    fn catch_up_until(&mut self, until: KtimeNs, ring: &mut Ring) -> bool {
        let lost = self.losses.read(&self.probe);
        let emptied = self.drain_until(until, ring);
        if let Some(lost) = self.losses.told(lost) {
            self.feed.input(&lost.into());
        }
        emptied
    }

    /// Whether targets are stopped, and what the engine asks: which accept threads sleep in their check. What comes next is to be seen in this light.
    fn look_at_threads(&mut self, now: KtimeNs) {
        let mut seen = Vec::new();
        for (&pid, tracee) in &self.targets {
            if tracee.stopped(pid) {
                let since = *self.stopped.entry(pid).or_insert(now);
                self.stopped.insert(pid, now);
                seen.push(ProcessSample { pid, stopped_since: Some(since), ..ProcessSample::default() });
            } else {
                self.stopped.remove(&pid);
            }
        }
        for question in self.feed.engine().questions(now) {
            if let Question::Asleep { pid, tid } = question
                && self.targets.get(&pid).is_some_and(|tracee| tracee.is_asleep(tid))
            {
                seen.push(ProcessSample { pid, asleep: vec![tid], ..ProcessSample::default() });
            }
        }
        self.seen(now, seen);
    }

    /// A record that quotes from the targets' files has them looked at in any case, and then it is not done again.
    fn look_at_files_sometimes(&mut self, now: KtimeNs) {
        if let Some(since) = self.looks.due(self.feed.engine().events(), now) {
            self.look_at_files_not_looked_at_since(since);
        }
    }

    /// One more step of measuring what the programs take from the server.
    fn measure(&mut self, now: KtimeNs) {
        match self.meter.turn(now, &self.probe) {
            Turn::Nothing => {}
            Turn::Window(window) => self.window = Some(window),
            Turn::Above(share) => self.above = Some(share),
            Turn::Blind(why) => self.degraded(Degradation {
                kind: DegradationKind::NoRunTime,
                pid: None,
                message: format!(
                    "wrapwatch cannot measure what its programs cost the server ({why}): that takes CAP_SYS_ADMIN and Linux 5.8"
                ),
            }),
        }
    }

    /// Ends the trace where the programs take more than they may, and tells why.
    fn too_expensive(&mut self) -> Option<Ended> {
        let (share, Measure::Limit(limit)) = (self.above?, self.settings.measure) else { return None };
        let ended = Ended::TooExpensive { share, limit };
        self.degraded(Degradation {
            kind: DegradationKind::TooExpensive,
            pid: None,
            message: ended.reason(),
        });
        Some(ended)
    }

    /// What the trace has cost so far.
    fn cost(&mut self, now: KtimeNs) -> Cost {
        self.meter.look();
        let counts = self.losses.counts();
        self.meter.cost(now, counts.get(Counter::Records), counts.lost())
    }

    /// Tells that the kernel left out calls since the last time, if it did.
    fn skips(&mut self) {
        if let Some(lost) = self.losses.skips(&self.probe) {
            self.feed.input(&lost.into());
        }
    }

    /// Once a second: stalls, the clocks. Not while records wait to be taken: a check that ended meanwhile is no stall.
    fn each_second(&mut self, ring: &mut Ring) {
        let (now, emptied) = self.catch_up(ring);
        if !emptied {
            return;
        }
        self.doubts(now);
        self.feed.input(&Input::Clock(clock::pair()));
        // Asked of each program, which is dear: not at each look at an empty ring.
        self.skips();
        self.sample_of_second(now);
        self.not_run = self.probe.not_run();
        if self.not_run.is_none() {
            self.run_at = now;
        }
        if let Err(error) = self.probe.sweep() {
            log::warn!("{error}");
        }
        let cost = self.cost(now);
        // The first time is at the very beginning.
        if cost.events > 0 || cost.server.is_some() {
            self.feed.notice(&Notice::Cost(&cost));
        }
    }

    /// After a loss the engine asks whether accept threads whose check seems to go on are still in it.
    fn doubts(&mut self, now: KtimeNs) {
        let mut seen = Vec::new();
        for question in self.feed.engine().questions(now) {
            let Question::AtListener { pid, tid } = question else { continue };
            let at_listener = self.targets.get(&pid).and_then(|tracee| tracee.at_listener(tid));
            if let Some(at_listener) = at_listener {
                let accept_threads = vec![AcceptThread { tid, at_listener }];
                seen.push(ProcessSample { pid, accept_threads, ..ProcessSample::default() });
            }
        }
        // By now it may have turned to the next one, of which a record may be on its way.
        self.seen(clock::now(), seen);
    }

    /// What is left in the ring when the trace is to end, and would take long, is lost.
    fn leave(&mut self, ring: &mut Ring) {
        let (mut accepts, mut others) = (0, 0);
        while ring.drain(|record| {
            let is_accept = |kind| kind == Kind::Accept as u16 || kind == Kind::AcceptSocket as u16;
            let accept = decode::header(record).is_some_and(|header| is_accept(header.kind));
            *(if accept { &mut accepts } else { &mut others }) += 1;
            Then::Next
        }) {}
        let by = [("lost_accept", accepts), ("lost_other", others)];
        let by = by.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n)).collect();
        let until_ns = Some(clock::now().0);
        self.feed.input(&Lost { events: accepts + others, by, until_ns, ..Lost::default() }.into());
    }

    /// Takes the programs off. All is told by now, and the kernel may take seconds for it: who asked for the end, asks again or has waited long enough need not wait for that.
    async fn let_go(self) {
        let Self { probe, mut signals, mut feed, .. } = self;
        let mut detaching = probe.detach();
        let off = is_off(detaching.finished(), signals.any(), sleep(LET_GO)).await;
        if !off {
            feed.notice(&Notice::Detaching);
        }
    }

    /// Ends the trace: first the targets, so that nothing more comes, then what is left in the ring, then the summary.
    fn end(&mut self, why: Ended, ring: &mut Ring) -> Result<End, SessionError> {
        self.queues_at_end();
        for pid in self.targets.keys().copied().collect::<Vec<_>>() {
            if let Err(error) = self.probe.end_target(pid) {
                log::warn!("taking pid {pid} off the targets: {error}");
            }
        }
        // Somebody may have edited them within the last second.
        self.look_at_files();
        self.last_files(None);
        if !self.catch_up_until(KtimeNs(u64::MAX), ring) {
            self.leave(ring);
        }
        self.skips();
        let at = clock::now();
        let cost = self.cost(at);
        self.feed.input(
            &trace::End {
                at,
                reason: why.reason(),
                counters: inputs::named(self.losses.counts()),
                cost: Some(cost),
                ..trace::End::default()
            }
            .into(),
        );
        self.feed.finish(why != Ended::OutputClosed);
        let summary: Summary = self.feed.engine().summary();
        match self.feed.take_error() {
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(SessionError::Output(error)),
            _ => Ok(End { why, summary }),
        }
    }
}

/// What is wanted after a record of that time, of those until a time.
fn after(at: KtimeNs, until: KtimeNs, is_long: impl FnOnce() -> bool) -> Then {
    if at > until {
        Then::Later
    } else if is_long() {
        Then::Pause
    } else {
        Then::Next
    }
}

/// Whether they are off before somebody asks again for the end, or has waited long enough.
async fn is_off(
    off: impl Future<Output = ()>,
    asked_again: impl Future<Output = ()>,
    long_enough: impl Future<Output = ()>,
) -> bool {
    tokio::select! {
        // Off is off, whatever else has come true.
        biased;
        () = off => true,
        () = asked_again => false,
        () = long_enough => false,
    }
}

/// The targets there are now; it is an error that there are none.
fn find(settings: &Settings) -> Result<Vec<Process>, SessionError> {
    let wanted = &settings.wanted;
    let mut pids = wanted::find(wanted)?;
    if pids.is_empty() {
        let message = format!("there is no {}; start it, or wait for it with --wait", wanted.what());
        return Err(crate::host::HostError::NotFound(message).into());
    }
    let mut found: Vec<Process> = Vec::new();
    let mut failed = None;
    let by_number = matches!(wanted, Wanted::Pids(_));
    let heads = if by_number { HashMap::new() } else { servers::heads(&pids) };
    pids.sort_by_key(|pid| heads.contains_key(pid));
    for pid in pids {
        let is_heads = |known: &Process| heads.get(&pid) == Some(&known.info.pid) && known.may_hand_over();
        if found.iter().any(is_heads) {
            continue;
        }
        match Process::open_server(pid) {
            Ok(tracee) if found.iter().any(|known| known.info.pid == tracee.info.pid) => {}
            Ok(tracee) => {
                let info = &tracee.info;
                if info.pid != pid {
                    log::warn!(
                        "pid {pid} does not listen; pid {} ({}) accepts for it and is traced",
                        info.pid,
                        info.comm
                    );
                }
                found.push(tracee);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        // Of several found by name, one that cannot be taken is no reason to leave the others.
        Some(error) if found.is_empty() || by_number => Err(error.into()),
        _ => Ok(found),
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use nix::sys::signal::{Signal, raise};

    use super::{KtimeNs, Signals, Then, after, is_off};

    /// Else it would run after each record of a server that is always busy, and look at that one's files for each.
    #[test]
    fn what_came_after_a_drain_began_waits_for_the_next_one() {
        let (before, until, later) = (KtimeNs(9), KtimeNs(10), KtimeNs(11));
        assert_eq!(after(before, until, || false), Then::Next);
        assert_eq!(after(until, until, || false), Then::Next);
        assert_eq!(after(until, until, || true), Then::Pause);
        assert_eq!(after(later, until, || true), Then::Later);
    }

    /// The first asked for the end. The second has to be obeyed while the kernel takes as long as it likes.
    #[test]
    fn a_second_ctrl_c_does_not_wait_for_the_kernel() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut signals = Signals::new().unwrap();
            raise(Signal::SIGINT).unwrap();
            signals.any().await;
            raise(Signal::SIGINT).unwrap();
            assert!(!is_off(pending(), signals.any(), pending()).await);
            assert!(!is_off(pending(), signals.any(), ready(())).await, "nor is there one without end");
            assert!(is_off(ready(()), signals.any(), ready(())).await);
        });
    }
}
