//! Inputs → lines: the one place that says what happened, whether the inputs come from the kernel, a file or an import. Pure: no I/O, no clock.
//!
//! The [crate] has an example. The last line is the summary; [`Engine::context`] has head, files of the targets, samples and damage.
//!
//! # Time
//! It is what the inputs say. Where for a while nothing happens, [`Input::Time`] has those connections told that wait only for time to pass. Whether one has an
//! effect, [`Engine::waits_for`] says; those that have one are recorded, so that a trace told again has the same lines in the same order.
//!
//! # Questions
//! What no record shows has to be looked at: [`Engine::questions`]. The answers are inputs like all others, so they are recorded, and a trace told again has
//! them at the same place.

mod filter;
mod question;
mod stalls;
mod targets;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use wrapwatch_common::records::AcceptFailed;

pub use filter::{Bounds, Filter, Moment, MomentError, Peer, PeerError};
pub use question::Question;

#[doc(hidden)]
pub use crate::correlate::{HOLD_NS, TablePaths};

use stalls::Seconds;

use crate::context::{Context, FileVersion, Losses, is_table, losses};
use crate::correlate::{Config, Correlator};
use crate::decode::{self, Event};
use crate::diagnose::{Counts, SummaryBuilder};
use crate::model::{ClockPair, DegradationKind, KtimeNs, Line, Lost, Summary, errno_name, skips_calls};
use crate::trace::{AcceptErrorSample, Damage, End, Head, Input, Origin, Sample, Snapshot, Target};

/// How exactly the start of a process is known (proc(5), `starttime`).
const TICK_NS: u64 = 10_000_000;

/// What to tell.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threshold for stalls: checks that take this long (`--slow`).
    pub slow_ns: u64,
    /// Tell stalls.
    pub stalls: bool,
    /// Tell connections and requests; else connections are counted, and the summary has none.
    pub connections: bool,
    /// Which connections.
    pub filter: Filter,
}

impl Default for Options {
    fn default() -> Self {
        Self { slow_ns: 100_000_000, stalls: true, connections: true, filter: Filter::default() }
    }
}

/// Takes inputs and gives lines, see the [module](self).
#[derive(Debug)]
pub struct Engine {
    options: Options,
    bounds: Bounds,
    correlator: Correlator,
    summary: SummaryBuilder,
    context: Context,
    clock: ClockPair,
    begun: bool,
    now: KtimeNs,
    seconds: Seconds,
    events: u64,
    undecodable: u64,
    losses: Losses,
    lines: VecDeque<Line>,
}

impl Engine {
    /// One that has been fed with nothing.
    pub fn new(options: Options) -> Self {
        let clock = ClockPair { ktime: KtimeNs(0), wall_ns: 0 };
        Self {
            options,
            bounds: Bounds::default(),
            correlator: Correlator::new(Config::new(clock)),
            summary: SummaryBuilder::new(),
            context: Context::default(),
            clock,
            begun: false,
            now: KtimeNs(0),
            seconds: Seconds::default(),
            events: 0,
            undecodable: 0,
            losses: Losses::default(),
            lines: VecDeque::new(),
        }
    }

    /// Takes an input. To be followed by [`Self::next_line`] until there is none: lines are kept.
    pub fn feed(&mut self, input: &Input<'_>) {
        match input {
            Input::Record(record) => self.record(record),
            Input::Time(at) => self.time(*at),
            Input::Head(head) => self.head(head),
            Input::Target(target) => self.target(target),
            Input::File(file) => self.file(file),
            Input::Sample(sample) => self.sample(sample),
            Input::Clock(clock) => self.set_clock(*clock),
            Input::Loss(lost) => self.lost(lost),
            Input::Degradation(degradation) => {
                self.context.degradation(degradation);
                self.correlator.note_degradation(degradation);
                self.lines.push_back(Line::Degradation(degradation.clone().into_owned()));
            }
            Input::Damage(damage) => self.damage(*damage),
            Input::End(end) => self.end(end),
        }
    }

    /// Whether [`Input::Time`] has an effect at `now`.
    pub fn waits_for(&self, now: KtimeNs) -> bool {
        self.correlator.is_due(now)
    }

    /// The next line.
    pub fn next_line(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// No further input will come: what is open is told as far as it went, then the summary.
    pub fn finish(&mut self) {
        self.correlator.finish(self.now);
        self.connections();
        self.summary.note_still_queued(self.correlator.still_queued());
        self.context.to = Some(self.clock.wall(self.now));
        self.lines.push_back(Line::Summary(Box::new(self.summary())));
    }

    /// What has to be looked at, at `now`: answers are inputs.
    pub fn questions(&self, now: KtimeNs) -> Vec<Question> {
        let asleep = self.correlator.in_checks().into_iter().map(|(pid, tid)| Question::Asleep { pid, tid });
        let doubted = self.correlator.doubted(now, self.options.slow_ns).into_iter();
        asleep.chain(doubted.map(|(pid, tid)| Question::AtListener { pid, tid })).collect()
    }

    /// What the inputs said besides connections.
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// What the inputs said besides connections, to keep.
    pub fn into_context(self) -> Context {
        self.context
    }

    /// The time that the inputs have come to.
    pub const fn now(&self) -> KtimeNs {
        self.now
    }

    /// Both clocks, by the last pair.
    pub const fn clock(&self) -> ClockPair {
        self.clock
    }

    /// Records taken.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Records that could not be decoded.
    pub const fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Connections told, or counted, those that the filter left out included.
    pub fn told(&self) -> u64 {
        self.correlator.stats().told
    }

    /// The summary of what was told so far.
    pub fn summary(&self) -> Summary {
        let stats = self.correlator.stats();
        let counts = Counts::of(&self.context, &self.losses, stats.accepts);
        // Of whom more was seen than the beginning, which was lost, and who is no connection whose accept was lost: a request.
        let beginnings_lost = stats.orphans.saturating_sub(counts.lost_accepts);
        let unowned_checks = stats.unowned_checks.saturating_add(beginnings_lost);
        let counts = Counts { began_before: stats.seeded, unowned_checks, ..counts };
        self.summary.build_with(counts, &self.context, &self.clock)
    }

    fn record(&mut self, record: &[u8]) {
        self.events += 1;
        let Ok(event) = decode::decode(record) else {
            self.undecodable += 1;
            return;
        };
        let at = KtimeNs(event.header().ts_ns);
        if self.seconds.is_due(at) {
            self.seconds(at);
        }
        if let Event::AcceptFailed(failed) = &event {
            self.context.accepts_failed(&accept_errors(failed));
        }
        self.correlator.push(&event);
        self.now = self.now.max(at);
        self.connections();
    }

    /// It is `at` now, as something other than a record says.
    fn time(&mut self, at: KtimeNs) {
        if self.seconds.is_due(at) {
            self.seconds(at);
        }
        self.now = self.now.max(at);
        self.correlator.advance(at);
        self.connections();
    }

    fn head(&mut self, head: &Head) {
        // A file that begins with the rest of a rotated recording has one head; a second one would be another recording's.
        if self.begun {
            return;
        }
        self.begun = true;
        self.clock = head.clock;
        self.now = head.clock.ktime;
        self.bounds = self.options.filter.bounds(head.clock.wall(head.clock.ktime));
        let sees_handshakes =
            !head.degradations.iter().any(|degradation| degradation.kind == DegradationKind::NoQueueTime);
        let config = Config { sees_handshakes, tells: self.options.connections, ..Config::new(head.clock) }
            .skipping(skips_calls(&head.kernel));
        self.correlator = Correlator::new(config);
        self.context.head(head);
        for degradation in &head.degradations {
            self.correlator.note_degradation(degradation);
            self.lines.push_back(Line::Degradation(degradation.clone()));
        }
        for target in &head.targets {
            self.target(target);
        }
    }

    fn target(&mut self, target: &Target) {
        // The same number, and another process: the first one's end may have been lost.
        let known = self.context.target_by_pid(target.pid);
        let started = known.and_then(|known| known.started).zip(target.started);
        if target.ended || started.is_some_and(|(one, other)| one.0.abs_diff(other.0) > TICK_NS) {
            self.correlator.target_gone(target.pid);
            self.connections();
        }
        self.context.target(target);
        if target.ended {
            return;
        }
        self.correlator.add_target(target.pid, targets::info(target, &self.context));
        if let Some(check) = &target.in_check {
            self.correlator.seed(&targets::seeded(target.pid, check));
        }
    }

    fn file(&mut self, file: &Snapshot) {
        let meta = &file.meta;
        let version = FileVersion::of(file);
        if is_table(meta) {
            for pid in self.context.pids(meta.pid) {
                let text = version.table.clone().map(Into::into);
                self.correlator.set_table_text(pid, &meta.path, text, meta.from());
            }
        }
        self.context.file_version(version);
        if targets::is_resolv_conf(meta) {
            for target in self.context.targets_of(meta.pid) {
                self.correlator.add_target(target.pid, targets::info(&target, &self.context));
            }
        }
    }

    fn sample(&mut self, sample: &Sample) {
        // Who was asleep was looked at after the records were taken: there may be more of before that.
        if sample.is_whole() {
            self.time(sample.at);
        }
        for process in &sample.targets {
            for thread in &process.accept_threads {
                self.correlator.note_accept_thread(process.pid, thread.tid, sample.at, thread.at_listener);
            }
            if let Some(since) = process.stopped_since {
                self.correlator.note_stopped(process.pid, since, sample.at);
            }
            for &tid in &process.asleep {
                self.correlator.note_asleep(process.pid, tid, sample.at);
            }
        }
        self.context.sample(sample);
        if sample.is_whole() && self.options.stalls && self.is_sampled() {
            self.stalls(sample.at);
        }
    }

    fn set_clock(&mut self, clock: ClockPair) {
        self.clock = clock;
        self.correlator.set_clock(clock);
    }

    fn lost(&mut self, lost: &Lost) {
        let by = self.losses.add(lost);
        self.correlator.note_lost_until(&by, KtimeNs(lost.until_ns.unwrap_or(0)));
        if let (true, Some(since), Some(until)) = (losses::is_of_skips(&by), lost.since_ns, lost.until_ns) {
            self.correlator.note_skipped(KtimeNs(since), KtimeNs(until));
        }
        self.lines.push_back(Line::Lost(lost.clone()));
    }

    /// Records are missing: what they were is not known, so everything that is open may lack something.
    fn damage(&mut self, damage: Damage) {
        self.correlator.note_lost(&losses::ANY);
        self.context.damage(damage);
    }

    fn end(&mut self, end: &End) {
        self.time(end.at);
        self.context.end(end);
    }

    /// Each second has its sample, which bears what was lost until then and how long the queues are. An strace's log has none.
    fn is_sampled(&self) -> bool {
        self.context.head.origin == Origin::Kernel
    }

    /// Takes the connections and requests whose story is told.
    fn connections(&mut self) {
        while let Some(connection) = self.correlator.pop() {
            if self.bounds.admits(&connection) {
                self.summary.add(&connection);
                self.lines.push_back(Line::Connection(connection));
            }
        }
        while let Some(request) = self.correlator.pop_request() {
            if self.bounds.admits(&request) {
                self.summary.add_request(&request);
                self.lines.push_back(Line::Request(request));
            }
        }
    }
}

/// What a failing accept says of those before it. When the first was is known only where that is the one.
fn accept_errors(failed: &AcceptFailed) -> AcceptErrorSample {
    let at = KtimeNs(failed.hdr.ts_ns);
    AcceptErrorSample {
        pid: failed.hdr.tgid,
        errno: errno_name(failed.error),
        count: failed.failures,
        first: (failed.failures == 1).then_some(at),
        last: Some(at),
    }
}
