//! `cargo xtask vm`: boots Debian's kernels in qemu and runs wrapwatch in them, for only booting a kernel tells what its verifier takes.
//!
//! The guest's files are put together here ([`guest`]); what runs in it is the crate in `tests/guest`. What it says on its second serial port is
//! held against `tests/guest/tests.toml` ([`records`]), its console is searched for trouble ([`console`]).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use self::{
    archive::Index,
    expected::Expected,
    guest::{Extra, Guest, Guests},
    kernel::Ready,
    machine::{Accelerator, Plan},
    pins::Architecture,
    record::Outcome,
    records::Judged,
    table::Column,
};
use crate::{
    cli, process,
    setup::{self, Purpose},
    side_by_side::side_by_side,
    workspace,
};

pub(crate) mod archive;
mod console;
pub(crate) mod costs;
mod expected;
mod guest;
mod initramfs;
mod instructions;
mod kernel;
mod machine;
pub(crate) mod pins;
mod privileges;
#[path = "../../../tests/guest/src/record.rs"]
mod record;
mod records;
mod table;

/// Memory of a guest.
const MEMORY_MIB: u32 = 1024;
/// Guests side by side take no more of the machine's free memory than one part in this many.
const MEMORY_SHARE: u64 = 2;
/// The longest time a guest may take: several times what it takes emulated on two cores that have other work, too.
const LIMIT: Duration = Duration::from_mins(15);
/// A guest that does not end on purpose is not waited for as long.
const ENDLESS_LIMIT: Duration = Duration::from_mins(1);
/// A test that is judged here.
const INSTRUCTIONS: &str = "verified instructions";
/// And this one.
const PRIVILEGES: &str = "privileges as documented";

/// What all boots together come to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    /// Tests passed.
    pub(crate) passed: usize,
    /// Tests failed, and findings.
    pub(crate) failed: usize,
    /// Tests skipped, as declared.
    pub(crate) skipped: usize,
}

/// The command.
pub(crate) fn run(options: &cli::Vm) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab, Purpose::Vm])?;
    if options.update_pins {
        return update_pins();
    }
    if pins::chosen(&options.kernels)?.iter().any(|kernel| kernel.architecture == Architecture::Arm64) {
        setup::ensure(&[Purpose::Arm64])?;
    }
    if options.shell {
        return shell(options);
    }
    if options.instructions {
        return costs::run(options);
    }
    if options.broken == Some(cli::Broken::All) {
        println!("{} passed, 0 failed, 0 skipped", can_fail(options.debug)?);
        return Ok(());
    }
    let sum = boot_all(options)?;
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    if sum.failed > 0 || sum.passed == 0 {
        bail!("consoles and records are in {}", results_dir()?.display());
    }
    Ok(())
}

/// Boots the kernels asked for, prints the table, and gives the sum. A kernel that cannot be booted has its column, too: the others say what they
/// have to say.
pub(crate) fn boot_all(options: &cli::Vm) -> Result<Sum> {
    let expected = Expected::read()?;
    let kernels = pins::chosen(&options.kernels)?;
    let dir = results_dir()?;
    let mut guests = Guests::new(options.debug);
    let mut prepared = Vec::new();
    for kernel in &kernels {
        prepared.push(prepare(kernel, guests.of(kernel.architecture)?, &expected, &dir));
    }
    let mut judged = boot_prepared(options, &prepared, &expected, &dir)?.into_iter();
    let mut columns = Vec::new();
    for (kernel, prepared) in kernels.iter().zip(&prepared) {
        let judged = match prepared {
            Ok(_) => judged.next().context("a boot without a judgement")?,
            Err(error) => Judged::without_boot(error),
        };
        columns.push(Column { head: kernel.series.clone(), judged });
    }
    judge_instructions(&mut columns, options.update)?;
    judge_privileges(&mut columns, options.update)?;
    let tests: Vec<&str> = expected.all().chain([INSTRUCTIONS, PRIVILEGES]).collect();
    println!("\n{}", table::table(&columns, &tests));
    let count = |outcome| columns.iter().map(|column| column.judged.count(outcome)).sum();
    Ok(Sum { passed: count(Outcome::Pass), failed: count(Outcome::Fail), skipped: count(Outcome::Skip) })
}

/// A kernel and what it starts with.
fn prepare(
    kernel: &pins::Kernel,
    guest: &Guest,
    expected: &Expected,
    dir: &Path,
) -> Result<(Ready, PathBuf)> {
    let ready = kernel::ready(kernel)?;
    if let Some(moved) = &ready.moved {
        eprintln!("note: {moved}");
    }
    let initramfs = guest.initramfs(&ready, expected.extra(&ready.series), dir)?;
    Ok((ready, initramfs))
}

/// Boots what could be prepared; judgements in order.
fn boot_prepared(
    options: &cli::Vm,
    prepared: &[Result<(Ready, PathBuf)>],
    expected: &Expected,
    dir: &Path,
) -> Result<Vec<Judged>> {
    let mut boots = Vec::new();
    for (kernel, initramfs) in prepared.iter().flatten() {
        boots.push((kernel, initramfs.as_path(), Accelerator::find(kernel, initramfs, dir)?));
    }
    let words = options.broken.map(|broken| format!("wrapwatch.break={}", broken.word())).unwrap_or_default();
    let limit = limit(options.broken);
    side_by_side(boots, at_once(), |(kernel, initramfs, accelerator)| {
        let plan = Plan { kernel, initramfs, words: &words, memory_mib: MEMORY_MIB, limit, dir };
        Ok(boot(&plan, accelerator, expected).unwrap_or_else(|error| Judged::without_boot(&error)))
    })
}

/// Breaks a guest in each of the ways there are, and fails unless the run does, with the right reason: a run that cannot fail shows nothing.
pub(crate) fn can_fail(debug: bool) -> Result<usize> {
    let expected = Expected::read()?;
    // The oldest: offsets in sockets matter for raw tracepoints, which newer ones do not trust.
    let kernels = pins::read()?;
    let kernel = kernel::ready(kernels.first().context("no kernel to boot")?)?;
    let dir = results_dir()?.join("broken");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let initramfs = Guests::new(debug).of(kernel.architecture)?.initramfs(&kernel, Extra::default(), &dir)?;
    let accelerator = Accelerator::find(&kernel, &initramfs, &results_dir()?)?;
    side_by_side(cli::Broken::EACH, at_once(), |broken| {
        let dir = dir.join(broken.word());
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let words = format!("wrapwatch.break={}", broken.word());
        let (initramfs, limit) = (initramfs.as_path(), limit(Some(broken)));
        let plan =
            Plan { kernel: &kernel, initramfs, words: &words, memory_mib: MEMORY_MIB, limit, dir: &dir };
        let judged = records::judge(&plan.boot(accelerator)?, &expected, &kernel.series);
        let complaints = judged.complaints();
        let found = complaints.iter().find(|complaint| complaint.contains(broken.finding()));
        let found = found.with_context(|| {
            format!("{} was broken on purpose, but the run says: {complaints:?}", broken.word())
        })?;
        eprintln!("broken on purpose: {}: {found}", broken.word());
        Ok(())
    })
    .map(|all| all.len())
}

fn limit(broken: Option<cli::Broken>) -> Duration {
    if broken == Some(cli::Broken::Loop) { ENDLESS_LIMIT } else { LIMIT }
}

/// One boot, from start to judgement.
fn boot(plan: &Plan<'_>, accelerator: Accelerator, expected: &Expected) -> Result<Judged> {
    let kernel = plan.kernel;
    eprintln!("booting {} ({}), {accelerator:?}", kernel.series, kernel.version);
    let began = Instant::now();
    let boot = plan.boot(accelerator)?;
    let judged = records::judge(&boot, expected, &kernel.series);
    let failed = judged.count(Outcome::Fail);
    let word = if failed == 0 { "ok".to_owned() } else { format!("{failed} FAILED") };
    eprintln!("{} is over after {:.0} s: {word}", kernel.series, began.elapsed().as_secs_f64());
    if !judged.findings.is_empty() {
        eprintln!("the console of {} ends:\n{}", kernel.series, console::tail(&boot.console, 25));
    }
    Ok(judged)
}

/// How many guests at once: as there are processors and memory for.
fn at_once() -> usize {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free_kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let guests = free_kib.unwrap_or(0) / 1024 / MEMORY_SHARE / u64::from(MEMORY_MIB);
    process::processors().min(usize::try_from(guests).unwrap_or(1)).max(1)
}

/// Holds what the verifier went through against what is written down, or writes it down.
fn judge_instructions(columns: &mut [Column], update: bool) -> Result<()> {
    let mut written = instructions::read()?;
    for column in columns.iter_mut().filter(|column| !column.judged.programs.is_empty()) {
        let found = &column.judged.programs;
        if update {
            written.insert(column.head.clone(), found.clone());
        }
        let result = instructions::grown(&written, &column.head, found);
        column.judge(INSTRUCTIONS, result);
    }
    if update { instructions::write(&written) } else { Ok(()) }
}

/// Holds what sets of privileges gave against what is documented, or documents it.
fn judge_privileges(columns: &mut [Column], update: bool) -> Result<()> {
    let mut written = privileges::Table::read()?;
    for column in columns.iter_mut().filter(|column| !column.judged.privileges.is_empty()) {
        let found = &column.judged.privileges;
        if update {
            written.put(&column.head, found);
        }
        let result = written.compare(&column.head, found);
        column.judge(PRIVILEGES, result);
    }
    if update { written.write() } else { Ok(()) }
}

fn update_pins() -> Result<()> {
    let old = pins::read()?;
    let mut indices = BTreeMap::new();
    let mut new = Vec::new();
    for kernel in &old {
        let index = match indices.entry(kernel.architecture) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(Index::fetch(&old, kernel.architecture)?),
        };
        let newest = archive::newest(kernel, index)?;
        println!("{}: {} → {}", kernel.suite, kernel.version(), newest.version());
        new.push(newest);
    }
    println!(
        "{}",
        if pins::write(&new)? {
            "the pins have moved; now run: cargo xtask vm --update"
        } else {
            "nothing new"
        }
    );
    Ok(())
}

/// A shell in a guest, on this terminal.
fn shell(options: &cli::Vm) -> Result<()> {
    let kernels = pins::chosen(&options.kernels)?;
    // The one most likely to be asked for: the newest.
    let kernel = kernel::ready(kernels.last().context("no kernel to boot")?)?;
    let dir = results_dir()?;
    let initramfs = Guests::new(options.debug).of(kernel.architecture)?.initramfs(
        &kernel,
        Extra { mariadb: true, ..Extra::default() },
        &dir,
    )?;
    let accelerator = Accelerator::find(&kernel, &initramfs, &dir)?;
    eprintln!("{} ({}); `exit` switches off, Ctrl-A X stops at once", kernel.series, kernel.version);
    let plan = Plan {
        kernel: &kernel,
        initramfs: &initramfs,
        words: "wrapwatch.shell",
        memory_mib: MEMORY_MIB,
        limit: LIMIT,
        dir: &dir,
    };
    plan.shell(accelerator)
}

/// Where consoles and records are left.
fn results_dir() -> Result<PathBuf> {
    let dir = workspace::scratch_dir()?.join("vm");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}
