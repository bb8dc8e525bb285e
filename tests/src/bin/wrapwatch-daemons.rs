//! Whether wrapwatch tells the truth of real daemons; `cargo xtask daemons` builds and runs this.
//!
//! `wrapwatch-daemons [--json] [--right] [NAME]...`; with `--right` saying that it cannot tell is not enough.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use wrapwatch_tests::daemons::{self, Daemon, Row};

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

/// Whether all are right or say that they are not.
fn run() -> Result<bool> {
    let (options, names): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with('-'));
    let has = |wanted: &str| options.iter().any(|option| option == wanted);
    let known = |option: &String| ["--json", "--right"].contains(&option.as_str());
    ensure!(options.iter().all(known), "unknown options: {options:?}");
    let all = daemons::all()?;
    let unknown: Vec<_> =
        names.iter().filter(|name| all.iter().all(|daemon| daemon.name != **name)).collect();
    ensure!(unknown.is_empty(), "no such daemons: {unknown:?}");
    let chosen = all.iter().filter(|daemon| names.is_empty() || names.contains(&daemon.name));
    let rows: Vec<Row> = chosen.map(|daemon| row(daemon, has("--json"))).collect::<Result<_>>()?;
    let count = |is: fn(&Row) -> bool| rows.iter().filter(|row| is(row)).count();
    let (right, honest) = (count(|row| row.ok), count(|row| row.honest));
    eprintln!("{right} right, {honest} say that they cannot tell, {} wrong", rows.len() - right - honest);
    Ok(right + if has("--right") { 0 } else { honest } == rows.len())
}

/// Runs one and prints what came of it. A daemon that cannot be run is not right.
fn row(daemon: &Daemon, json: bool) -> Result<Row> {
    let row = daemons::run(daemon).unwrap_or_else(|error| Row {
        daemon: daemon.name.clone(),
        ok: false,
        honest: false,
        wanted: serde_json::Value::Null,
        told: serde_json::Value::Null,
        why: vec![format!("it could not be run: {error:#}")],
    });
    let mut out = stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&row)?)?;
    } else {
        let word = if row.ok {
            "right"
        } else if row.honest {
            "cannot tell"
        } else {
            "WRONG"
        };
        writeln!(out, "{:<18} {word:<12} {}", row.daemon, daemon.about)?;
        for why in &row.why {
            writeln!(out, "    {why}")?;
        }
    }
    Ok(out.flush().map(|()| row)?)
}
