//! Two traces compared, for a terminal.

use anstyle::Style;

use crate::diagnose::{Diff, FileChange, FindingChange, NameserverChange};
use crate::model::{NameserverStats, Nanos, Severity};
use crate::render::text::{BOLD, DIM, GREEN, RED, Text, YELLOW, fit};

impl Text {
    /// What changed.
    pub fn diff(&self, diff: &Diff) -> String {
        let mut text = self.paragraph(0, BOLD, &diff.verdict);
        for caveat in &diff.caveats {
            text += &self.paragraph(0, YELLOW, &format!("Compare with care: {caveat}."));
        }
        text += &self.heading("Percentiles");
        let head = format!("  {:20}{:>18}{:>18}{:>18}", "before → after", "p50", "p99", "max");
        text += &format!("{}\n", self.paint(DIM, &self.own(&head)));
        for change in &diff.percentiles {
            let (b, a) = (&change.before, &change.after);
            let pair = |before: u64, after: u64| {
                let show =
                    |count: u64, ns: u64| if count > 0 { Nanos(ns).to_string() } else { "-".to_owned() };
                format!("{} → {}", show(b.count, before), show(a.count, after))
            };
            let name = spread_name(&change.name);
            let line = format!(
                "  {name:20}{:>18}{:>18}{:>18}",
                pair(b.p50_ns, a.p50_ns),
                pair(b.p99_ns, a.p99_ns),
                pair(b.max_ns, a.max_ns)
            );
            text += &format!("{}\n", self.own(&line));
        }
        if !diff.nameservers.is_empty() {
            text += &self.heading("Nameservers");
            diff.nameservers.iter().for_each(|change| text += &self.nameserver_change(change));
        }
        if !diff.files.is_empty() {
            text += &self.heading("Files");
            diff.files.iter().for_each(|change| text += &self.file_change(change));
        }
        if !diff.findings.is_empty() {
            text += &self.heading("Findings");
            diff.findings.iter().for_each(|change| text += &self.finding_change(change));
        }
        text
    }

    fn nameserver_change(&self, change: &NameserverChange) -> String {
        let side = |stats: &Option<NameserverStats>| {
            stats.as_ref().map_or_else(
                || "not asked".to_owned(),
                |stats| {
                    let rtt = if stats.rtt.count > 0 {
                        format!(", p50 {}", Nanos(stats.rtt.p50_ns))
                    } else {
                        String::new()
                    };
                    format!("{} answered, {} timed out{rtt}", stats.answered, stats.timeouts)
                },
            )
        };
        let said = format!("{}: {} → {}", change.server, side(&change.before), side(&change.after));
        self.paragraph(2, Style::new(), &said)
    }

    fn file_change(&self, change: &FileChange) -> String {
        let mut text = self.paragraph(2, Style::new(), &change.path);
        if change.reordered {
            text += &self.paragraph(4, Style::new(), "the same lines, in another order or number");
        }
        for (lines, sign, style) in [(&change.removed, '-', RED), (&change.added, '+', GREEN)] {
            for line in lines {
                let line = fit::squeeze(&self.outside(line, usize::MAX), self.width() - 6, self.mark());
                text += &format!("    {}\n", self.paint(style, &format!("{sign} {line}")));
            }
        }
        text
    }

    fn finding_change(&self, change: &FindingChange) -> String {
        let name = |severity: Severity| match severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let (word, style) = match (change.before, change.after) {
            (Some(before), None) => (format!("gone ({})", name(before)), GREEN),
            (None, Some(after)) => (format!("new ({})", name(after)), RED),
            (Some(before), Some(after)) if before != after => {
                (format!("{} → {}", name(before), name(after)), YELLOW)
            }
            (Some(same), _) => (format!("still {}", name(same)), Style::new()),
            (None, None) => (String::new(), Style::new()),
        };
        let mut text = format!("  {} {}\n", self.paint(style, &self.own(&word)), change.id.name());
        text += &self.paragraph(4, DIM, &change.message);
        text
    }
}

fn spread_name(name: &str) -> &str {
    match name {
        "total" => "client's wait",
        "wrapper" => "wrapper check",
        "dns" => "dns in it",
        "greeting" => "accept to greeting",
        other => other,
    }
}
