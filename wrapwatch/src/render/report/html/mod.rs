//! A report as one page: no script, no network, light and dark, fit for printing. Everything from the trace is escaped where it enters the page, first as for a
//! terminal (control characters, bidirectional overrides), then for HTML; the page's own policy forbids it to load or run anything.

mod charts;
mod slowest;
mod tables;

use crate::context::QueuePoint;
use crate::diagnose::{Report, Waits, Waterfall};
use crate::model::{ClockPair, Finding, Severity};
use crate::render::text::{fit::unbroken, period};
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

/// Text from outside, safe between tags and in quoted attributes.
pub(super) fn esc(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in crate::render::text::escape(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// As [`esc`], with what stands between backticks as code.
pub(super) fn prose(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 0 {
            html += &esc(&unbroken(part));
        } else {
            html += &format!("<code>{}</code>", esc(part));
        }
    }
    html
}

impl Page<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let report = self.report;
        let title = format!("wrapwatch report: {}", esc(&report.trace.file_name));
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        html += &self.about();
        html += &format!("<p class=\"verdict\">{}</p>\n", prose(&report.verdict));
        for damage in &report.trace.damage {
            html += &format!("<p class=\"damage\">Damage: {}</p>\n", esc(damage));
        }
        if !report.findings.is_empty() {
            html += "<h2>Findings</h2>\n";
            report.findings.iter().for_each(|found| html += &finding(found));
        }
        html += &self.what_if();
        html += &self.waits_over_time();
        html += &self.queue_behind();
        html += &self.slowest();
        html += &self.nameservers();
        html += &self.numbers();
        html += &format!("<footer>wrapwatch {}</footer>\n</body>\n</html>\n", esc(env!("CARGO_PKG_VERSION")));
        html
    }

    fn about(&self) -> String {
        let trace = &self.report.trace;
        let head = &trace.head;
        let mut said: Vec<String> = Vec::new();
        for target in head.targets.iter().take(4) {
            let name = if target.comm.is_empty() { "server" } else { &target.comm };
            let mut text = format!("{} (pid {})", esc(name), target.pid);
            if let Some(listener) = target.listeners.first() {
                text += &format!(" on {}", esc(&listener.address));
            }
            said.push(text);
        }
        if !head.hostname.is_empty() {
            said.push(format!("host {}", esc(&head.hostname)));
        }
        if !head.kernel.is_empty() {
            said.push(format!("Linux {}", esc(&head.kernel)));
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
        format!("<p class=\"about\">{}</p>\n", said.join(" · "))
    }
}

fn finding(finding: &Finding) -> String {
    let class = match finding.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let mut html = format!(
        "<section class=\"finding {class}\"><p><span class=\"badge\">{class}</span><span class=\"id mono\">{}</span></p>\n\
         <p class=\"message\">{}</p>\n",
        esc(&finding.id.name()),
        prose(&finding.message)
    );
    let mut facts: Vec<String> = finding.evidence.facts.iter().map(|fact| prose(fact)).collect();
    if !finding.evidence.connections.is_empty() {
        let named: Vec<String> = finding.evidence.connections.iter().map(|conn| format!("#{conn}")).collect();
        facts.push(format!("seen most in {}", named.join(" ")));
    }
    if !facts.is_empty() {
        html += &format!("<ul><li>{}</li></ul>\n", facts.join("</li><li>"));
    }
    if let Some(change) = &finding.change {
        html += &format!("<p class=\"change\"><b>Change:</b> {}</p>\n", prose(change));
    }
    html + "</section>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        assert_eq!(esc("<script>&\"'"), "&lt;script&gt;&amp;&quot;&#39;");
        assert_eq!(esc("a\u{202e}b\0"), "a\\u{202e}b\\x00");
        assert_eq!(prose("put `<b>` in"), "put <code>&lt;b&gt;</code> in");
        assert_eq!(prose("83 % of it"), "83\u{a0}% of it");
        // Unbalanced, as a hostile name could make it: still text.
        assert_eq!(prose("a ` <i>"), "a <code> &lt;i&gt;</code>");
    }
}
