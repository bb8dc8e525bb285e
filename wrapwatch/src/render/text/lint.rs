//! What lint found, for a terminal: the clients, then the problems, worst first.

use anstyle::Style;

use crate::model::{Nanos, RuleRef};
use crate::wrappers::lint::{ClientReport, NameSource, Otherwise, Report};
use crate::wrappers::problems::{Problem, Severity};
use crate::wrappers::{LookupKind, Verdict};

use super::base_name;
use super::{BOLD, DIM, GREEN, RED, Text, YELLOW, fit};

/// What belongs to a client or a problem is indented so far.
const INDENT: usize = 4;

impl Text {
    /// Everything lint found.
    pub fn lint(&self, report: &Report) -> String {
        let mut out = String::new();
        for client in &report.clients {
            out += &self.lint_client(client);
            out.push('\n');
        }
        if report.problems.is_empty() {
            out += "No problems found.\n";
        }
        for problem in &report.problems {
            out += &self.lint_problem(problem);
        }
        out
    }

    fn lint_client(&self, client: &ClientReport) -> String {
        let mut out = self.paint(BOLD, &self.outside(&client.client, 45));
        let from = match client.name_from {
            Some(NameSource::Hosts) => " in /etc/hosts",
            Some(NameSource::Given) => " by DNS",
            None => "",
        };
        if let Some(name) = &client.name {
            out += &format!(" ({}{from})", self.outside(name, 40));
        }
        out += &format!(": {}\n", self.verdict(client.verdict));
        let by = match &client.verdict_rule {
            Some(rule) => format!("by {}", self.rule(rule)),
            None => "no rule matches".to_owned(),
        };
        out += &self.lint_paragraph(&by, Style::new());
        if let Some(reason) = &client.reason {
            out += &self.lint_paragraph(&self.outside(reason, usize::MAX), YELLOW);
        }
        out += &self.cost(client);
        if !client.commands.is_empty() {
            let commands =
                client.commands.iter().map(|command| self.outside(command, 60)).collect::<Vec<_>>();
            out += &self.lint_paragraph(&format!("runs {}", commands.join("; ")), Style::new());
        }
        for otherwise in &client.otherwise {
            out += &self.lint_paragraph(&self.otherwise(otherwise), YELLOW);
        }
        out
    }

    fn cost(&self, client: &ClientReport) -> String {
        if client.lookups.is_empty() {
            return self.lint_paragraph("no lookups", DIM);
        }
        let kinds: Vec<&str> = client
            .lookups
            .iter()
            .map(|kind| match kind {
                LookupKind::Reverse => "reverse",
                LookupKind::Forward => "forward",
                LookupKind::Ident => "ident",
                LookupKind::Netgroup => "netgroup",
            })
            .collect();
        let mut out = format!("lookups: {}", kinds.join(", "));
        if let Some(rule) = &client.lookup_rule {
            out += &format!(", forced by {}", self.rule(rule));
        }
        let mut out = self.lint_paragraph(&out, Style::new());
        let worst = match (client.worst_case_ns, client.first_silent_ns) {
            (Some(0), _) => "answered from files: no waiting".to_owned(),
            (Some(all), Some(first)) => {
                format!(
                    "holds the accept thread up to {}; {} with the first nameserver silent",
                    Nanos(all),
                    Nanos(first)
                )
            }
            (Some(all), None) => format!("holds the accept thread up to {}", Nanos(all)),
            (None, _) => "holds the accept thread without any bound".to_owned(),
        };
        out += &self
            .lint_paragraph(&self.own(&worst), if client.worst_case_ns == Some(0) { DIM } else { YELLOW });
        out
    }

    fn otherwise(&self, otherwise: &Otherwise) -> String {
        let verdict = match otherwise.verdict {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        };
        let rule = match &otherwise.verdict_rule {
            Some(rule) => format!(" by {}:{}", self.outside(base_name(&rule.file), 40), rule.line),
            None => " by no rule".to_owned(),
        };
        match otherwise.when.as_str() {
            "dns_fails" => format!("{verdict}{rule} when DNS fails"),
            "mismatch" => format!("{verdict}{rule} when its name does not lead back to it"),
            pattern => format!("{verdict}{rule} if DNS names it like {}", self.outside(pattern, 60)),
        }
    }

    fn verdict(&self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Allow => self.paint(GREEN, "allow"),
            Verdict::Deny => self.paint(RED, "deny"),
        }
    }

    fn rule(&self, rule: &RuleRef) -> String {
        let text =
            rule.text.as_ref().map_or(String::new(), |text| format!("  {}", self.outside(text.trim(), 200)));
        format!("{}:{}{text}", self.outside(base_name(&rule.file), 40), rule.line)
    }

    fn lint_problem(&self, problem: &Problem) -> String {
        let (severity, style) = match problem.severity {
            Severity::Critical => ("critical", RED | BOLD.get_effects()),
            Severity::Warning => ("warning", YELLOW),
            Severity::Info => ("info", DIM),
        };
        // The name users select problems by is the one in JSON.
        let kind = serde_json::to_value(problem.kind).ok();
        let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let file = self.outside(&problem.file, 50);
        let at = problem.line.map_or(file.clone(), |line| format!("{file}:{line}"));
        let mut out = format!("{} {at} {}\n", self.paint(style, severity), self.paint(DIM, kind));
        out += &self.lint_paragraph(&self.outside(&problem.message, usize::MAX), Style::new());
        if let Some(change) = &problem.change {
            let change = format!("{} {}", self.arrow(), self.outside(change, usize::MAX));
            out += &self.lint_paragraph(&change, Style::new());
        }
        out
    }

    fn lint_paragraph(&self, text: &str, style: Style) -> String {
        let lines = fit::wrap(text, self.width() - INDENT, 0, self.mark());
        lines.lines().map(|line| " ".repeat(INDENT) + &self.paint(style, line) + "\n").collect()
    }
}
