//! The verdict of a report: a paragraph that a tired person understands. What it was, how much the server could have taken, what to do first.

use crate::model::{Finding, FindingId, Scenario, Severity, Summary, WhatIf};

/// The paragraph.
pub(super) fn headline(summary: &Summary, findings: &[Finding], what_if: &[WhatIf]) -> String {
    let mut text = summary.verdict.clone();
    let ceiling =
        |scenario| what_if.iter().find(|row| row.scenario == scenario).and_then(|row| row.ceiling_per_s);
    if let Some(was) = ceiling(Scenario::AsItWas).filter(|_| summary.wrapper.count > 0) {
        text += &format!(" The accept thread can check {} connections a second as it is", rate(was));
        if let Some(hosts) = ceiling(Scenario::ClientsInHosts).filter(|hosts| *hosts > was * 1.5) {
            text += &format!(", {} without DNS", rate(hosts));
        }
        text.push('.');
    }
    if let Some(first) = first_to_do(findings) {
        text += &format!(" First thing to do: {first}");
    }
    text
}

/// What helps most at once: a cause that can be cured with an edit comes before its consequences.
fn first_to_do(findings: &[Finding]) -> Option<&str> {
    use FindingId::{
        BlockingSpawn, DnsInAcceptPath, FirstNameserverDead, IdentRule, NamesBeforeAddresses,
        NameserverRefusing, NameserverSilent, NameserverSlow, ServerOwnLookups, Twist, VerdictFlipped,
    };
    let order = [
        Twist,
        FirstNameserverDead,
        NamesBeforeAddresses,
        BlockingSpawn,
        IdentRule,
        VerdictFlipped,
        NameserverSilent,
        DnsInAcceptPath,
        NameserverSlow,
        NameserverRefusing,
        ServerOwnLookups,
    ];
    let severe = |severity| {
        order
            .iter()
            .find_map(move |id| findings.iter().find(|found| found.id == *id && found.severity >= severity))
    };
    let first = severe(Severity::Critical).or_else(|| severe(Severity::Warning))?;
    // An order of rules cures more than a better nameserver; a dead one concerns everything on the machine.
    let order_of_rules = findings.iter().find(|found| {
        found.id == NamesBeforeAddresses
            && found.severity >= Severity::Warning
            && !matches!(first.id, Twist | FirstNameserverDead)
    });
    order_of_rules.unwrap_or(first).change.as_deref()
}

/// `1.7`, `42`, `10 000`: no more digits than mean something.
pub fn rate(per_s: f64) -> String {
    let digits = match per_s {
        per_s if per_s < 10.0 => 1,
        per_s if per_s < 1000.0 => 0,
        per_s => {
            let step = if per_s < 10_000.0 { 100.0 } else { 1000.0 };
            return format!("{:.0}", (per_s / step).round() * step);
        }
    };
    format!("{per_s:.digits$}")
}
