//! Metrics as an observer: (input, line) → few series, in the forms that Prometheus reads: two of text, and protobuf, which alone has native histograms.
//!
//! Few: no series is a client or a name; nameservers, listeners and servers are told apart up to a number. What is not known is absent, not 0: a queue that was not
//! sampled has no sample, and what was so at the last sample is not known any more once the recorder is silent ([`Metrics::silent`]).
//!
//! Counters are of what was observed, whatever was before: [`Metrics::zero`] takes them back to nothing and keeps what is needed to count on.

mod connection;
mod names;
mod samples;
mod series;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;

use prometheus_client::encoding::{prometheus_protobuf, prometheus_text, text};

use names::Names;
pub use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as exposed;
use samples::{Last, Servers};
use series::Series;
pub use series::SeriesInfo;

use crate::model::{ClockPair, DegradationKind, KtimeNs, Line, Lost, Stall, WallTime};
use crate::observe::{NewStalls, Observer};
use crate::trace::{Damage, DamageKind, Input, is_continued};

/// What Prometheus' text format is called, version 0.0.4: what the node exporter's textfile collector reads.
pub const PROMETHEUS_TEXT: &str = prometheus_text::CONTENT_TYPE;
/// What OpenMetrics' text format is called.
pub const OPENMETRICS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What Prometheus' protobuf form is called: one `MetricFamily` after another, each behind its length.
pub const PROMETHEUS_PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Nameservers told apart.
const NAMESERVERS_MAX: usize = 8;
/// Listeners told apart.
const LISTENERS_MAX: usize = 16;

/// Takes inputs and lines and counts, see the [module](self).
#[derive(Debug)]
pub struct Metrics {
    series: Series,
    clock: ClockPair,
    last: Last,
    last_sample: Option<WallTime>,
    servers: Servers,
    nameservers: Names,
    listeners: Names,
    stalls: NewStalls,
    /// What cannot be seen.
    degraded: BTreeSet<&'static str>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self {
            series: fresh(),
            clock: ClockPair { ktime: KtimeNs(0), wall_ns: 0 },
            last: Last::default(),
            last_sample: None,
            servers: Servers::default(),
            nameservers: Names::new(NAMESERVERS_MAX),
            listeners: Names::new(LISTENERS_MAX),
            stalls: NewStalls::new(),
            degraded: BTreeSet::new(),
        }
    }

    /// With a sample of every series.
    #[cfg(test)]
    pub fn one_of_each() -> Self {
        let metrics = Self::new();
        metrics.series.one_of_each();
        metrics
    }

    /// As Prometheus' text format has it.
    pub fn prometheus_text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_text::encode(&mut out, &self.series.registry);
        out
    }

    /// As OpenMetrics has it.
    pub fn openmetrics_text(&self) -> String {
        let mut out = String::new();
        let _ = text::encode(&mut out, &self.series.registry);
        out
    }

    /// As Prometheus' protobuf form has it, with native histograms.
    pub fn prometheus_protobuf(&self) -> Vec<u8> {
        // Memory does not fail.
        prometheus_protobuf::encode_to_vec(&self.series.registry).unwrap_or_default()
    }

    /// The values themselves, as Prometheus calls them.
    pub fn families(&self) -> Vec<exposed::MetricFamily> {
        prometheus_protobuf::encode(&self.series.registry).unwrap_or_default()
    }

    /// When the last sample of a second was taken, by the trace.
    pub const fn last_sample(&self) -> Option<WallTime> {
        self.last_sample
    }

    /// No sample comes any more: what was so is not known to be so now.
    pub fn silent(&self) {
        let Series { queued, queue_limit, stall_age, own_memory, up, .. } = &self.series;
        queued.clear();
        queue_limit.clear();
        stall_age.clear();
        own_memory.clear();
        up.get_or_create(&[]).set(0.0);
    }

    /// From here on everything counts from nothing.
    pub fn zero(&mut self) {
        self.series = fresh();
        for kind in &self.degraded {
            self.series.degradations.get_or_create(&[("kind", (*kind).into())]).set(1.0);
        }
    }

    /// So many files of a recording were gone before they could be read.
    pub fn files_missed(&self, files: u64) {
        self.series.files_missed.get_or_create(&[]).inc_by(files);
    }

    /// Of a signal, so many spans, log records or data points were sent and dropped by now.
    pub fn sent(&self, signal: &'static str, sent: u64, dropped: u64) {
        for (counter, now) in [(&self.series.otlp_sent, sent), (&self.series.otlp_dropped, dropped)] {
            let counter = counter.get_or_create(&[("signal", signal.into())]);
            counter.inc_by(now.saturating_sub(counter.get()));
        }
    }

    fn stall(&mut self, stall: &Stall) {
        let age = self.series.stall_age.get_or_create_owned(&[]);
        age.set(age.get().max(connection::seconds(stall.blocked_ns)));
        if !self.stalls.is_new(stall) {
            return;
        }
        let cause: &str = stall.cause.into();
        self.series.stalls.get_or_create(&[("cause", cause.into())]).inc();
    }

    fn lost(&self, lost: &Lost) {
        self.series.lost.get_or_create(&[]).inc_by(lost.events);
        let skipped = lost.by.iter().filter(|(name, _)| name == "skipped_calls");
        let skipped = skipped.fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
        self.series.skipped.get_or_create(&[]).inc_by(skipped);
    }

    fn degradation(&mut self, kind: DegradationKind) {
        let kind: &str = kind.into();
        self.degraded.insert(kind);
        self.series.degradations.get_or_create(&[("kind", kind.into())]).set(1.0);
    }

    fn damage(&self, damage: &Damage) {
        let kind = match damage.kind {
            DamageKind::Bytes => "bytes",
            DamageKind::Torn => "torn",
            DamageKind::NoEnd => "no_end",
            DamageKind::Dropped => "dropped",
            DamageKind::Content => "content",
        };
        self.series.damage.get_or_create(&[("kind", kind.into())]).inc();
    }
}

/// All series there are.
pub fn all_series() -> Vec<SeriesInfo> {
    Series::all()
}

/// Without a sample but for the version.
fn fresh() -> Series {
    let series = Series::new();
    series.version.get_or_create(&[("version", env!("CARGO_PKG_VERSION").into())]).set(1.0);
    series
}

impl Observer for Metrics {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        match input {
            Input::Head(head) => self.head(head),
            Input::Target(target) => self.target(target),
            Input::Clock(clock) => self.clock = *clock,
            Input::Sample(sample) => self.sample(sample),
            Input::Damage(damage) => self.damage(damage),
            Input::End(end) if !is_continued(end) => self.silent(),
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Connection(connection) => self.connection(connection),
            Line::Request(request) => self.request(request),
            Line::Stall(stall) => self.stall(stall),
            Line::Lost(lost) => self.lost(lost),
            Line::Degradation(degradation) => self.degradation(degradation.kind),
            Line::Summary(_) => {}
        }
        Ok(())
    }
}
