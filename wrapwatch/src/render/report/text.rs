//! A report for a terminal: the verdict, what was found and what to change, what would have been, the numbers, the slowest connections.

use anstyle::Style;

use crate::diagnose::{Report, rate};
use crate::model::{Finding, Nanos, Severity, Share, WhatIf};
use crate::render::text::{BOLD, DIM, RED, Text, YELLOW, fit};

use super::scenario;

/// What the what-if table takes with all its columns.
const WHAT_IF_COLUMNS: usize = 79;

impl Text {
    /// The whole report.
    pub fn report(&self, report: &Report) -> String {
        let mut text = String::new();
        let verdict = self.own(&self.outside(&report.verdict, usize::MAX));
        for line in fit::wrap(&verdict, self.width(), 0, self.mark()).lines() {
            text += &self.paint(BOLD, line);
            text.push('\n');
        }
        for damage in &report.trace.damage {
            text += &self.paragraph(0, YELLOW, &format!("damage: {damage}"));
        }
        if !report.findings.is_empty() {
            text += &self.heading("Findings");
            for finding in &report.findings {
                text += &self.finding(finding);
            }
        }
        if !report.what_if.is_empty() {
            text += &self.heading("What if");
        }
        text += &self.what_if(report);
        text += &self.heading("Numbers");
        let mut summary = report.summary.clone();
        if !report.what_if.is_empty() {
            // The table has it, with the hand-over counted in; two numbers for one thing confuse.
            summary.accept_threads.iter_mut().for_each(|thread| thread.ceiling_per_s = None);
        }
        text += &self.numbers(&summary);
        if !report.connections.is_empty() {
            text += &self.heading(report.slowest());
            for connection in &report.connections {
                text += &self.connection(connection);
            }
        }
        text
    }

    pub(super) fn heading(&self, name: &str) -> String {
        format!("\n{}\n", self.paint(BOLD, name))
    }

    /// Wrapped, indented, painted.
    pub(super) fn paragraph(&self, indent: usize, style: Style, said: &str) -> String {
        let said = self.own(&self.outside(said, usize::MAX));
        let wrapped = fit::wrap(&said, self.width().saturating_sub(indent), 0, self.mark());
        let pad = " ".repeat(indent);
        wrapped.lines().map(|line| format!("{pad}{}\n", self.paint(style, line))).collect()
    }

    /// A finding with its proof and the change.
    pub fn finding(&self, finding: &Finding) -> String {
        let (mark, style) = match finding.severity {
            Severity::Critical => ("CRITICAL", RED | BOLD.get_effects()),
            Severity::Warning => ("WARNING", YELLOW),
            Severity::Info => ("INFO", DIM),
        };
        let mut text = format!("  {} {}\n", self.paint(style, mark), finding.id.name());
        text += &self.paragraph(4, Style::new(), &finding.message);
        for fact in &finding.evidence.facts {
            text += &self.paragraph(6, DIM, fact);
        }
        if !finding.evidence.connections.is_empty() {
            let named: Vec<String> =
                finding.evidence.connections.iter().map(|conn| format!("#{conn}")).collect();
            text += &self.paragraph(6, DIM, &format!("seen most in {}", named.join(" ")));
        }
        if let Some(change) = &finding.change {
            text += &self.paragraph(4, Style::new(), &format!("Change: {change}"));
        }
        text
    }

    /// The what-if table and what its numbers do not say.
    pub fn what_if(&self, report: &Report) -> String {
        let mut text = String::new();
        if !report.what_if.is_empty() {
            text += &self.what_if_table(&report.what_if);
        }
        for caveat in report.what_if_caveats.iter().filter(|_| report.summary.connections > 0) {
            text += &self.paragraph(2, DIM, caveat);
        }
        text
    }

    /// On a narrow terminal without the columns that say least.
    fn what_if_table(&self, rows: &[WhatIf]) -> String {
        let wide = self.width() >= WHAT_IF_COLUMNS;
        let line = |[name, ceiling, used, p50, p99, max]: [&str; 6]| {
            if wide {
                format!("  {name:24}{ceiling:>10}{used:>13}{p50:>10}{p99:>10}{max:>10}")
            } else {
                format!("  {name:24}{ceiling:>10}{p99:>10}{max:>10}")
            }
        };
        let p99 = if wide { "p99" } else { "wait p99" };
        let mut text = self.paint(DIM, &line(["", "ceiling", "used", "wait p50", p99, "max"]));
        text.push('\n');
        for row in rows {
            let wait = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| Nanos(ns).to_string());
            let ceiling =
                row.ceiling_per_s.map_or_else(|| "-".to_owned(), |per_s| format!("{}/s", rate(per_s)));
            let used = row.utilisation.map_or_else(|| "-".to_owned(), |used| Share(used).to_string());
            let waits = [row.wait_p50_ns, row.wait_p99_ns, row.wait_max_ns].map(wait);
            let [p50, p99, max] = &waits;
            text += &self.own(&line([scenario(row.scenario), &ceiling, &used, p50, p99, max]));
            text.push('\n');
        }
        text
    }
}
