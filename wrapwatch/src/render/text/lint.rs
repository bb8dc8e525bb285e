//! What lint found, for a terminal: the clients, then the problems, worst first.

use anstyle::Style;

use crate::linter::HostReport;
use crate::model::{Nanos, RuleRef, Severity};
use crate::wrappers::daemons::Blocking;
use crate::wrappers::lint::{ClientReport, NameSource, Otherwise, Report};
use crate::wrappers::problems::groups::{self, Group};
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
            out += &self.lint_client(client, report.blocking);
            out.push('\n');
        }
        if !report.problems.iter().any(|problem| !problem.other_daemons) {
            out += "No problems found.\n";
        }
        let (own, others): (Vec<_>, Vec<_>) =
            report.problems.iter().cloned().partition(|problem| !problem.other_daemons);
        for group in groups::groups(&own) {
            out += &self.lint_group(&group);
        }
        if !others.is_empty() {
            let heading = format!("Other daemons' rules (nothing to {}):", self.outside(&report.daemon, 40));
            out += &format!("{}{}\n", if own.is_empty() { "" } else { "\n" }, self.paint(DIM, &heading));
        }
        for group in groups::groups(&others) {
            out += &self.lint_group(&group);
        }
        if report.ignored > 0 {
            out += &format!(
                "{}\n",
                self.paint(DIM, &format!("{} ignored, as the ignore file says.", report.ignored))
            );
        }
        out
    }

    /// What a kind of problem means, for a terminal: paragraphs wrapped, files set off.
    pub fn lint_explanation(&self, text: &str) -> String {
        let mut out = String::new();
        let mut in_file = false;
        for line in text.lines() {
            if line.starts_with("```") {
                in_file = !in_file;
            } else if in_file {
                out += &format!("{}{line}\n", " ".repeat(INDENT));
            } else if let Some(heading) = line.strip_prefix("## ") {
                out += &format!("{}\n", self.paint(BOLD, heading));
            } else {
                out += &format!("{}\n", fit::wrap(line, self.width(), 0, self.mark()).trim_end());
            }
        }
        out
    }

    /// A host of many, in one line.
    pub fn lint_host(&self, host: &HostReport) -> String {
        let name = self.outside(&host.host, 40);
        if let Some(error) = &host.error {
            return format!(
                "{name}: {}\n",
                self.paint(RED, &format!("not looked at: {}", self.outside(error, 200)))
            );
        }
        let counts = [
            ("critical", host.critical),
            (if host.warning == 1 { "warning" } else { "warnings" }, host.warning),
            ("info", host.info),
            ("ignored", host.ignored),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        let Some(worst) = &host.worst else {
            let ignored =
                if host.ignored > 0 { format!(", {} ignored", host.ignored) } else { String::new() };
            return format!("{name}: no problems{ignored}\n");
        };
        let style = match worst.severity {
            Severity::Critical => RED,
            Severity::Warning => YELLOW,
            Severity::Info => DIM,
        };
        let file = self.outside(base_name(&worst.file), 40);
        let at = worst.line.map_or(file.clone(), |line| format!("{file}:{line}"));
        format!("{name}: {}; worst: {at} {}\n", counts.join(", "), self.paint(style, worst.kind.name()))
    }

    fn lint_client(&self, client: &ClientReport, blocking: Blocking) -> String {
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
        out += &self.cost(client, blocking);
        if !client.commands.is_empty() {
            let commands =
                client.commands.iter().map(|command| self.outside(command, 60)).collect::<Vec<_>>();
            out += &self.lint_paragraph(&format!("runs {}", commands.join("; ")), Style::new());
        }
        for otherwise in &client.otherwise {
            out += &self.lint_paragraph(&self.otherwise(otherwise), YELLOW);
        }
        if client.names_left_out {
            let said = "the rules have more names than wrapwatch tried: with another one the verdict may differ (give --client ADDR=NAME)";
            out += &self.lint_paragraph(said, YELLOW);
        }
        out
    }

    fn cost(&self, client: &ClientReport, blocking: Blocking) -> String {
        let mut out = if client.lookups.is_empty() {
            self.lint_paragraph("no lookups", DIM)
        } else {
            let kinds: Vec<&str> = client.lookups.iter().map(|kind| kind.name()).collect();
            let mut said = format!("lookups: {}", kinds.join(", "));
            if let Some(rule) = &client.lookup_rule {
                said += &format!(", forced by {}", self.rule(rule));
            }
            self.lint_paragraph(&said, Style::new())
        };
        if client.waits.is_empty() {
            return out;
        }
        let held = blocking.held();
        let worst = match (client.worst_case_ns, client.first_silent_ns) {
            // From files, by the machine itself, or nobody is asked at all (attempts:0).
            (Some(0), _) => "no waiting: no nameserver is asked".to_owned(),
            (Some(all), Some(first)) => {
                format!(
                    "holds {held} up to {}; {} with the first nameserver silent",
                    Nanos(all),
                    Nanos(first)
                )
            }
            (Some(all), None) => format!("holds {held} up to {}", Nanos(all)),
            (None, _) => format!("holds {held} for a time with no known limit"),
        };
        out += &self
            .lint_paragraph(&self.own(&worst), if client.worst_case_ns == Some(0) { DIM } else { YELLOW });
        for wait in client.waits.iter().filter(|wait| wait.ns != Some(0)) {
            let time = wait.ns.map_or_else(|| "no known limit".to_owned(), |ns| Nanos(ns).to_string());
            let part = format!(
                "{}: {time} ({})",
                wait.lookup.map_or("command", LookupKind::name),
                self.outside(&wait.of, 300)
            );
            out += &self.lint_paragraph(&self.own(&part), DIM);
        }
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
            "command_fails" => {
                format!("{verdict}{rule} when the command fails (ends with another status than 0)")
            }
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

    fn lint_group(&self, group: &Group<'_>) -> String {
        let problem = group.first;
        let (severity, style) = match problem.severity {
            Severity::Critical => ("critical", RED | BOLD.get_effects()),
            Severity::Warning => ("warning", YELLOW),
            Severity::Info => ("info", DIM),
        };
        let file = self.outside(&problem.file, 50);
        let at = match (problem.line, problem.column) {
            (Some(line), Some(column)) if group.count == 1 => format!("{file}:{line}:{column}"),
            (Some(line), _) if group.count == 1 => format!("{file}:{line}"),
            (Some(line), _) if group.lines.len() == 1 => format!("{file}:{line} ({} times)", group.count),
            (Some(_), _) => format!("{file} {}", groups::lines(&group.lines)),
            (None, _) => file,
        };
        let mut out =
            format!("{} {at} {}\n", self.paint(style, severity), self.paint(DIM, problem.kind.name()));
        for told in std::iter::once(problem).chain(group.others.iter().copied()) {
            let line = told.line.filter(|_| group.lines.len() > 1);
            let line = line.map_or(String::new(), |line| format!("Line {line}: "));
            let message = format!("{line}{}", self.outside(&told.message, usize::MAX));
            out += &self.lint_paragraph(&message, Style::new());
            if let Some(change) = &told.change {
                let change = format!("{} {}", self.arrow(), self.outside(change, usize::MAX));
                out += &self.lint_paragraph(&change, Style::new());
            }
        }
        if group.untold > 0 {
            let more = format!("And {} that say something else; --json has them all.", group.untold);
            out += &self.lint_paragraph(&more, DIM);
        }
        out
    }

    fn lint_paragraph(&self, text: &str, style: Style) -> String {
        let lines = fit::wrap(text, self.width() - INDENT, 0, self.mark());
        lines.lines().map(|line| " ".repeat(INDENT) + &self.paint(style, line) + "\n").collect()
    }
}
