//! The loop of a live trace.

use std::{collections::BTreeMap, time::Duration};

use caps::Capability;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use wrapwatch_common::counters::Counter;

use super::{
    Aside, End, Ended, Measure, Notice, SessionError, Settings, Sink, Tracee,
    asides::{self, Beginning},
    meter::{Meter, Turn},
    signals::Signals,
};
use crate::{
    correlate::{Config, Correlator, HOLD_NS},
    decode::{self, Event},
    diagnose::{Counts, SummaryBuilder},
    host::{clock, process, reader},
    model::{Cost, Degradation, DegradationKind, KtimeNs, Line, Lost, Summary},
    probe::{self, Probe, Ring},
    trace::{self, AcceptThread, ProcessSample},
};

/// How often what the events do not show is looked at: a stopped server, losses.
const SAMPLE: Duration = Duration::from_millis(100);
/// How often a stall is told, and the clocks are compared.
const SECOND: Duration = Duration::from_secs(1);
/// How often a process to trace is looked for while there is none.
const LOOK: Duration = Duration::from_millis(250);

/// A live trace.
pub struct Session<'a> {
    pub(super) settings: &'a Settings,
    pub(super) sink: &'a mut dyn Sink,
    pub(super) probe: Probe,
    pub(super) correlator: Correlator,
    summary: SummaryBuilder,
    pub(super) targets: BTreeMap<u32, Tracee>,
    /// Since when a target is seen stopped.
    pub(super) stopped: BTreeMap<u32, KtimeNs>,
    /// Targets that are another program now, since when, and of which it is not known what that is.
    pub(super) replaced: BTreeMap<u32, KtimeNs>,
    exits: mpsc::UnboundedReceiver<u32>,
    pub(super) exited: mpsc::UnboundedSender<u32>,
    signals: Signals,
    pub(super) counted: probe::Counts,
    /// When it was last asked whether the kernel left out calls.
    skips_known: KtimeNs,
    /// Whether the correlator holds back what has ended until it is known that no call of it was left out.
    holds: bool,
    failed: Option<std::io::Error>,
    /// The greatest number of a connection that was seen.
    last_conn: u64,
    meter: Meter,
    /// A window of the programs' run time that no sample has told of.
    pub(super) window: Option<trace::ProgramsSample>,
    /// The programs took a larger share of one core than they may.
    above: Option<f64>,
    /// Everything that cannot be seen.
    pub(super) degradations: Vec<Degradation>,
    /// What was found before the sink was told that the trace has begun.
    pub(super) beginning: Option<Beginning>,
}

impl<'a> Session<'a> {
    /// Attaches, and traces until it is over. Must be called inside a tokio runtime with I/O and time.
    pub async fn run(settings: &'a Settings, sink: &'a mut dyn Sink) -> Result<End, SessionError> {
        probe::check_capabilities()?;
        // As long as the rights are there.
        reader::start();
        let first = if settings.wait { Vec::new() } else { find(settings)? };
        // Beside the session: whatever the ring hands out, all of the session is there to take it.
        let (mut session, mut ring) = Self::attach(settings, sink, &first)?;
        let why = session.follow(first, &mut ring).await?;
        session.end(why, &mut ring)
    }

    fn attach(
        settings: &'a Settings,
        sink: &'a mut dyn Sink,
        first: &[Tracee],
    ) -> Result<(Self, Ring), SessionError> {
        let mut options = settings.probe;
        for tracee in first {
            options.max_fds = options.max_fds.max(tracee.info.max_fds);
            options.threads = options.threads.max(tracee.info.threads.saturating_mul(2));
        }
        let signals = Signals::new()?;
        let mut probe = Probe::attach(&options)?;
        let ring = probe.take_ring()?;
        let mut config = Config::new(clock::pair()).skipping(probe::raw_skips_calls());
        config.sees_handshakes =
            !probe.degradations().iter().any(|lost| lost.kind == DegradationKind::NoQueueTime);
        let counted = probe.counts();
        let (exited, exits) = mpsc::unbounded_channel();
        let mut session = Self {
            settings,
            sink,
            probe,
            holds: config.hold_ns > 0,
            correlator: Correlator::new(config),
            summary: SummaryBuilder::new(),
            targets: BTreeMap::new(),
            stopped: BTreeMap::new(),
            replaced: BTreeMap::new(),
            exits,
            exited,
            signals,
            counted,
            skips_known: clock::now(),
            failed: None,
            last_conn: 0,
            meter: Meter::new(settings.measure),
            window: None,
            above: None,
            degradations: Vec::new(),
            beginning: Some(Beginning::default()),
        };
        for degradation in session.probe.degradations().to_vec() {
            session.degraded(degradation);
        }
        Ok((session, ring))
    }

    /// Traces the first targets, then, if asked to, the next ones.
    async fn follow(&mut self, first: Vec<Tracee>, ring: &mut Ring) -> Result<Ended, SessionError> {
        for tracee in first {
            self.add(tracee)?;
        }
        // Before the trace is said to have begun: that it cannot be measured, if so.
        self.measure(clock::now());
        self.begin();
        self.give_up_capabilities();
        for tracee in self.targets.values() {
            self.sink.notice(&Notice::Watching(tracee));
        }
        let end = self.settings.duration.map(|duration| Instant::now() + duration);
        let mut sample = every(SAMPLE);
        let mut second = every(SECOND);
        let mut look = every(LOOK);
        if self.targets.is_empty() {
            self.sink.notice(&Notice::Waiting(&self.settings.wanted));
        }
        loop {
            if let Some(error) = self.failed.take() {
                return match error.kind() {
                    std::io::ErrorKind::BrokenPipe => Ok(Ended::OutputClosed),
                    _ => Err(SessionError::Output(error)),
                };
            }
            if let Some(ended) = self.too_expensive() {
                return Ok(ended);
            }
            // Once for all lines of a turn: for each it would cost a system call, and whoever reads a wake-up.
            let flushed = self.sink.flush();
            self.keep_error(flushed);
            let idle = self.targets.is_empty();
            tokio::select! {
                () = self.signals.any() => return Ok(Ended::Asked),
                () = until(end) => return Ok(Ended::Duration),
                Some(pid) = self.exits.recv() => {
                    self.drain(ring);
                    self.remove(pid)?;
                    if self.targets.is_empty() {
                        if !self.settings.wait {
                            return Ok(Ended::TargetsGone);
                        }
                        self.sink.notice(&Notice::Waiting(&self.settings.wanted));
                    }
                }
                result = ring.wait() => {
                    result?;
                    self.drain(ring);
                }
                _ = sample.tick() => self.sample(ring)?,
                _ = second.tick() => self.each_second(ring),
                _ = look.tick(), if idle && self.settings.wait => self.look()?,
            }
        }
    }

    /// The next target's uprobes and network namespace take CAP_SYS_ADMIN again.
    fn give_up_capabilities(&self) {
        let mut keep = self.sink.capabilities().to_vec();
        if self.settings.wait {
            keep.push(Capability::CAP_SYS_ADMIN);
        }
        reader::give_up_all_but(if self.settings.wait { &[Capability::CAP_SYS_ADMIN] } else { &[] });
        probe::privileges::drop_all_but(&keep);
    }

    /// Takes what is in the ring; before each batch tells of calls that were left out, for its records are to be seen in that light.
    fn drain(&mut self, ring: &mut Ring) {
        loop {
            self.skips();
            let more = ring.drain(|record| self.take(record));
            if !more || self.failed.is_some() {
                return;
            }
            // With a full ring this goes on for long: what is written to must not wait for its end.
            let flushed = self.sink.flush();
            self.keep_error(flushed);
            self.aside(&Aside::Time(clock::now()));
        }
    }

    /// Before the correlator's time goes on to `at`, where the kernel may leave out calls: asks whether it did, unless that was asked lately. What has ended
    /// since is held back by the correlator, by its own time; by how long this process waited for a CPU nothing is decided.
    fn know_skips(&mut self, at: KtimeNs) {
        if self.holds && at.since(self.skips_known) > HOLD_NS / 2 {
            self.skips();
        }
    }

    /// Takes one record from the ring: writes it down, and tells the connections that end with it.
    fn take(&mut self, record: &[u8]) {
        let event = decode::decode(record);
        if let Ok(event) = &event {
            self.know_skips(KtimeNs(event.header().ts_ns));
            // A trace has the files before the record that quotes from them, too.
            self.look_before(event);
        }
        let written = self.sink.record(record);
        self.keep_error(written);
        match event {
            Ok(event) => {
                let header = event.header();
                self.last_conn = self.last_conn.max(header.conn);
                self.correlator.push(&event);
                if matches!(event, Event::Exec(_)) {
                    self.is_replaced(header.tgid, self.last_conn);
                }
            }
            Err(error) => log::warn!("a record that cannot be read: {error}"),
        }
        self.flush();
    }

    /// Hands on the connections whose story is told.
    fn flush(&mut self) {
        while let Some(connection) = self.correlator.pop() {
            self.summary.add(&connection);
            self.tell(&Line::Connection(connection));
        }
    }

    fn tell(&mut self, line: &Line) {
        let told = self.sink.line(line);
        self.keep_error(told);
    }

    /// The first error of the sink ends the trace at the next turn of the loop.
    pub(super) fn keep_error(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    pub(super) fn degraded(&mut self, degradation: Degradation) {
        self.correlator.note_degradation(&degradation);
        self.degradations.push(degradation.clone());
        self.tell(&Line::Degradation(degradation));
    }

    /// Ten times a second: did a table change, is a server stopped, was anything lost, has time passed without events.
    fn sample(&mut self, ring: &mut Ring) -> Result<(), SessionError> {
        self.look_at_files();
        self.drain(ring);
        let now = clock::now();
        self.look_at_threads(now);
        self.look_at_replaced(now)?;
        self.losses();
        self.know_skips(now);
        self.correlator.advance(now);
        self.flush();
        self.measure(now);
        self.probe.flush_kernel_log();
        self.aside(&Aside::Time(now));
        Ok(())
    }

    /// Whether targets are stopped, and which accept threads sleep in their check: what comes next is to be seen in this light.
    fn look_at_threads(&mut self, now: KtimeNs) {
        let mut seen = Vec::new();
        for (&pid, tracee) in &self.targets {
            if tracee.stopped(pid) {
                let since = *self.stopped.entry(pid).or_insert(now);
                self.correlator.note_stopped(pid, since, now);
                self.stopped.insert(pid, now);
                seen.push(ProcessSample { pid, stopped_since: Some(since), ..ProcessSample::default() });
            } else {
                self.stopped.remove(&pid);
            }
        }
        for (pid, tid) in self.correlator.in_checks() {
            if self.targets.get(&pid).is_some_and(|tracee| tracee.is_asleep(tid)) {
                self.correlator.note_asleep(pid, tid, now);
                seen.push(ProcessSample { pid, asleep: vec![tid], ..ProcessSample::default() });
            }
        }
        self.threads_aside(now, seen);
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
                    "what the programs cost the server is not measured ({why}): it takes CAP_SYS_ADMIN and Linux 5.8"
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
        self.meter.cost(now, self.counted.get(Counter::Records), self.counted.lost())
    }

    /// Tells what did not fit since the last time. After the ring is drained: a check's records that came through do not take away the doubt whether
    /// its end did.
    fn losses(&mut self) {
        let mut counts = self.probe.counts();
        counts.set(Counter::SkippedCalls, self.counted.get(Counter::SkippedCalls));
        let by: Vec<(Counter, u64)> = Counter::ALL
            .iter()
            .filter(|(counter, _)| !matches!(counter, Counter::Accepts | Counter::Records))
            .map(|&(counter, _)| (counter, counts.get(counter).saturating_sub(self.counted.get(counter))))
            .filter(|(_, n)| *n > 0)
            .collect();
        self.counted = counts;
        if !by.is_empty() {
            self.correlator.note_lost(&by);
            let events = by.iter().map(|(_, n)| n).sum();
            self.tell(&Line::Lost(Lost { events, by: asides::by_name(&by), ..Lost::default() }));
        }
    }

    /// Tells that the kernel left out calls since the last time, if it did. Before the ring is drained: it concerns what is in there.
    fn skips(&mut self) {
        // What is left out while this is asked for may be counted now or the next time.
        let asked = clock::now();
        let skipped = self.probe.skipped_calls();
        let (since, until) = (self.skips_known, clock::now());
        let n = skipped.saturating_sub(self.counted.get(Counter::SkippedCalls));
        if n > 0 {
            self.counted.set(Counter::SkippedCalls, skipped);
            self.correlator.note_skipped(since, until);
            self.tell(&Line::Lost(Lost {
                // They are anybody's, and most would not have been events.
                events: 0,
                by: asides::by_name(&[(Counter::SkippedCalls, n)]),
                since_ns: Some(since.0),
                until_ns: Some(until.0),
            }));
        }
        self.skips_known = asked;
    }

    /// Once a second: stalls, the clocks.
    fn each_second(&mut self, ring: &mut Ring) {
        // After a pause of ours this may come before any sample: a check that ended meanwhile, or whose end was lost, is no stall.
        self.drain(ring);
        self.losses();
        let now = clock::now();
        // Before anything else that says in a trace that a second has passed.
        self.doubts(now);
        let clock = clock::pair();
        self.correlator.set_clock(clock);
        self.aside(&Aside::Clock(clock));
        self.sample_aside(now);
        let cost = self.cost(now);
        // The first time is at the very beginning.
        if cost.events > 0 || cost.server.is_some() {
            self.sink.notice(&Notice::Cost(&cost));
        }
        for check in self.correlator.stalls(now, self.settings.slow_ns) {
            let Some(tracee) = self.targets.get_mut(&check.tgid) else { continue };
            let queue = tracee.queue();
            // With its tables closed and nobody waiting, the thread is at its listener again.
            if check.certain || queue.is_some_and(|(queued, _)| queued > 0) {
                self.tell(&Line::Stall(check.stall(now, &clock, queue)));
            }
        }
    }

    /// After a loss: whether accept threads whose check seems to go on are still in it.
    fn doubts(&mut self, now: KtimeNs) {
        if self.correlator.doubted(now, self.settings.slow_ns).is_empty() {
            return;
        }
        let mut seen = Vec::new();
        for (pid, tid) in self.correlator.doubted(now, self.settings.slow_ns) {
            let at_listener = self.targets.get(&pid).and_then(|tracee| tracee.at_listener(tid));
            if let Some(at_listener) = at_listener {
                self.correlator.note_accept_thread(pid, tid, now, at_listener);
                let accept_threads = vec![AcceptThread { tid, at_listener }];
                seen.push(ProcessSample { pid, accept_threads, ..ProcessSample::default() });
            }
        }
        self.threads_aside(now, seen);
    }

    /// Ends the trace: first the targets, so that nothing more comes, then what is left in the ring, then the summary.
    fn end(mut self, why: Ended, ring: &mut Ring) -> Result<End, SessionError> {
        let queued_at_end = self
            .targets
            .values_mut()
            .filter_map(super::tracee::Tracee::queue)
            .map(|(queued, _)| queued)
            .max();
        for pid in self.targets.keys().copied().collect::<Vec<_>>() {
            self.probe.remove_target(pid)?;
        }
        // Somebody may have edited them within the last second.
        self.look_at_files();
        self.drain(ring);
        self.losses();
        let at = clock::now();
        let cost = self.cost(at);
        self.aside(&Aside::Ended(&trace::End {
            at,
            reason: why.reason(),
            counters: asides::named(&self.counted),
            cost: Some(cost),
            ..trace::End::default()
        }));
        self.correlator.finish(at);
        self.flush();
        self.summary.note_still_queued(self.correlator.still_queued());
        let counts = Counts {
            accepts: self.counted.get(Counter::Accepts),
            lost: self.counted.lost(),
            lost_accepts: self.counted.get(Counter::LostAccept),
            began_before: self.correlator.stats().seeded,
            queued: queued_at_end,
        };
        let summary = Summary { cost: Some(cost), ..self.summary.build(counts) };
        if why != Ended::OutputClosed {
            self.tell(&Line::Summary(Box::new(summary.clone())));
        }
        let flushed = self.sink.flush();
        self.keep_error(flushed);
        match self.failed.take() {
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(SessionError::Output(error)),
            _ => Ok(End { why, summary }),
        }
    }
}

/// The targets there are now; it is an error that there are none.
fn find(settings: &Settings) -> Result<Vec<Tracee>, SessionError> {
    let wanted = &settings.wanted;
    let pids = process::find(wanted)?;
    if pids.is_empty() {
        let message = format!("there is no {}; start it, or wait for it with --wait", wanted.what());
        return Err(crate::host::HostError::NotFound(message).into());
    }
    let mut found = Vec::new();
    let mut failed = None;
    for pid in pids {
        match Tracee::open(pid) {
            Ok(tracee) => found.push(tracee),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        // Of several found by name, one that cannot be taken is no reason to leave the others.
        Some(error) if found.is_empty() || matches!(wanted, process::Wanted::Pids(_)) => Err(error.into()),
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
