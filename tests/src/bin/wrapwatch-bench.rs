//! What wrapwatch costs; `cargo xtask bench` builds and runs this.
//!
//! `wrapwatch-bench [--quick] [--only ROW]... [--own] [--json]`; `wrapwatch-bench --soak SECONDS` runs recorder and `publish` for so long, and fails where either does not do
//! what it promises.

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use wrapwatch_tests::bench::{self, Options, Row, generator, soak::Soak};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut options = Options::default();
    let mut json = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            generator::ARGUMENT => return generator::main(),
            "--soak" => return soak(&args.next().unwrap_or_default()),
            "--quick" => options.quick = true,
            "--own" => options.own = true,
            "--json" => json = true,
            "--only" => options.only.push(row(&args.next().unwrap_or_default())?),
            other => bail!("unknown argument {other}"),
        }
    }
    let (results, machine) = bench::measure(&options)?;
    if json {
        writeln!(stdout(), "{}", serde_json::to_string(&results.json(&machine))?)?;
    } else {
        stdout().write_all(results.text(&machine).as_bytes())?;
    }
    Ok(())
}

fn soak(seconds: &str) -> Result<()> {
    let soak = Soak::run(seconds.parse().context("--soak SECONDS")?)?;
    writeln!(stdout(), "{}", serde_json::to_string_pretty(&soak)?)?;
    let wrong = soak.wrong();
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

fn row(name: &str) -> Result<Row> {
    let names: Vec<&str> = Row::ALL.iter().map(|row| row.name()).collect();
    let found = Row::ALL.into_iter().find(|row| row.name() == name);
    found.with_context(|| format!("no row {name}; there are: {}", names.join(", ")))
}
