//! A trace file told again: reader → decode → correlate → the lines that `live` would have printed, one after another.
//!
//! Report, diff, replay and export all read traces through this, so what one says the others say. Memory is bounded by what the
//! correlator remembers and by caps on what is kept besides ([`Facts`]); a trace of any length can be told.
//!
//! ```text
//! let mut story = Story::new(File::open(path)?, Options::default());
//! while let Some(line) = story.next_line()? { … }      // degradations, connections, stalls, losses; the summary is the last
//! story.facts()                                        // head, files of the targets, samples, damage
//! ```

mod facts;
mod filter;
mod infer;
mod resolv;
mod seen;
mod targets;
mod whole;

use std::collections::VecDeque;
use std::io::Read;

use wrapwatch_common::counters::Counter;

use crate::correlate::{Config, Correlator};
use crate::decode;
use crate::diagnose::{Counts, SummaryBuilder};
use crate::model::{ClockPair, DegradationKind, KtimeNs, Line, Lost, Summary, skips_calls};
use crate::trace::{Damage, Head, Input, Origin, ReadError, Reader, Sample, Snapshot, Target};

pub use facts::{Facts, FileVersion, NetnsDigest, QueueDigest, QueuePoint};
pub use filter::{Bounds, Filter, Moment, MomentError, Peer, PeerError};
pub use infer::names_of;
pub use resolv::ResolvConf;
pub use seen::{FileCopy, Seen};
pub use whole::{Wanted, Whole};

/// How exactly the start of a process is known (proc(5), `starttime`).
const TICK_NS: u64 = 10_000_000;
/// How often a stall is told, as `live` does.
const SECOND_NS: u64 = 1_000_000_000;
/// Most seconds of a trace in which nothing happens, not even a sample, that are gone through one by one: a small file can have many hours of them.
const IDLE_SECONDS_MAX: u64 = 4 * 3600;
/// A sample older than this says nothing of the queue now.
const SAMPLE_FRESH_NS: u64 = 3 * SECOND_NS;

/// What to tell.
#[derive(Clone, Debug)]
pub struct Options {
    /// A check this long is a stall (`--slow` of `live`).
    pub slow_ns: u64,
    /// Tell stalls.
    pub stalls: bool,
    /// Which connections.
    pub filter: Filter,
}

impl Default for Options {
    fn default() -> Self {
        Self { slow_ns: 100_000_000, stalls: true, filter: Filter::default() }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file read.
    pub bytes: u64,
    /// Records read.
    pub events: u64,
    /// Connections told, those that the filter left out included.
    pub connections: u64,
}

/// A trace being told, see the [module](self).
#[derive(Debug)]
pub struct Story<R> {
    reader: Reader<R>,
    teller: Teller,
    ended: bool,
}

/// Everything but the reader, which lends out its records.
#[derive(Debug)]
struct Teller {
    options: Options,
    bounds: Bounds,
    correlator: Correlator,
    summary: SummaryBuilder,
    facts: Facts,
    clock: ClockPair,
    begun: bool,
    infer: bool,
    now: KtimeNs,
    next_second: KtimeNs,
    /// How many seconds may still be gone through in which nothing happens.
    idle_seconds: u64,
    events: u64,
    undecodable: u64,
    told: u64,
    lost: u64,
    lost_accepts: u64,
    lines: VecDeque<Line>,
}

impl<R: Read> Story<R> {
    /// Tells the trace that `source` holds from where it stands. It need not be buffered.
    pub fn new(source: R, options: Options) -> Self {
        let clock = ClockPair { ktime: KtimeNs(0), wall_ns: 0 };
        let teller = Teller {
            options,
            bounds: Bounds::default(),
            correlator: Correlator::new(Config::new(clock)),
            summary: SummaryBuilder::new(),
            facts: Facts::default(),
            clock,
            begun: false,
            infer: false,
            now: KtimeNs(0),
            next_second: KtimeNs(0),
            idle_seconds: IDLE_SECONDS_MAX,
            events: 0,
            undecodable: 0,
            told: 0,
            lost: 0,
            lost_accepts: 0,
            lines: VecDeque::new(),
        };
        Self { reader: Reader::new(source), teller, ended: false }
    }

    /// The next line; the last one is the summary, then `None`. An error is final: the source fails, is no trace, or is a later version's.
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            if let Some(line) = self.teller.lines.pop_front() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match self.reader.next_input()? {
                Some(Input::Record(record)) => self.teller.record(record),
                Some(input) => self.teller.input(input),
                None => {
                    self.teller.finish();
                    self.ended = true;
                }
            }
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { bytes: self.reader.offset(), events: self.teller.events, connections: self.teller.told }
    }
}

impl<R> Story<R> {
    /// What the trace says besides its connections, as far as it was read.
    pub const fn facts(&self) -> &Facts {
        &self.teller.facts
    }

    /// The same, to keep.
    pub fn into_facts(self) -> Facts {
        self.teller.facts
    }

    /// The trace's time at which the last line was told: replay paces itself by this.
    pub const fn now(&self) -> KtimeNs {
        self.teller.now
    }

    /// Both clocks, by the last pair read.
    pub const fn clock(&self) -> ClockPair {
        self.teller.clock
    }

    /// The summary of what was told so far.
    pub fn summary(&self) -> Summary {
        self.teller.summarise()
    }

    /// Records that could not be decoded.
    pub const fn undecodable(&self) -> u64 {
        self.teller.undecodable
    }
}

impl<R: Read> Iterator for Story<R> {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

impl Teller {
    fn record(&mut self, record: &[u8]) {
        self.events += 1;
        let Ok(event) = decode::decode(record) else {
            self.undecodable += 1;
            return;
        };
        let at = KtimeNs(event.header().ts_ns);
        if at >= self.next_second {
            self.seconds(at);
        }
        self.correlator.push(&event);
        self.now = self.now.max(at);
        self.connections();
    }

    fn input(&mut self, input: Input<'_>) {
        match input {
            // Lent out by the reader: taken by `record`.
            Input::Record(_) => {}
            Input::Time(at) => self.time(at),
            Input::Head(head) => self.head(head.into_owned()),
            Input::Target(target) => self.target(target.into_owned()),
            Input::File(snapshot) => self.snapshot(snapshot.into_owned()),
            Input::Sample(sample) => self.sample(sample.into_owned()),
            Input::Clock(clock) => self.set_clock(clock),
            Input::Degradation(degradation) => {
                self.infer |= degradation.kind == DegradationKind::NoRuleContext;
                self.facts.degradation(&degradation);
                self.correlator.note_degradation(&degradation);
                self.lines.push_back(Line::Degradation(degradation.into_owned()));
            }
            Input::Loss(lost) => self.take_lost(lost.into_owned()),
            Input::Damage(damage) => self.damage(damage),
            Input::End(end) => {
                self.time(end.at);
                self.facts.counters.clone_from(&end.counters);
                self.facts.end = Some(end.into_owned());
            }
        }
    }

    fn head(&mut self, head: Head) {
        // A file that begins with the rest of a rotated recording has one head; a second one would be another recording's.
        if self.begun {
            return;
        }
        self.begun = true;
        self.clock = head.clock;
        self.now = head.clock.ktime;
        self.bounds = self.options.filter.bounds(head.clock.wall(head.clock.ktime));
        let blind = |kind| head.degradations.iter().any(|degradation| degradation.kind == kind);
        self.infer = blind(DegradationKind::NoRuleContext);
        let config = Config {
            sees_handshakes: !blind(DegradationKind::NoQueueTime),
            // strace shows what `poll` said, and a log of it may lack any call.
            early_is_refused: head.origin != Origin::Strace,
            ..Config::new(head.clock)
        }
        .skipping(skips_calls(&head.kernel));
        self.correlator = Correlator::new(config);
        for degradation in &head.degradations {
            self.facts.degradation(degradation);
            self.correlator.note_degradation(degradation);
            self.lines.push_back(Line::Degradation(degradation.clone()));
        }
        let targets = head.targets.clone();
        self.facts.head = head;
        for target in targets {
            self.target(target);
        }
    }

    fn target(&mut self, target: Target) {
        // The same number, and another process: the first one's end may have been lost.
        let known = self.facts.targets.iter().find(|known| known.pid == target.pid);
        let started = known.and_then(|known| known.started).zip(target.started);
        if started.is_some_and(|(one, other)| one.0.abs_diff(other.0) > TICK_NS) {
            self.correlator.target_gone(target.pid);
        }
        self.correlator.add_target(target.pid, targets::info(&target, &self.facts));
        if let Some(check) = &target.in_check {
            self.correlator.seed(&targets::seeded(target.pid, check));
        }
        self.facts.target(target);
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        let (meta, resolv) = (snapshot.meta.clone(), targets::is_resolv_conf(&snapshot.meta));
        if let Some(text) = targets::table_text(&snapshot) {
            for pid in self.facts.pids(meta.pid) {
                self.correlator.set_table_text(pid, &meta.path, text.clone(), meta.from());
            }
        }
        self.facts.snapshot(snapshot);
        if resolv {
            for target in self.facts.targets_of(meta.pid) {
                self.correlator.add_target(target.pid, targets::info(&target, &self.facts));
            }
        }
    }

    fn sample(&mut self, sample: Sample) {
        // Before the stalls, as live looks before it tells one.
        for process in &sample.targets {
            for thread in &process.accept_threads {
                self.correlator.note_accept_thread(process.pid, thread.tid, sample.at, thread.at_listener);
            }
        }
        self.time(sample.at);
        for process in &sample.targets {
            if let Some(since) = process.stopped_since {
                self.correlator.note_stopped(process.pid, since, sample.at);
            }
            for &tid in &process.asleep {
                self.correlator.note_asleep(process.pid, tid, sample.at);
            }
        }
        self.correlator.advance(sample.at);
        self.connections();
        let (at, whole) = (sample.at, sample.is_whole());
        self.facts.sample(sample);
        if whole && self.options.stalls && self.sampled() {
            self.stalls(at);
        }
    }

    fn set_clock(&mut self, clock: ClockPair) {
        self.clock = clock;
        self.correlator.set_clock(clock);
    }

    fn take_lost(&mut self, lost: Lost) {
        let by: Vec<(Counter, u64)> = lost
            .by
            .iter()
            .filter_map(|(name, n)| {
                Counter::ALL.iter().find(|(_, known)| known == name).map(|(c, _)| (*c, *n))
            })
            .collect();
        self.correlator.note_lost(&by);
        if let (Some(since), Some(until)) = (lost.since_ns, lost.until_ns) {
            self.correlator.note_skipped(KtimeNs(since), KtimeNs(until));
        }
        self.lost = self.lost.saturating_add(lost.events);
        let accepts = by.iter().filter(|(counter, _)| *counter == Counter::LostAccept).map(|(_, n)| n);
        self.lost_accepts = self.lost_accepts.saturating_add(accepts.sum());
        self.lines.push_back(Line::Lost(lost));
    }

    /// Records are missing: what they were is not known, so everything that is open may lack something.
    fn damage(&mut self, damage: Damage) {
        self.correlator.note_lost(&[
            (Counter::LostAccept, 1),
            (Counter::LostSockState, 1),
            (Counter::LostSockError, 1),
            (Counter::LostOther, 1),
        ]);
        self.facts.damage(damage);
    }

    /// It is `at` now, as something other than a record says.
    fn time(&mut self, at: KtimeNs) {
        if at >= self.next_second {
            self.seconds(at);
        }
        self.now = self.now.max(at);
    }

    /// The full seconds up to `at` of a trace that has no samples: stalls, also where for a while nothing happened.
    fn seconds(&mut self, at: KtimeNs) {
        let mut second = self.next_second;
        self.next_second = KtimeNs((at.0 / SECOND_NS).saturating_add(1).saturating_mul(SECOND_NS));
        if !self.options.stalls || self.sampled() || second.0 == 0 {
            return;
        }
        let idle = at.since(second) / SECOND_NS;
        for behind in 0..=idle.min(self.idle_seconds) {
            self.idle_seconds -= u64::from(behind > 0);
            self.correlator.advance(second);
            self.now = self.now.max(second);
            self.connections();
            if !self.stalls(second) {
                break;
            }
            second = second.plus(SECOND_NS);
        }
    }

    /// Each second has its sample, made when `live` looked for stalls. What was lost until then stands before it, but after records that are younger than the loss.
    fn sampled(&self) -> bool {
        self.facts.head.origin == Origin::Kernel
    }

    /// Tells what hangs at this second; false where nothing is open that could.
    fn stalls(&mut self, now: KtimeNs) -> bool {
        let queue = self.facts.queue.last(now, SAMPLE_FRESH_NS);
        for check in self.correlator.stalls(now, self.options.slow_ns) {
            if check.certain || queue.is_some_and(|(queued, _)| queued > 0) {
                let stall = check.stall(now, &self.clock, queue);
                if self.bounds.admits_stall(&stall) {
                    self.lines.push_back(Line::Stall(stall));
                }
            }
        }
        self.correlator.stats().open > 0
    }

    /// Takes the connections whose story is told.
    fn connections(&mut self) {
        while let Some(mut connection) = self.correlator.pop() {
            self.told += 1;
            if self.infer {
                infer::rules(&mut connection, &mut self.facts);
            }
            if self.bounds.admits(&connection) {
                self.summary.add(&connection);
                self.lines.push_back(Line::Connection(connection));
            }
        }
    }

    fn finish(&mut self) {
        self.correlator.finish(self.now);
        self.connections();
        self.summary.note_still_queued(self.correlator.still_queued());
        self.facts.to = Some(self.clock.wall(self.now));
        self.lines.push_back(Line::Summary(Box::new(self.summarise())));
    }

    fn summarise(&self) -> Summary {
        let stats = self.correlator.stats();
        let counted = |name: &str| self.facts.counters.get(name).copied();
        let lost: u64 = self
            .facts
            .counters
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "accepts" | "records" | "skipped_calls"))
            .map(|(_, n)| *n)
            .sum();
        let summary = self.summary.build(Counts {
            accepts: counted("accepts").unwrap_or(stats.accepts),
            lost: lost.max(self.lost),
            lost_accepts: counted("lost_accept").unwrap_or(0).max(self.lost_accepts),
            began_before: stats.seeded,
            queued: self.facts.queue.fullest_at_end(),
        });
        Summary { cost: self.facts.end.as_ref().and_then(|end| end.cost), ..summary }
    }
}

#[cfg(test)]
mod tests;
