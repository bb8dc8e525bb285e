//! A report as one page: no script, no network, light and dark, fit for printing. maud escapes everything that enters the page, and what a terminal
//! could act upon (control characters, bidirectional overrides) is written out in the whole page; its own policy forbids it to load or run anything.

mod charts;
mod slowest;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::context::QueuePoint;
use crate::diagnose::{Report, Waits, Waterfall};
use crate::model::{ClockPair, Finding, Severity};
use crate::render::text::{escape, fit::unbroken, period};
use crate::trace::Origin;

/// The style sheet.
const STYLE: &str = include_str!("style.css");

/// What a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The report.
    pub report: &'a Report,
    /// Waits over time.
    pub waits: &'a Waits,
    /// The longest check and the queue behind it.
    pub waterfall: &'a Waterfall,
    /// Length of the fullest accept queue over time.
    pub queue: &'a [QueuePoint],
    /// For times.
    pub clock: ClockPair,
}

/// Text with what stands between backticks as code.
fn prose(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 0 { (unbroken(part)) } @else { code { (part) } }
        }
    }
}

/// A page as a terminal may have it that shows its source: maud has seen to markup, this sees to control characters and bidirectional overrides.
fn printable(html: &str) -> String {
    html.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

impl Page<'_> {
    /// The page.
    pub fn html(&self) -> String {
        printable(&self.markup().into_string())
    }

    fn markup(&self) -> Markup {
        let report = self.report;
        let title = format!("wrapwatch report: {}", report.trace.file_name);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (title) }
                    (self.about())
                    p.verdict { (prose(&report.verdict)) }
                    @for damage in &report.trace.damage {
                        p.damage { "Damage: " (damage) }
                    }
                    @if !report.findings.is_empty() {
                        h2 { "Findings" }
                        @for found in &report.findings { (finding(found)) }
                    }
                    (self.what_if())
                    (self.waits_over_time())
                    (self.queue_behind())
                    (self.slowest())
                    (self.nameservers())
                    (self.numbers())
                    footer { "wrapwatch " (env!("CARGO_PKG_VERSION")) }
                }
            }
        }
    }

    fn about(&self) -> Markup {
        let trace = &self.report.trace;
        let head = &trace.head;
        let mut said: Vec<String> = Vec::new();
        for target in head.targets.iter().take(4) {
            let name = if target.comm.is_empty() { "server" } else { &target.comm };
            let mut text = format!("{name} (pid {})", target.pid);
            if let Some(listener) = target.listeners.first() {
                text += &format!(" on {}", listener.address);
            }
            said.push(text);
        }
        if !head.hostname.is_empty() {
            said.push(format!("host {}", head.hostname));
        }
        if !head.kernel.is_empty() {
            said.push(format!("Linux {}", head.kernel));
        }
        if let (Some(from), Some(to)) = (self.report.summary.from, trace.to) {
            said.push(period(from, to));
        }
        if head.origin == Origin::Strace {
            said.push("from a log of strace".to_owned());
        }
        if head.redacted {
            said.push("names and addresses are pseudonyms".to_owned());
        }
        html! { p.about { (said.join(" · ")) } }
    }
}

fn finding(finding: &Finding) -> Markup {
    let class = match finding.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let evidence = &finding.evidence;
    html! {
        section class={ "finding " (class) } {
            p { span.badge { (class) } span.id.mono { (finding.id.name()) } }
            p.message { (prose(&finding.message)) }
            @if !evidence.facts.is_empty() || !evidence.connections.is_empty() {
                ul {
                    @for fact in &evidence.facts { li { (prose(fact)) } }
                    @if !evidence.connections.is_empty() {
                        li { "seen most in" @for conn in &evidence.connections { " #" (conn) } }
                    }
                }
            }
            @if let Some(change) = &finding.change {
                p.change { b { "Change:" } " " (prose(change)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let prose = |text: &str| prose(text).into_string();
        assert_eq!(prose("<script>&\""), "&lt;script&gt;&amp;&quot;");
        assert_eq!(prose("put `<b>` in"), "put <code>&lt;b&gt;</code> in");
        assert_eq!(prose("83 % of it"), "83\u{a0}% of it");
        // Unbalanced, as a hostile name could make it: still text.
        assert_eq!(prose("a ` <i>"), "a <code> &lt;i&gt;</code>");
    }

    #[test]
    fn nothing_from_outside_acts_upon_a_terminal() {
        assert_eq!(printable("<p>a\u{202e}b\0\n</p>"), "<p>a\\u{202e}b\\x00\n</p>");
    }
}
