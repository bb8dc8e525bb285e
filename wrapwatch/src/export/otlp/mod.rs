//! A trace for OpenTelemetry: a client's wait as a trace (queue, check, lookups and queries as its spans, a link to whoever it was queued behind), stalls, findings and what
//! cannot be seen as log records. Batches in OTLP's JSON form, which is what a file exporter writes and what OTLP/HTTP takes.
//!
//! What is counted is told as metrics. Only clients that waited long or were not greeted become traces, and a share of the others where that is asked for: one that was served at once says nothing, and there are thousands a second. Ids are made from host,
//! recording and connection, so that a trace sent twice is the same one, and a link needs nobody to remember whom it names.

mod attributes;
mod ids;
mod json;
mod metrics;
mod sampling;
mod spans;
#[cfg(test)]
mod tests;

use std::io;

pub use attributes::ATTRIBUTES;
use ids::Ids;
use json::{Attributes, LogRecord, Nanos, Resource, Span};
pub use metrics::metric_names;
pub use sampling::Sampling;
use serde::Serialize;

use super::commands::Commands;
use crate::diagnose::Report;
use crate::metrics::Metrics;
use crate::model::{Connection, Degradation, Finding, KtimeNs, Line, Severity, Stall, WallTime};
use crate::observe::{NewStalls, Observer};
use crate::trace::{Head, Input};

/// Number of the attributes' meaning.
pub const SCHEMA_VERSION: u32 = 1;
/// Spans, or log records, of a batch.
const BATCH_MAX: usize = 512;
/// Degradations remembered; further ones are told with each file of a recording.
const DEGRADATIONS_MAX: usize = 64;

/// What a batch holds; a file has batches of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
}

/// Takes batches.
pub trait TakeBatches {
    /// A batch of so many spans, log records or data points: one JSON object.
    fn batch(&mut self, signal: Signal, items: u64, json: Vec<u8>) -> io::Result<()>;
}

/// What is told.
#[derive(Clone, Copy, Debug)]
pub struct OtlpOptions {
    /// Clients that waited so long become traces.
    pub slow_ns: u64,
    /// And of the others so many.
    pub sampling: Sampling,
    /// With the names that were asked for: they are personal, and many.
    pub names: bool,
}

/// Makes batches of lines, see the [module](self).
#[derive(Debug)]
pub struct Otlp<B> {
    out: B,
    options: OtlpOptions,
    resource: Resource,
    host: String,
    ids: Ids,
    commands: Commands,
    stalls: NewStalls,
    /// Told of this recording: each of its files says them again.
    degradations: Vec<Degradation>,
    /// When it was last said what time it is.
    now: Nanos,
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
}

impl<B: TakeBatches> Otlp<B> {
    /// To `out`.
    pub fn new(out: B, options: OtlpOptions) -> Self {
        Self {
            out,
            options,
            resource: Resource::default(),
            host: String::new(),
            ids: Ids::default(),
            commands: Commands::new(),
            stalls: NewStalls::new(),
            degradations: Vec::new(),
            now: Nanos::default(),
            spans: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// From here on clients that waited so long become traces.
    pub const fn set_slow(&mut self, slow_ns: u64) {
        self.options.slow_ns = slow_ns;
    }

    /// What is told and in no batch yet is not to be sent.
    pub fn forget(&mut self) {
        self.spans.clear();
        self.logs.clear();
    }

    /// What was counted of a trace from `since` on, as it is `at` then.
    pub fn counted(
        &mut self,
        metrics: &Metrics,
        trace: &str,
        (since, at): (WallTime, WallTime),
    ) -> io::Result<()> {
        let times = metrics::Times { begin: Nanos::of(since), now: Nanos::of(at) };
        let metrics = metrics::metrics(&metrics.families(), times);
        let points: usize = metrics.iter().map(metrics::Metric::points).sum();
        let json = json::batch(Signal::Metrics, &Resource::counting(&self.host, trace), &metrics)?;
        self.out.batch(Signal::Metrics, points as u64, json)
    }

    /// What it all comes to, and the rest.
    pub fn finish(mut self, report: &Report) -> io::Result<B> {
        for finding in &report.findings {
            self.finding(finding, report.trace.to)?;
        }
        self.flush()?;
        Ok(self.out)
    }

    fn head(&mut self, head: &Head) -> io::Result<()> {
        // What is told so far is another resource's.
        self.flush()?;
        let recording = head.clock.wall(head.clock.ktime);
        let ids = Ids::of(&head.hostname, recording);
        if std::mem::replace(&mut self.ids, ids) != ids {
            self.degradations.clear();
            self.now = Nanos::of(recording);
        }
        self.resource = Resource::of(&head.hostname, recording);
        self.host.clone_from(&head.hostname);
        self.stalls.head(head);
        Ok(())
    }

    fn connection(&mut self, connection: &Connection) -> io::Result<()> {
        let failed = spans::error(connection.outcome).is_some() || connection.client_left.is_some();
        let OtlpOptions { slow_ns, sampling, names } = self.options;
        let is_certain = failed || connection.waited_ns >= slow_ns;
        if !is_certain && !sampling.takes(self.ids.trace(connection.conn)) {
            return Ok(());
        }
        let command = self.commands.of(connection.pid);
        let trace_state = sampling.state(is_certain);
        let told = spans::Told { connection, command, names, ids: &self.ids, trace_state };
        told.spans(&mut self.spans);
        if self.spans.len() >= BATCH_MAX { self.send_spans() } else { Ok(()) }
    }

    /// One record a stall, though it is told once a second: as it is found. What became of it is in its client's trace.
    fn stall(&mut self, stall: &Stall) -> io::Result<()> {
        if !self.stalls.is_new(stall) {
            return Ok(());
        }
        let mut attributes = Attributes::default();
        let cause: &'static str = stall.cause.into();
        attributes.text("wrapwatch.stall.cause", cause);
        attributes.number("process.pid", stall.pid.into()).number("thread.id", stall.tid.into());
        attributes.maybe("wrapwatch.server", self.commands.of(stall.pid));
        attributes.number("wrapwatch.blocked_ns", stall.blocked_ns);
        attributes.boolean("wrapwatch.since_attach", stall.since_attach);
        attributes.maybe("wrapwatch.stall.lookup", stall.lookup.map(<&'static str>::from));
        attributes.server(stall.server.as_deref());
        attributes.peer(stall.peer).rule(stall.rule.as_ref());
        if self.options.names {
            attributes.maybe("dns.question.name", stall.name.as_deref());
        }
        if let (Some(queued), Some(limit)) = (stall.queued, stall.queue_limit) {
            attributes.number("wrapwatch.queue.length", queued.into());
            attributes.number("wrapwatch.queue.limit", limit.into());
        }
        let server = stall.server.as_deref().map_or_else(String::new, |server| format!(" → {server}"));
        let at_least = if stall.since_attach { "at least " } else { "" };
        let took = crate::model::Nanos(stall.blocked_ns);
        self.log(LogRecord {
            time: Nanos::of(stall.at),
            event: "wrapwatch.stall",
            severity: json::WARN,
            body: format!("the accept thread has been in one check for {at_least}{took}: {cause}{server}")
                .into(),
            attributes,
            trace: stall.conn.map(|conn| (self.ids.trace(conn), self.ids.span(conn, &[]))),
        })
    }

    fn finding(&mut self, finding: &Finding, until: Option<WallTime>) -> io::Result<()> {
        let finding = if self.options.names { finding.clone() } else { finding.without_names() };
        let mut attributes = Attributes::default();
        attributes.text("wrapwatch.finding", &finding.id.name());
        attributes.maybe("wrapwatch.change", finding.change.as_deref());
        attributes.number("wrapwatch.connections", finding.evidence.count);
        attributes.server(finding.evidence.server.as_deref());
        attributes.rule(finding.evidence.rule.as_ref());
        attributes.text("wrapwatch.facts", &finding.evidence.facts.join("; "));
        self.log(LogRecord {
            time: until.map_or_else(Nanos::default, Nanos::of),
            event: "wrapwatch.finding",
            severity: match finding.severity {
                Severity::Info => json::INFO,
                Severity::Warning => json::WARN,
                Severity::Critical => json::ERROR,
            },
            body: finding.message.into(),
            attributes,
            trace: None,
        })
    }

    fn degradation(&mut self, degradation: &Degradation) -> io::Result<()> {
        if self.degradations.contains(degradation) {
            return Ok(());
        }
        if self.degradations.len() < DEGRADATIONS_MAX {
            self.degradations.push(degradation.clone());
        }
        let mut attributes = Attributes::default();
        attributes.text("wrapwatch.degradation", degradation.kind.into());
        if let Some(pid) = degradation.pid {
            attributes.number("process.pid", pid.into());
        }
        self.log(LogRecord {
            time: self.now,
            event: "wrapwatch.degradation",
            severity: json::WARN,
            body: degradation.message.clone().into(),
            attributes,
            trace: None,
        })
    }

    fn log(&mut self, record: LogRecord) -> io::Result<()> {
        self.logs.push(record);
        if self.logs.len() >= BATCH_MAX { self.send_logs() } else { Ok(()) }
    }

    fn send_spans(&mut self) -> io::Result<()> {
        send(&mut self.out, Signal::Traces, &self.resource, &mut self.spans)
    }

    fn send_logs(&mut self) -> io::Result<()> {
        send(&mut self.out, Signal::Logs, &self.resource, &mut self.logs)
    }
}

fn send(
    out: &mut impl TakeBatches,
    signal: Signal,
    resource: &Resource,
    items: &mut Vec<impl Serialize>,
) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let (n, json) = (items.len() as u64, json::batch(signal, resource, items)?);
    items.clear();
    out.batch(signal, n, json)
}

/// Nanoseconds since 1970; what is before is 1970.
fn since_1970(at: WallTime) -> KtimeNs {
    KtimeNs(u64::try_from(at.0.as_nanosecond()).unwrap_or(0))
}

impl<B: TakeBatches> Observer for Otlp<B> {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        self.commands.input(input);
        match input {
            Input::Head(head) => self.head(head)?,
            Input::Clock(clock) => self.now = Nanos::of(clock.wall(clock.ktime)),
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Connection(connection) | Line::Request(connection) => self.connection(connection),
            Line::Stall(stall) => self.stall(stall),
            Line::Degradation(degradation) => self.degradation(degradation),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_spans()?;
        self.send_logs()
    }
}
