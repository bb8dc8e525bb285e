//! `cargo xtask counts`: instructions that wrapwatch takes for a record, by callgrind, and those of the kernel side's programs, against the figures in
//! `tests/instructions.toml`.
//!
//! Instructions, not times: they are the same on a crowded machine. Each figure is the difference between a few rounds and one, so that starting up does not
//! count. The tolerance leaves room for another version of a library; what goes beyond it was somebody's change. With another compiler than the figures are of, it is
//! three times as wide.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    cli,
    process::{self, cargo, run as run_command},
    setup::{self, Purpose},
    side_by_side::side_by_side,
    workspace,
};

/// The figures that stand.
const FIGURES: &str = "tests/instructions.toml";
/// Where the programs' figures begin in it, which are the last.
const PROGRAMS: &str = "[programs]\n";
/// With another compiler the tolerance is this many times as wide.
const OTHER_COMPILER: f64 = 3.0;
/// Rounds beyond the first.
const ROUNDS: u64 = 2;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    /// What a figure may differ by.
    tolerance_percent: f64,
    /// The compiler whose code was counted, as `rustc --version` tells it.
    compiler: String,
    /// Instructions a record, by what `wrapwatch-count` does.
    per_record: BTreeMap<String, u64>,
    /// Instructions of each program of the kernel side.
    programs: BTreeMap<String, u64>,
}

/// The command.
pub(crate) fn run(options: &cli::Counts) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Count])?;
    let path = workspace::root()?.join(FIGURES);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let figures: Figures = toml::from_str(&text).with_context(|| path.display().to_string())?;
    run_command(
        cargo(&[
            "build",
            "--locked",
            "--release",
            "--quiet",
            "-p",
            "wrapwatch-tests",
            "--bin",
            "wrapwatch-count",
        ])?
        .stdout(std::io::stderr()),
    )?;
    let program = workspace::target_dir()?.join("release/wrapwatch-count");
    let compiler = compiler()?;
    let tolerance = figures.tolerance(&compiler);
    let mut off = Vec::new();
    let mut now = text.replace(&figures.compiler, &compiler);
    // Instructions do not care what runs beside them.
    let counted =
        side_by_side(&figures.per_record, process::processors(), |(what, _)| per_record(&program, what))?;
    for ((what, &stands), found) in figures.per_record.iter().zip(counted) {
        let change = percent(found, stands);
        println!("{what:<12} {found:>8} instructions a record ({stands} stands, {change:+.1} %)");
        now = now.replace(&format!("{what} = {stands}\n"), &format!("{what} = {found}\n"));
        if change.abs() > tolerance {
            off.push(format!("{what} {change:+.1} %"));
        }
    }
    let sizes = sizes(&program)?;
    println!(
        "{:<12} {:>8} instructions in {} programs",
        "kernel side",
        sizes.values().sum::<u64>(),
        sizes.len()
    );
    off.extend(programs_off(&sizes, &figures.programs, tolerance));
    if options.update {
        let before = now.split_once(PROGRAMS).context("no table of programs")?.0;
        let lines: Vec<String> = sizes.iter().map(|(name, size)| format!("{name} = {size}\n")).collect();
        fs::write(&path, format!("{before}{PROGRAMS}{}", lines.concat()))?;
        return Ok(());
    }
    if !off.is_empty() {
        bail!(
            "more than {tolerance} % off the figures in {FIGURES}: {}; where that is meant: cargo xtask counts --update",
            off.join(", ")
        );
    }
    Ok(())
}

/// Instructions of each program of the kernel side, by its name.
fn sizes(program: &Path) -> Result<BTreeMap<String, u64>> {
    let output = Command::new(program).arg("programs").output().context("cannot run wrapwatch-count")?;
    ensure!(output.status.success(), "programs failed: {}", String::from_utf8_lossy(&output.stderr));
    toml::from_slice(&output.stdout).context("no list of programs")
}

/// Programs that are longer or shorter than they stand, new, or gone.
fn programs_off(found: &BTreeMap<String, u64>, stand: &BTreeMap<String, u64>, tolerance: f64) -> Vec<String> {
    let gone = stand.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("{name} is gone"));
    let moved = found.iter().filter_map(|(name, &size)| {
        let Some(&stands) = stand.get(name) else { return Some(format!("{name} is new")) };
        let change = percent(size, stands);
        (change.abs() > tolerance).then(|| format!("{name} {change:+.1} % ({stands} -> {size})"))
    });
    moved.chain(gone).collect()
}

impl Figures {
    fn tolerance(&self, compiler: &str) -> f64 {
        if compiler == self.compiler {
            self.tolerance_percent
        } else {
            self.tolerance_percent * OTHER_COMPILER
        }
    }
}

/// `rustc 1.95.0 (59807616e 2026-04-14)`.
fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("cannot run rustc")?;
    Ok(String::from_utf8(output.stdout).context("rustc --version")?.trim().to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn percent(found: u64, stands: u64) -> f64 {
    (found as f64 / stands.max(1) as f64 - 1.0) * 100.0
}

/// Instructions a record.
fn per_record(program: &Path, what: &str) -> Result<u64> {
    let (few, records) = count(program, what, 1 + ROUNDS)?;
    let (one, _) = count(program, what, 1)?;
    Ok(few.saturating_sub(one) / ROUNDS / records.max(1))
}

/// Instructions of the whole run, and the number it prints.
fn count(program: &Path, what: &str, times: u64) -> Result<(u64, u64)> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([what, &times.to_string()])
        .output()
        .context("cannot run valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what} failed: {said}");
    let instructions = collected(&said).with_context(|| format!("callgrind did not say how many: {said}"))?;
    let records = String::from_utf8_lossy(&output.stdout).trim().parse().context("no number of records")?;
    Ok((instructions, records))
}

/// Of callgrind's `==123== Collected : 5623470`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Figures, collected, percent, programs_off};

    #[test]
    fn another_compiler_may_count_otherwise() {
        let text = "tolerance_percent = 5.0\ncompiler = \"rustc 1\"\nper_record = {}\nprograms = {}\n";
        let figures: Figures = toml::from_str(text).unwrap();
        assert!(figures.tolerance("rustc 1") < 5.1 && figures.tolerance("rustc 2") > 14.9);
    }

    #[test]
    fn a_program_that_grew_is_named() {
        let sizes = |of: &[(&str, u64)]| of.iter().map(|&(name, n)| (name.to_owned(), n)).collect();
        let stand = sizes(&[("sys_enter", 84), ("sys_exit", 45), ("gone", 7)]);
        let found = sizes(&[("sys_enter", 86), ("sys_exit", 48), ("new", 7)]);
        let off = programs_off(&found, &stand, 5.0);
        assert_eq!(off, ["new is new", "sys_exit +6.7 % (45 -> 48)", "gone is gone"]);
        assert!(programs_off(&stand, &stand, 5.0).is_empty());
    }

    #[test]
    fn callgrinds_sum_is_read() {
        let said =
            "==7== Events    : Ir\n==7== Collected : 5623470\n==7== \n==7== I   refs:      5,623,470\n";
        assert_eq!(collected(said), Some(5_623_470));
        assert_eq!(collected("==7== nothing"), None);
        assert!((percent(110, 100) - 10.0).abs() < 1e-9);
    }
}
