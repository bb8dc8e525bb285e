//! Whether wrapwatch tells the truth of real daemons; `cargo xtask daemons` builds and runs this.
//!
//! `wrapwatch-daemons [--json] [--no-uprobes] [NAME]...`; the status is 0 where each is as its file expects. `wrapwatch-daemons --cost NAME`: what tracing it costs.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use wrapwatch_tests::daemons::{self, Daemon, Row, Standing};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("daemons: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all are as expected.
fn run() -> Result<bool> {
    let (options, names): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with('-'));
    let has = |option: &str| options.iter().any(|given| given == option);
    let (json, uprobes) = (has("--json"), !has("--no-uprobes"));
    let known = |option: &String| ["--json", "--no-uprobes", "--cost"].contains(&option.as_str());
    ensure!(options.iter().all(known), "unknown options: {options:?}");
    let all = daemons::all()?;
    let unknown: Vec<_> =
        names.iter().filter(|name| all.iter().all(|daemon| daemon.name != **name)).collect();
    ensure!(unknown.is_empty(), "no such daemons: {unknown:?}");
    let chosen = all.iter().filter(|daemon| names.is_empty() || names.contains(&daemon.name));
    if has("--cost") {
        for (daemon, processes) in chosen.flat_map(|daemon| IDLE.map(|processes| (daemon, processes))) {
            writeln!(stdout(), "{}", daemons::cost::measure(daemon, processes)?)?;
        }
        return Ok(true);
    }
    let rows: Vec<Row> = chosen.map(|daemon| row(daemon, json, uprobes)).collect::<Result<_>>()?;
    let count = |standing| rows.iter().filter(|row| row.standing == standing).count();
    let each = [Standing::Right, Standing::Honest, Standing::Wrong, Standing::Failed];
    let each = each.map(|standing| format!("{} {}", count(standing), standing.word()));
    let unexpected = rows.iter().filter(|row| row.unexpected.is_some()).count();
    eprintln!("{}; not as expected: {unexpected}", each.join(", "));
    Ok(unexpected == 0)
}

/// Idle processes beside which the cost is measured.
const IDLE: [usize; 2] = [0, 2_000];

/// Runs one and prints what came of it.
fn row(daemon: &Daemon, json: bool, uprobes: bool) -> Result<Row> {
    let row = daemons::run(daemon, uprobes);
    let mut out = stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&row)?)?;
    } else {
        writeln!(out, "{:<18} {:<12} {}", row.daemon, row.standing.word(), daemon.about)?;
        if let Some(unexpected) = &row.unexpected {
            writeln!(out, "    NOT AS EXPECTED: {unexpected}")?;
        }
        for known in &row.known_wrong {
            writeln!(out, "    known: {known}")?;
        }
        for why in &row.why {
            writeln!(out, "    {why}")?;
        }
    }
    Ok(out.flush().map(|()| row)?)
}
