//! What `ping` saw: a line a connection, then what they come to.
//!
//! ```text
//! #1     connected 0.11 ms   greeted 0.32 ms
//! #2     connected 1.03 s    greeted 0.40 ms   SYN sent 2 times
//! ```

use anstyle::Style;

use super::{DIM, GREEN, RED, Text, YELLOW, fit};
use crate::model::{
    Nanos, Severity,
    ping::{
        Ping, PingAttempt, PingBucket, PingCount, PingOutcome, PingQueue, PingServed, PingStop, PingTimes,
    },
};

/// Columns of a histogram's longest bar.
const BAR: u64 = 40;

impl Text {
    /// A connection.
    pub fn ping_attempt(&self, attempt: &PingAttempt) -> String {
        let number = fit::left(&format!("#{}", attempt.number), 7, self.mark());
        let mut said = Vec::new();
        if let Some(connect) = attempt.connect_ns {
            said.push(format!("connected {:<8}", Nanos(connect)));
        }
        let total = Nanos(attempt.total_ns);
        let style = if attempt.outcome == PingOutcome::Greeted { Style::new() } else { RED };
        let after = Nanos(
            attempt
                .greeting_ns
                .unwrap_or_else(|| attempt.total_ns.saturating_sub(attempt.connect_ns.unwrap_or(0))),
        );
        said.push(match attempt.outcome {
            PingOutcome::Greeted => format!("greeted {after:<8}"),
            PingOutcome::ServerError => match attempt.error_code {
                Some(code) => format!("error {code} after {after}"),
                None => format!("turned away after {after}"),
            },
            PingOutcome::Closed => format!("closed without a byte after {after}"),
            PingOutcome::Reset => format!("reset after {after}"),
            PingOutcome::Silent => format!("no greeting within {total}"),
            PingOutcome::Refused => format!("refused after {total}"),
            PingOutcome::NoAnswer => format!("no answer within {total}"),
            PingOutcome::Unreachable => format!("unreachable after {total}"),
            PingOutcome::HalfGreeting if attempt.error.is_some() => "half a greeting".to_owned(),
            PingOutcome::HalfGreeting => format!("only half a greeting within {total}"),
            PingOutcome::NotMysql => "not the expected greeting".to_owned(),
            PingOutcome::Failed => "failed here".to_owned(),
        });
        if attempt.syn_retries > 0 {
            said.push(format!("SYN sent {} times", attempt.syn_retries.saturating_add(1)));
        }
        let mut line = format!("{number}{}", self.own(said.join("  ").trim_end()));
        if let Some(error) = attempt.error.as_ref().or(attempt.said.as_ref()) {
            let room = self.width().saturating_sub(fit::width(&line) + 2);
            put!(line, ": {}", self.outside(error, room));
        }
        self.paint(style, &line) + "\n"
    }

    /// What they come to.
    pub fn ping(&self, ping: &Ping) -> String {
        let mut text = String::from("\n");
        let mut heading = self.outside(&ping.target, 50);
        if ping.resolve_ns.is_some() {
            put!(heading, " ({})", ping.address);
        }
        if let Some(version) = &ping.version {
            put!(heading, " is {}", self.outside(version, 50));
        }
        let outcomes: Vec<_> = ping.outcomes.iter().map(outcome).collect();
        let of = match ping.stopped {
            None => String::new(),
            Some(PingStop::Interrupted) => format!(", {} not made or not ended", left_out(ping)),
            Some(PingStop::MaxConnectErrors) => format!(", {} not made", left_out(ping)),
        };
        let outcomes = if outcomes.is_empty() { "no connection".to_owned() } else { outcomes.join(", ") };
        self.section(&mut text, &format!("{heading}: {outcomes}{of}"));
        self.ping_times(&mut text, ping);
        self.ping_histogram(&mut text, &ping.histogram);
        for problem in &ping.problems {
            let (style, label) = match problem.severity {
                Severity::Critical => (RED, "critical"),
                Severity::Warning => (YELLOW, "warning"),
                Severity::Info => (Style::new(), "info"),
            };
            self.say_in(&mut text, style, label, &self.outside(&problem.message, usize::MAX));
            if let Some(change) = &problem.change {
                self.say(&mut text, "", &format!("{} {}", self.arrow(), self.outside(change, usize::MAX)));
            }
        }
        text
    }

    fn ping_times(&self, text: &mut String, ping: &Ping) {
        if let Some(resolve) = ping.resolve_ns {
            put!(text, "  {:<10}{:>10}\n", "resolve", self.own(&Nanos(resolve).to_string()));
        }
        let rows = [("connect", &ping.connect), ("first byte", &ping.greeting), ("both", &ping.total)];
        let rows: Vec<(&str, &PingTimes)> =
            rows.into_iter().filter_map(|(name, times)| Some((name, times.as_ref()?))).collect();
        if rows.is_empty() {
            return;
        }
        let heading = ["min", "p50", "p90", "p99", "max"].map(|name| format!("{name:>10}")).concat();
        put!(text, "  {:<10}{}\n", "", self.paint(DIM, &heading));
        for (name, times) in rows {
            let values = [times.min_ns, times.p50_ns, times.p90_ns, times.p99_ns, times.max_ns];
            let values = values.map(|ns| format!("{:>10}", Nanos(ns))).concat();
            put!(text, "  {name:<10}{}\n", self.own(&values));
            if name == "connect" {
                self.ping_queue(text, ping);
            }
        }
        text.push('\n');
    }

    /// What can be told of the wait between the two.
    fn ping_queue(&self, text: &mut String, ping: &Ping) {
        let PingQueue { served, together, turn_ns, behind_ns } = ping.queue;
        let said = match (served, turn_ns.zip(behind_ns)) {
            (Some(PingServed::OneByOne), Some((turn, behind))) => {
                let (turn, behind) = (Nanos(turn), Nanos(behind));
                format!(
                    "part of first byte: {together} waited together, one by one, {turn} each; up to {behind} behind others"
                )
            }
            (Some(PingServed::SideBySide), _) => {
                format!("part of first byte: {together} waited together, greeted at about the same time")
            }
            _ => "part of first byte: a client cannot see it alone".to_owned(),
        };
        for (i, line) in fit::wrap(&self.own(&said), self.width() - 13, 0, self.mark()).lines().enumerate() {
            let label = if i == 0 { "queue" } else { "" };
            put!(text, "  {label:<10} {}\n", self.paint(DIM, line));
        }
    }

    /// Where all are in one bucket there is nothing to draw.
    fn ping_histogram(&self, text: &mut String, buckets: &[PingBucket]) {
        let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0);
        if buckets.len() < 2 {
            return;
        }
        let full = if self.unicode { "█" } else { "#" };
        for bucket in buckets {
            // What is there at all is seen.
            let columns = (bucket.count * BAR).div_ceil(most.max(1));
            let bar = full.repeat(usize::try_from(columns).unwrap_or(0));
            let range = format!("{:>6} to {:>6}", edge(bucket.from_ns), edge(bucket.to_ns));
            let range = self.paint(DIM, &self.own(&range));
            let count = if bucket.count == 0 { String::new() } else { format!(" {}", bucket.count) };
            put!(text, "  {}\n", format!("{range}  {}{count}", self.paint(GREEN, &bar)).trim_end());
        }
        text.push('\n');
    }

    /// Before more connections would get this host blocked.
    pub fn ping_limited(&self, wanted: usize, allowed: usize, limit: usize, version: Option<&str>) -> String {
        let whose = version.map_or_else(
            || "by default on old servers, and this one has not said its version".to_owned(),
            |version| format!("by default on {}", self.outside(version, 50)),
        );
        format!(
            "{wanted} connections would reach max_connect_errors ({limit} {whose}), and the server would then block this host (error 1129) until somebody flushes its host cache; making {allowed}. --force makes all of them"
        )
    }
}

fn left_out(ping: &Ping) -> u64 {
    ping.wanted.saturating_sub(ping.attempts.len() as u64)
}

fn outcome(count: &PingCount) -> String {
    let what = match count.outcome {
        PingOutcome::Greeted => "greeted".to_owned(),
        PingOutcome::ServerError => match count.error_code {
            Some(code) => format!("with error {code}"),
            None => "turned away".to_owned(),
        },
        PingOutcome::Closed => "closed without a byte".to_owned(),
        PingOutcome::Reset => "reset".to_owned(),
        PingOutcome::Silent => "connected but not greeted".to_owned(),
        PingOutcome::Refused => "refused".to_owned(),
        PingOutcome::NoAnswer => "without an answer".to_owned(),
        PingOutcome::Unreachable => "unreachable".to_owned(),
        PingOutcome::HalfGreeting => "half greeted".to_owned(),
        PingOutcome::NotMysql => "with another greeting".to_owned(),
        PingOutcome::Failed => "failed here".to_owned(),
    };
    format!("{} {what}", count.count)
}

/// A bucket's end: a round number.
fn edge(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}
