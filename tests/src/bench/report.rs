//! The results as text (Markdown, for `docs/performance.md`) and as JSON.

use std::fmt::Write as _;
use std::fs;

use serde::Serialize;
use serde_json::{Value, json};

use super::goals::{Goal, interval};
use super::own::Own;
use super::ratios::Ratios;
use super::rows::Row;
use super::screen::Screen;
use super::tools::Tool;

/// Everything that was measured.
#[derive(Debug)]
pub struct Results {
    /// The table of ratios, where it was asked for.
    pub ratios: Option<Ratios>,
    /// The rows of it.
    pub rows: Vec<Row>,
    /// The rest.
    pub own: Option<Own>,
    /// Goals.
    pub goals: Vec<Goal>,
    /// Only tried out: fewer rounds, less work.
    pub quick: bool,
}

/// Where and when.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Day, UTC.
    pub date: String,
    /// Kernel.
    pub kernel: String,
    /// Processor.
    pub cpu: String,
    /// How many.
    pub cores: usize,
    /// Processes that wanted a CPU, on average over the last minute, when it began.
    pub load: String,
    /// Version of the server.
    pub server: String,
}

impl Machine {
    /// This one, now.
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map(|(_, name)| name.trim());
        let version = std::process::Command::new("mariadbd").arg("--version").output();
        let version =
            version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        Self {
            date: wrapwatch::host::clock::pair()
                .wall(wrapwatch::host::clock::now())
                .0
                .strftime("%F %H:%M UTC")
                .to_string(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu.unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            server: version
                .split_whitespace()
                .skip_while(|word| *word != "Ver")
                .nth(1)
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

/// Rates from so many digits on are whole numbers.
fn rate(per_s: f64) -> String {
    if per_s >= 1e6 { format!("{:.2} M", per_s / 1e6) } else { format!("{per_s:.0}") }
}

impl Results {
    /// As Markdown.
    pub fn text(&self, machine: &Machine) -> String {
        let mut text = String::new();
        let quick = if self.quick { ", only tried out (--quick)" } else { "" };
        let _ = writeln!(
            text,
            "{}{quick}: {} cores of {}, Linux {}, MariaDB {}, load {} at the beginning.\n",
            machine.date, machine.cores, machine.cpu, machine.kernel, machine.server, machine.load
        );
        if let Some(ratios) = &self.ratios {
            self.table(ratios, &mut text);
        }
        if let Some(own) = &self.own {
            numbers(own, &mut text);
        }
        let _ = writeln!(text, "| goal | wanted | measured | met |\n|---|---|---|---|");
        for goal in &self.goals {
            let met = if goal.met { "yes" } else { "**no**" };
            let _ = writeln!(text, "| {} | {} | {} | {met} |", goal.about, goal.wanted, goal.measured);
        }
        text
    }

    fn table(&self, ratios: &Ratios, text: &mut String) {
        let _ = writeln!(
            text,
            "Ratio to no tracer in the same round: median of {} rounds (bpftrace, strace, perf trace: fewer) and 95 % interval.\n",
            ratios.rounds()
        );
        let tools: Vec<Tool> = Tool::ALL.into_iter().filter(|tool| *tool != Tool::None).collect();
        let _ = write!(text, "| | none, a second |");
        for tool in &tools {
            let _ = write!(text, " {} |", tool.name());
        }
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(tools.len()));
        for &row in &self.rows {
            let base = ratios.rate(row, Tool::None).map_or_else(|| "-".to_owned(), |it| rate(it.median));
            let _ = write!(text, "| {} | {base} |", row.title());
            for &tool in &tools {
                let cell =
                    ratios.ratio(row, tool, Tool::None).map_or_else(|| "-".to_owned(), |it| interval(&it));
                let _ = write!(text, " {cell} |");
            }
            let _ = writeln!(text);
        }
        for (tool, why) in &ratios.absent {
            let _ = writeln!(text, "\n{} does not work here: {why}", tool.name());
        }
        let _ = writeln!(text);
    }

    /// As one JSON object.
    pub fn json(&self, machine: &Machine) -> Value {
        let rows: Vec<Value> =
            self.ratios.iter().flat_map(|ratios| self.rows.iter().map(|&row| of_row(ratios, row))).collect();
        json!({
            "machine": machine,
            "quick": self.quick,
            "rounds": self.ratios.as_ref().map(Ratios::rounds),
            "rows": rows,
            "own": self.own,
            "goals": self.goals,
            "goals_met": self.goals.iter().filter(|goal| goal.met).count(),
        })
    }
}

fn of_row(ratios: &Ratios, row: Row) -> Value {
    let columns: serde_json::Map<String, Value> = Tool::ALL
        .into_iter()
        .map(|tool| {
            let cell = json!({
                "per_s": ratios.rate(row, tool),
                "to_none": ratios.ratio(row, tool, Tool::None),
                "to_floor": ratios.ratio(row, tool, Tool::Floor),
                "absent": ratios.absent.get(&tool),
            });
            (tool.name().replace(' ', "_"), cell)
        })
        .collect();
    json!({ "row": row.name(), "title": row.title(), "unit": row.unit(), "columns": columns })
}

fn screen(screen: Screen) -> String {
    let lost = if screen.lost { ", and says that events were lost" } else { "" };
    format!(
        "{:.1} % of a core, {} MB; shows all but {} of {}{lost}",
        screen.cpu_share * 100.0,
        screen.rss_bytes.div_ceil(1 << 20),
        screen.missing,
        screen.connections
    )
}

fn numbers(own: &Own, text: &mut String) {
    let mb = |bytes: u64| format!("{} MB", bytes.div_ceil(1 << 20));
    let pair =
        |(ours, floor): (f64, f64)| format!("{ours:.0}, floor {floor:.0}, over it {:.0}", ours - floor);
    let more = if own.flood_lost { "" } else { " (the generator can not do more)" };
    let rows = [
        ("attach, detach", format!("{:.0} ms, {:.0} ms", own.attach_ms, own.detach_ms)),
        ("programs' run time a connection, ns", pair(own.connection_ns)),
        ("the same with two lookups, ns", pair(own.connection_dns_ns)),
        ("programs' run time an OLTP query, ns", pair(own.query_ns)),
        ("runs of programs an OLTP query", format!("{:.2}, floor {:.2}", own.query_runs.0, own.query_runs.1)),
        ("events a second without a loss, default buffer", format!("{}{more}", rate(own.flood_per_s))),
        ("CPU for a million events, a flood", format!("{:.2} s", own.cpu_s_per_million)),
        (
            "CPU for a million events, recording connections with DNS",
            format!("{:.2} s", own.cpu_s_per_million_storm),
        ),
        (
            "CPU at 100 connections/s with two lookups each",
            format!("{:.2} % of a core", own.steady_cpu_share * 100.0),
        ),
        ("resident after 1 connection", mb(own.rss_first_bytes)),
        ("resident, connections after which", format!("{}, {}", mb(own.rss_bytes), own.connections)),
        ("trace, bytes a connection with two lookups", format!("{:.0}", own.trace_bytes_per_connection)),
        ("report, connections a second", rate(own.report_per_s)),
        ("the live view at 5 000 connections/s", screen(own.screen)),
    ];
    let _ = writeln!(text, "| | |\n|---|---|");
    for (what, value) in rows {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    let _ = writeln!(text);
}
