//! `cargo xtask setup`: brings what is missing and touches nothing when all is there.
//!
//! Packages come from whatever sources the machine's own apt, cargo and rustup are configured with.

use anyhow::{Context as _, Result, bail};

use crate::{
    cli,
    process::{display, run as run_command},
    setup::{
        apt::Apt,
        items::{Item, Remedy, State},
    },
};

mod apt;
mod items;
pub(crate) mod room;

pub(crate) use items::{APPARMOR_PARSER, parts_directory};

/// What a machine is to be made able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `cargo build`.
    Build,
    /// Formatting and clippy, of both sides.
    Lint,
    /// The real libwrap, which wrapwatch's reading of the tables is compared with.
    Compare,
    /// The lab: end-to-end tests and the demo.
    Lab,
    /// Virtual machines.
    Vm,
    /// `cargo xtask arm64` and guests of that kind, which bring what they need by themselves.
    Arm64,
    /// Counting instructions.
    Count,
    /// `cargo xtask bench`, which brings what it needs by itself.
    Bench,
}

/// All that the tests need.
pub(crate) const EVERYTHING: &[Purpose] =
    &[Purpose::Build, Purpose::Lint, Purpose::Compare, Purpose::Lab, Purpose::Vm];

/// The command.
pub(crate) fn run(options: &cli::Setup) -> Result<()> {
    let missing = look(EVERYTHING, true);
    if missing.is_empty() {
        eprintln!("nothing to do");
        return Ok(());
    }
    install(&missing, options.dry_run)
}

/// Installs what these purposes need; prints nothing when it is all there.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<()> {
    let missing = look(purposes, false);
    if missing.is_empty() { Ok(()) } else { install(&missing, false) }
}

/// What is missing for these purposes, said line by line.
fn look(purposes: &[Purpose], say_present: bool) -> Vec<Item> {
    let mut missing = Vec::new();
    for item in items::all() {
        if !purposes.contains(&item.purpose) {
            continue;
        }
        match item.state() {
            State::Present(detail) => {
                if say_present {
                    eprintln!("present  {}{}", item.name, in_brackets(&detail));
                }
            }
            State::Missing(detail) => {
                eprintln!("missing  {}{}", item.name, in_brackets(&detail));
                missing.push(item);
            }
        }
    }
    missing
}

fn in_brackets(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

/// Says everything that will be done, does it, and looks again.
fn install(missing: &[Item], dry_run: bool) -> Result<()> {
    let mut apt = Apt::new();
    let mut commands = Vec::new();
    for item in missing {
        match &item.remedy {
            Remedy::Packages { names, or } => {
                if let Err(reason) = apt.want(names, dry_run) {
                    eprintln!("         no package for {}: {reason}", item.name);
                    match or {
                        Some(command) => commands.push(command()),
                        None => bail!("install {} by your system's means ({})", item.name, names.join(", ")),
                    }
                }
            }
            Remedy::Run(command) => commands.push(command()),
        }
    }

    eprintln!("\nto be done:");
    if dry_run && !apt.unknown.is_empty() {
        eprintln!("  renewing apt's lists, which do not have: {}", apt.unknown.join(" "));
    }
    let packages = apt.install_command();
    for command in packages.iter().chain(&commands) {
        eprintln!("  {}", display(command));
    }
    if dry_run {
        return Ok(());
    }
    apt.install().with_context(|| advice(missing))?;
    for command in &mut commands {
        eprintln!("\n$ {}", display(command));
        run_command(command).with_context(|| advice(missing))?;
    }
    look_again(missing)
}

/// The head line of a failure.
fn advice(missing: &[Item]) -> String {
    let names = missing.iter().map(|item| item.name).collect::<Vec<_>>().join(", ");
    let other_way = missing.iter().any(|item| item.purpose == Purpose::Build);
    let other_way = if other_way { format!("; {}", items::OTHER_WAY) } else { String::new() };
    format!("set-up is not complete (wanted: {names}{other_way})")
}

fn look_again(were_missing: &[Item]) -> Result<()> {
    let mut still = Vec::new();
    for item in were_missing {
        match item.state() {
            State::Present(detail) => eprintln!("now there  {}{}", item.name, in_brackets(&detail)),
            State::Missing(detail) => still.push(format!("{}{}", item.name, in_brackets(&detail))),
        }
    }
    if !still.is_empty() {
        bail!("{}; still missing: {}", advice(were_missing), still.join("; "));
    }
    Ok(())
}
