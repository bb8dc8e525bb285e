//! What the trace costs: this process, and in short windows the programs' run time with the kernel's way to them.
//!
//! The kernel's counting of run times costs as well, so it is on for a window of [`WINDOW_NS`] now and then; only while a limit is watched more
//! often, and all the time where measuring is the purpose.

use crate::{
    host::{clock, usage},
    model::{Cost, KtimeNs, ServerCost, per_second, quotient},
    probe::{Probe, RunTime, Switch},
    trace::ProgramsSample,
};

/// How long a window is.
const WINDOW_NS: u64 = 200_000_000;
/// How often one begins.
const EVERY_NS: u64 = 5_000_000_000;
/// How often while a limit is watched.
const LIMITED_EVERY_NS: u64 = 1_000_000_000;
/// So many windows in a row above the limit are too many: one may have been a burst.
const WINDOWS_ABOVE: u32 = 2;

/// How often to measure what the server pays, and what it may pay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Measure {
    /// A window every five seconds.
    #[default]
    Sometimes,
    /// A window a second; a share of one core above this ends the trace.
    Limit(f64),
    /// All the time.
    Always,
}

/// Where a window stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// None before this time.
    Between(KtimeNs),
    /// The kernel was asked to count.
    Asked,
    /// It counts since then.
    Open(KtimeNs, RunTime),
}

/// Keeps the account.
#[derive(Debug)]
pub(super) struct Meter {
    measure: Measure,
    switch: Option<Switch>,
    /// Why not, until that is told.
    refused: Option<String>,
    state: State,
    above: u32,
    from: KtimeNs,
    cpu_from_ns: u64,
    rss_bytes: u64,
    rss_max_bytes: u64,
    /// All windows together.
    windows: ProgramsSample,
    last: f64,
    highest: f64,
}

/// What a turn brought.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    Nothing,
    /// A window closed.
    Window(ProgramsSample),
    /// Several in a row were above the limit; the last one's share.
    Above(f64),
    /// It cannot be measured, and why.
    Blind(String),
}

impl Meter {
    /// To be called while all capabilities are there. Asks at once, so that a trace that cannot measure says so when it begins.
    pub(super) fn new(measure: Measure) -> Self {
        let now = clock::now();
        let asked = Switch::new().and_then(|switch| {
            switch.turn(true);
            switch.first_answer()?;
            switch.turn(false);
            Ok(switch)
        });
        let (switch, refused) = match asked {
            Ok(switch) => (Some(switch), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            measure,
            switch,
            refused,
            state: State::Between(now),
            above: 0,
            from: now,
            cpu_from_ns: clock::own_cpu_ns(),
            rss_bytes: 0,
            rss_max_bytes: 0,
            windows: ProgramsSample::default(),
            last: 0.0,
            highest: 0.0,
        }
    }

    /// Ten times a second.
    pub(super) fn turn(&mut self, now: KtimeNs, probe: &Probe) -> Turn {
        if let Some(why) = self.refused.take() {
            return Turn::Blind(why);
        }
        let Some(switch) = &self.switch else { return Turn::Nothing };
        match self.state {
            State::Between(until) if now >= until => {
                switch.turn(true);
                self.state = State::Asked;
            }
            State::Asked => match switch.answer() {
                Some(Ok(true)) => self.state = State::Open(now, probe.run_time()),
                Some(Err(error)) => {
                    self.switch = None;
                    return Turn::Blind(error.to_string());
                }
                // Off was said late.
                Some(Ok(false)) | None => {}
            },
            State::Open(from, before) if now.since(from) >= WINDOW_NS => {
                let run_time = probe.run_time();
                let window = run_time.since(before);
                self.state = if self.measure == Measure::Always {
                    State::Open(now, run_time)
                } else {
                    switch.turn(false);
                    let every =
                        if matches!(self.measure, Measure::Limit(_)) { LIMITED_EVERY_NS } else { EVERY_NS };
                    State::Between(KtimeNs(from.0.saturating_add(every)))
                };
                return self.close(with_way(now.since(from), window, probe.way_ns()));
            }
            State::Between(_) | State::Open(..) => {}
        }
        Turn::Nothing
    }

    /// Takes a window's account.
    fn close(&mut self, window: ProgramsSample) -> Turn {
        self.windows.window_ns += window.window_ns;
        self.windows.run_ns += window.run_ns;
        self.windows.runs += window.runs;
        self.windows.way_ns += window.way_ns;
        self.last = quotient(window.run_ns, window.window_ns);
        self.highest = self.highest.max(self.last);
        match self.measure {
            Measure::Limit(limit) if self.last > limit => self.above += 1,
            _ => self.above = 0,
        }
        if self.above >= WINDOWS_ABOVE { Turn::Above(self.last) } else { Turn::Window(window) }
    }

    /// Once a second, and at the end.
    pub(super) fn look(&mut self) {
        if let Ok(usage) = usage::read(std::process::id()) {
            self.rss_bytes = usage.rss_bytes;
            self.rss_max_bytes = self.rss_max_bytes.max(usage.rss_bytes);
        }
    }

    /// The account so far.
    pub(super) fn cost(&self, now: KtimeNs, events: u64, lost: u64) -> Cost {
        let span_ns = now.since(self.from);
        let cpu_ns = clock::own_cpu_ns().saturating_sub(self.cpu_from_ns);
        let all = self.windows;
        let server = (all.window_ns > 0).then(|| ServerCost {
            share: quotient(all.run_ns, all.window_ns),
            share_last: self.last,
            share_max: self.highest,
            runs_per_s: per_second(all.runs, all.window_ns),
            ns_per_run: quotient(all.run_ns, all.runs),
            way_ns_per_run: quotient(all.way_ns, all.runs),
            measured_ns: all.window_ns,
        });
        Cost {
            span_ns,
            cpu_ns,
            cpu_share: quotient(cpu_ns, span_ns),
            rss_bytes: self.rss_bytes,
            rss_max_bytes: self.rss_max_bytes,
            events,
            events_per_s: per_second(events, span_ns),
            lost,
            server,
        }
    }
}

/// A window's account, with the kernel's way to each run.
fn with_way(window_ns: u64, window: RunTime, way_ns: f64) -> ProgramsSample {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no window has 2^53 runs, and no way is negative"
    )]
    let way_ns = (window.runs as f64 * way_ns).round() as u64;
    ProgramsSample { window_ns, run_ns: window.ns.saturating_add(way_ns), runs: window.runs, way_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(run_ns: u64) -> ProgramsSample {
        ProgramsSample { window_ns: 200_000_000, run_ns, runs: run_ns / 100, way_ns: 0 }
    }

    #[test]
    fn the_kernels_way_counts_towards_the_limit() {
        // A hundred thousand calls of others in a fifth of a second, each let go at once.
        let runs = RunTime { ns: 1_500_000, runs: 100_000 };
        let mut meter = Meter::new(Measure::Limit(0.01));
        for (way_ns, turn) in [(0.0, false), (80.5, false), (80.5, true)] {
            let is_above = matches!(meter.close(with_way(200_000_000, runs, way_ns)), Turn::Above(_));
            assert_eq!(is_above, turn, "{way_ns}");
        }
        let server = meter.cost(clock::now(), 0, 0).server.unwrap();
        assert_eq!((server.ns_per_run, server.way_ns_per_run), (68.666_667, 53.666_667));
    }

    #[test]
    fn one_burst_is_not_too_expensive_and_two_windows_are() {
        let mut meter = Meter::new(Measure::Limit(0.01));
        assert!(matches!(meter.close(window(50_000_000)), Turn::Window(_)));
        assert!(matches!(meter.close(window(1_000_000)), Turn::Window(_)));
        assert!(matches!(meter.close(window(4_000_000)), Turn::Window(_)));
        assert_eq!(meter.close(window(6_000_000)), Turn::Above(0.03));
        let server = meter.cost(clock::now(), 0, 0).server.unwrap();
        assert_eq!((server.share_max, server.share_last, server.ns_per_run), (0.25, 0.03, 100.0));
        assert_eq!(server.measured_ns, 800_000_000);
    }

    #[test]
    fn without_a_limit_nothing_is_too_expensive() {
        let mut meter = Meter::new(Measure::Sometimes);
        for _ in 0..5 {
            assert!(matches!(meter.close(window(200_000_000)), Turn::Window(_)));
        }
    }
}
