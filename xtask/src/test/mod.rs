//! `cargo xtask test`: everything that CI runs, step after step, with a sum at the end.
//!
//! A run in which no test ran is a failure, and so is a test that was skipped without being declared in
//! `tests/skips.txt`. The last line of stdout is `N passed, N failed, N skipped`.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    cli, counts, daemons, demo, lint, mutants,
    process::{cargo, root_prefix, run as run_command},
    readme,
    setup::{self, Purpose},
    test::{libtest::Tally, skips::Skips},
    vm, workspace,
};

mod libtest;
pub(crate) mod single;
mod skips;

/// The command. Prints its own errors, since nothing may follow the sum.
pub(crate) fn run(options: &cli::Test) -> ExitCode {
    let mut run = Run::default();
    run.all(options);
    run.finish(options)
}

/// The kernel on which instructions are counted at each change; on the others, and MariaDB's, once a day.
const COUNTED: &str = "6.12";
/// The package that compares.
const DIFFERENTIAL: &str = "wrapwatch-differential";
/// The package of the lab.
const LAB: &str = "wrapwatch-tests";
/// How many of the lab's test programs run at once. Alone each uses a quarter of two processors; with four at once they are busy all the time, and what is to happen within a second
/// does not.
const AT_ONCE: usize = 3;

/// A step that is over.
struct Done {
    name: &'static str,
    duration: Duration,
    error: Option<String>,
}

#[derive(Default)]
struct Run {
    done: Vec<Done>,
    tally: Tally,
}

impl Run {
    fn all(&mut self, options: &cli::Test) {
        let purposes = match (options.fast, options.vm) {
            (true, _) => &[Purpose::Build, Purpose::Lint, Purpose::Compare][..],
            (false, false) => &[Purpose::Build, Purpose::Lint, Purpose::Compare, Purpose::Lab][..],
            (false, true) => setup::EVERYTHING,
        };
        let prepare = |_: &mut Tally| {
            if !options.fast {
                setup::room::ensure()?;
            }
            skips::clear().and_then(|()| setup::ensure(purposes))
        };
        if !self.step("set-up", prepare) {
            return;
        }
        if options.filters.is_empty() {
            for (name, lint) in lint::STEPS {
                self.step(name, |_| lint());
            }
        }
        if !self.step("build", |_| demo::build(&[])) {
            return;
        }
        if options.filters.is_empty() {
            self.step("readme", |_| readme::check());
        }
        self.step("unit tests", |tally| unit_tests(tally, options));
        if options.fast {
            self.step("unit tests of the lab", |tally| unit_tests_of_the_lab(tally, options));
            return;
        }
        self.step("end-to-end tests", |tally| end_to_end_tests(tally, options));
        if options.filters.is_empty() {
            self.step("daemons", |tally| {
                daemons::always()?;
                tally.passed = tally.passed.saturating_add(daemons::ALWAYS.len());
                Ok(())
            });
            self.step("instructions", |_| counts::run(&cli::Counts::default()));
        }
        if options.vm && options.filters.is_empty() {
            self.step("virtual machines", virtual_machines);
            self.step("instructions in a virtual machine", |tally| {
                vm::costs::run(&cli::Vm {
                    instructions: true,
                    server: Some(cli::Server::Plain),
                    kernels: vec![COUNTED.to_owned()],
                    ..cli::Vm::default()
                })?;
                tally.passed = tally.passed.saturating_add(1);
                Ok(())
            });
            self.step("virtual machines, broken on purpose", |tally| {
                tally.passed = tally.passed.saturating_add(vm::can_fail(false)?);
                Ok(())
            });
        }
        if options.filters.is_empty() {
            self.step("mutants", |_| mutants::survey(&[], options.mutants));
        }
    }

    /// Runs a step, whatever became of those before it; says whether it went well.
    fn step(&mut self, name: &'static str, step: impl FnOnce(&mut Tally) -> Result<()>) -> bool {
        eprintln!("\n# {name}");
        let failed_before = self.tally.failed;
        let start = Instant::now();
        let error = step(&mut self.tally).err().map(|error| format!("{error:#}"));
        let ok = error.is_none();
        if !ok && self.tally.failed == failed_before {
            // Not a test, but what failed has to be in the sum.
            self.tally.failed = self.tally.failed.saturating_add(1);
        }
        if let Some(error) = &error {
            eprintln!("error: {error}");
        }
        self.done.push(Done { name, duration: start.elapsed(), error });
        ok
    }

    /// Counts a failure that no test is to blame for.
    fn fail(&mut self, error: &anyhow::Error) {
        eprintln!("error: {error:#}");
        self.tally.failed = self.tally.failed.saturating_add(1);
    }

    /// Judges the skips and prints the summary.
    fn finish(mut self, options: &cli::Test) -> ExitCode {
        let all_went_well = self.done.iter().all(|step| step.error.is_none());
        let whole = all_went_well && options.filters.is_empty() && !options.fast;
        let skips = Skips::read(&self.tally).unwrap_or_else(|error| {
            self.fail(&error);
            Skips::default()
        });
        if let Err(error) = skips.judge(&self.tally, whole) {
            self.fail(&error);
        }

        println!();
        for step in &self.done {
            let outcome = if step.error.is_some() { "FAILED" } else { "ok" };
            println!("{:>7.1} s  {outcome:<6}  {}", step.duration.as_secs_f64(), step.name);
        }
        for (name, reason) in &skips.happened {
            println!("skipped: {name}: {reason}");
        }
        let skipped = skips.happened.len().saturating_add(self.tally.skipped_in_guests);
        // A test that skips itself returns, and its harness counts it as passed.
        let passed = self.tally.passed.saturating_sub(skips.by_themselves);
        let none_ran = passed == 0 && self.tally.failed == 0;
        if none_ran {
            println!("no test ran");
        }
        println!("{passed} passed, {} failed, {skipped} skipped", self.tally.failed);
        if self.tally.failed > 0 || none_ran { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Every kernel; its table has the reasons of what failed or was skipped.
fn virtual_machines(tally: &mut Tally) -> Result<()> {
    let sum = vm::boot_all(&cli::Vm::default())?;
    tally.passed = tally.passed.saturating_add(sum.passed);
    tally.failed = tally.failed.saturating_add(sum.failed);
    tally.skipped_in_guests = tally.skipped_in_guests.saturating_add(sum.skipped);
    anyhow::ensure!(sum.failed == 0, "{} tests failed in virtual machines", sum.failed);
    Ok(())
}

/// What compares wrapwatch with the real libwrap needs no root, what compares it with programs in namespaces does.
const COMPARISONS: [&str; 5] = ["--lib", "--bins", "--test=table", "--test=generated", "--test=fix"];
const COMPARISONS_AS_ROOT: [&str; 2] = ["--test=waiting", "--test=tcpdmatch"];

fn unit_tests(tally: &mut Tally, options: &cli::Test) -> Result<()> {
    let others = ["--workspace", "--exclude", LAB, "--exclude", DIFFERENTIAL];
    let own = tests(tally, options, &others, None);
    let comparisons = tests(tally, options, &[&["--package", DIFFERENTIAL][..], &COMPARISONS].concat(), None);
    own.and(comparisons)
}

fn unit_tests_of_the_lab(tally: &mut Tally, options: &cli::Test) -> Result<()> {
    tests(tally, options, &["--package", LAB, "--lib", "--bins"], None)
}

/// Most of what these do is to wait, for a nameserver that does not answer or for a kernel that lets go of programs. So several run at once; each test has
/// network namespaces and servers of its own.
fn end_to_end_tests(tally: &mut Tally, options: &cli::Test) -> Result<()> {
    daemons::packages::ensure()?;
    let environment = workspace::artefacts(&workspace::target_dir()?.join("debug"));
    let comparisons = COMPARISONS_AS_ROOT.map(|test| vec!["--package", DIFFERENTIAL, test]);
    let programs = programs_of_the_lab()?;
    let lab = programs.iter().map(|test| vec!["--package", LAB, test]);
    // All that compiling may replace is there before the first one runs.
    run_command(&mut cargo_test(&["--package", DIFFERENTIAL, "--no-run"])?)?;
    run_command(&mut cargo_test(&["--package", LAB, "--no-run"])?)?;
    let commands = lab
        .chain(comparisons)
        .map(|which| test_command(options, &which, Some(&environment)))
        .collect::<Result<_>>()?;
    tally.run_side_by_side(commands, AT_ONCE)
}

/// What `cargo test` calls the lab's test programs: each has a directory.
fn programs_of_the_lab() -> Result<Vec<String>> {
    let dir = workspace::root()?.join("tests/tests");
    let mut programs = vec!["--lib".to_owned(), "--bins".to_owned()];
    for entry in dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))? {
        programs.push(format!("--test={}", entry?.file_name().to_string_lossy()));
    }
    programs.sort();
    Ok(programs)
}

/// `cargo test` of these, as root with this environment where there is one.
fn tests(
    tally: &mut Tally,
    options: &cli::Test,
    which: &[&str],
    as_root: Option<&[(&str, PathBuf)]>,
) -> Result<()> {
    tally.run(&mut test_command(options, which, as_root)?)
}

fn test_command(options: &cli::Test, which: &[&str], as_root: Option<&[(&str, PathBuf)]>) -> Result<Command> {
    let mut command = cargo_test(which)?;
    let skips = (skips::VARIABLE, skips::file()?);
    match as_root {
        Some(environment) => {
            let mut environment = environment.to_vec();
            environment.push(skips);
            run_tests_as_root(&mut command, &environment)?;
        }
        None => drop(command.env(skips.0, skips.1)),
    }
    command.arg("--").args(&options.filters);
    Ok(command)
}

fn cargo_test(which: &[&str]) -> Result<Command> {
    cargo(&[&["test", "--locked", "--no-fail-fast"], which].concat())
}

/// Has `cargo test` run the test programs as root and with these variables. Cargo itself stays the user, and so do the
/// files that it makes.
fn run_tests_as_root(command: &mut Command, environment: &[(&str, PathBuf)]) -> Result<()> {
    let prefix = root_prefix()
        .context("the end-to-end tests need root, and there is no sudo; without root: --fast")?;
    if !prefix.is_empty() {
        // sudo forgets the environment.
        let assignments = environment.iter().map(|(name, value)| format!("{name}={}", value.display()));
        let runner: Vec<String> =
            prefix.iter().copied().chain(["env"]).map(str::to_owned).chain(assignments).collect();
        command.args(["--config", &format!("target.'cfg(all())'.runner={runner:?}")]);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(())
}
