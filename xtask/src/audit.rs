//! `cargo xtask audit`: dependencies' licences and sources (`deny.toml`), and spelling (`typos.toml`).
//!
//! Not part of `cargo xtask test`: its two tools take more than five minutes to compile, and what they look at changes when a
//! dependency or a text does, not when code does. Advisories are left out: their database is fetched by git, so that
//! the outcome would depend on the day.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{cargo, display, probe, run as run_command};

const CARGO_DENY: &str = "0.20.2";
const TYPOS: &str = "1.52.0";

/// The command.
pub(crate) fn run() -> Result<()> {
    ensure("cargo-deny", CARGO_DENY, &mut cargo(&["deny", "--version"])?)?;
    ensure("typos-cli", TYPOS, &mut typos(&["--version"])?)?;
    run_command(&mut cargo(&["deny", "--locked", "check", "bans", "licenses", "sources"])?)
        .context("see deny.toml")?;
    run_command(&mut typos(&[])?).context("see typos.toml")?;
    eprintln!("nothing to object to");
    Ok(())
}

fn typos(args: &[&str]) -> Result<Command> {
    let mut command = Command::new("typos");
    command.args(args).current_dir(crate::workspace::root()?);
    Ok(command)
}

/// Any version will do; where there is none, a fixed one is installed.
pub(crate) fn ensure(package: &str, version: &str, probe_command: &mut Command) -> Result<()> {
    if probe(probe_command).is_some() {
        return Ok(());
    }
    let mut command = cargo(&["install", "--locked", package, "--version", version])?;
    eprintln!("{package} is missing; a few minutes of\n$ {}", display(&command));
    run_command(&mut command)
}
