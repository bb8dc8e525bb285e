//! What is wanted, what was measured, and whether that is enough.

use serde::Serialize;

use super::own::Own;
use super::ratios::Ratios;
use super::rows::Row;
use super::stats::Estimate;
use super::tools::Tool;

/// A ratio's goal counts as met when its interval's lower end is at most this below it.
const TOLERANCE: f64 = 0.01;

/// Run time of the programs over the floor's, nanoseconds for each OLTP query.
const QUERY_BUDGET_NS: f64 = 120.0;
/// For each connection without lookups.
const CONNECTION_BUDGET_NS: f64 = 15_000.0;
/// For each connection with two lookups.
const CONNECTION_DNS_BUDGET_NS: f64 = 40_000.0;

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// What it is about.
    pub about: String,
    /// What is wanted: at least or at most.
    pub wanted: String,
    /// What was measured.
    pub measured: String,
    /// Whether that is enough.
    pub met: bool,
}

/// All that could be measured.
pub fn goals(ratios: Option<&Ratios>, own: Option<&Own>) -> Vec<Goal> {
    let mut goals = Vec::new();
    if let Some(ratios) = ratios {
        of_ratios(ratios, &mut goals);
    }
    if let Some(own) = own {
        of_own(own, &mut goals);
    }
    goals
}

fn of_ratios(ratios: &Ratios, goals: &mut Vec<Goal>) {
    let wanted = [
        (Row::Storm, Tool::Record, Tool::None, 0.96),
        (Row::StormDns, Tool::Record, Tool::None, 0.96),
        (Row::Oltp, Tool::Record, Tool::None, 0.98),
        (Row::Oltp, Tool::Live, Tool::None, 0.98),
        (Row::Storm, Tool::Live, Tool::Floor, 0.98),
        (Row::StormDns, Tool::Live, Tool::Floor, 0.98),
        (Row::Oltp, Tool::Live, Tool::Floor, 0.99),
        (Row::OtherUnhooked, Tool::Live, Tool::Floor, 1.0),
    ];
    for (row, tool, over, at_least) in wanted {
        if let Some(ratio) = ratios.ratio(row, tool, over) {
            goals.push(Goal {
                about: format!("{}: {} to {}", row.title(), tool.name(), over.name()),
                wanted: format!("at least {at_least:.2}"),
                measured: interval(&ratio),
                met: ratio.low >= at_least - TOLERANCE,
            });
        }
    }
    // Only where record ran.
    if ratios.ratio(Row::Storm, Tool::Record, Tool::None).is_some() {
        goals.push(at_most("events lost while recording", exact(ratios.lost), 0.0, ""));
    }
}

fn of_own(own: &Own, goals: &mut Vec<Goal>) {
    let over = |(ours, floor): (f64, f64)| ours - floor;
    goals.push(at_most(
        "programs' run time a query, over the floor",
        over(own.query_ns),
        QUERY_BUDGET_NS,
        "ns",
    ));
    let connection = over(own.connection_ns);
    goals.push(at_most(
        "programs' run time a connection, over the floor",
        connection,
        CONNECTION_BUDGET_NS,
        "ns",
    ));
    let with_dns = over(own.connection_dns_ns);
    goals.push(at_most("the same with two lookups", with_dns, CONNECTION_DNS_BUDGET_NS, "ns"));
    goals.push(at_most("CPU for a million events: ring, decode, correlate", own.cpu_s_per_million, 1.0, "s"));
    let rss = own.rss_bytes.max(own.rss_first_bytes).div_ceil(1 << 20);
    goals.push(at_most("resident, live", exact(rss), 32.0, "MB"));
    goals.push(at_most("CPU at 100 connections/s with two lookups", own.steady_cpu_share * 100.0, 2.0, "%"));
    goals.push(at_most("the live view at 5 000 connections/s: CPU", own.screen.cpu_share * 100.0, 10.0, "%"));
    goals.push(at_most("connections that it does not show", exact(own.screen.missing), 0.0, ""));
    goals.push(at_most("time to attach", own.attach_ms, 300.0, "ms"));
    goals.push(at_most("programs left after detaching", exact(own.programs_left as u64), 0.0, ""));
}

fn at_most(goal: &str, measured: f64, limit: f64, unit: &str) -> Goal {
    let show = |value: f64| {
        let digits = if value.fract().abs() < 1e-9 { 0 } else { 2 };
        format!("{value:.digits$} {unit}").trim_end().to_owned()
    };
    Goal {
        about: goal.to_owned(),
        wanted: format!("at most {}", show(limit)),
        measured: show(measured),
        met: measured <= limit,
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn exact(number: u64) -> f64 {
    number as f64
}

/// `0.981 [0.975, 0.988]`
pub fn interval(ratio: &Estimate) -> String {
    format!("{:.3} [{:.3}, {:.3}]", ratio.median, ratio.low, ratio.high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_met_up_to_themselves() {
        assert!(at_most("x", 2.0, 2.0, "%").met);
        let missed = at_most("x", 2.345, 2.0, "%");
        assert_eq!(
            (missed.met, missed.measured.as_str(), missed.wanted.as_str()),
            (false, "2.35 %", "at most 2 %")
        );
    }
}
