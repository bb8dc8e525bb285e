//! One test by its name, in any tree: what a mutant is tried with.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use super::{libtest::Tally, run_tests_as_root};
use crate::{
    process::{cargo, run as run_command},
    workspace,
};

/// One test of one test program, for mutants.
pub(crate) struct Single<'a> {
    /// Top of the tree it is compiled from.
    pub(crate) tree: &'a Path,
    /// Cargo's target directory.
    pub(crate) target_dir: &'a Path,
    /// The package it is in.
    pub(crate) package: &'a str,
    /// `lib`, or the name of a file of end-to-end or integration tests.
    pub(crate) target: &'a str,
    /// Its whole name.
    pub(crate) test: &'a str,
}

impl Single<'_> {
    /// Whether it needs the lab.
    pub(crate) fn needs_lab(&self) -> bool {
        self.package == "wrapwatch-tests" && self.target != "lib"
    }

    /// Compiles it and what it runs.
    pub(crate) fn build(&self) -> Result<()> {
        if self.needs_lab() {
            let mut build = self.cargo(&[
                "build",
                "-p",
                "wrapwatch",
                "-p",
                "wrapwatch-tests",
                "-p",
                "wrapwatch-preload",
            ])?;
            run_command(&mut build)?;
        }
        run_command(self.test()?.arg("--no-run"))
    }

    /// Runs it, and says whether it passed. One that hangs did not.
    pub(crate) fn passes(&self) -> Result<bool> {
        let mut command = self.test()?;
        if self.needs_lab() {
            run_tests_as_root(&mut command, &workspace::artefacts(&self.target_dir.join("debug")))?;
        }
        let mut tally = Tally { quiet: true, ..Tally::default() };
        let outcome = tally.run(command.args(["--", "--exact", self.test]));
        match (tally.passed, tally.failed) {
            (1, 0) => Ok(true),
            (0, 1) => Ok(false),
            (passed, failed) => {
                bail!("not one test {}, but {passed} passed, {failed} failed: {outcome:?}", self.test)
            }
        }
    }

    fn test(&self) -> Result<Command> {
        let target: &[&str] = if self.target == "lib" { &["--lib"] } else { &["--test", self.target] };
        self.cargo(&[&["test", "--package", self.package], target].concat())
    }

    fn cargo(&self, args: &[&str]) -> Result<Command> {
        cargo_in(self.tree, self.target_dir, args)
    }
}

/// Cargo in a copy of the tree that may be broken, under a time limit.
pub(crate) fn cargo_in(tree: &Path, target_dir: &Path, args: &[&str]) -> Result<Command> {
    let cargo = cargo(args)?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", LIMIT]).arg(cargo.get_program()).args(cargo.get_args());
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .current_dir(tree)
        .stdin(Stdio::null())
        .env("CARGO_TARGET_DIR", target_dir)
        // One file differs from the last build.
        .env("CARGO_INCREMENTAL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        // A mutant may leave things unused; that is neither news nor a reason to fail.
        .env("RUSTFLAGS", "--cap-lints=allow")
        .env("CARGO_TERM_QUIET", "true");
    Ok(command)
}

/// Seconds for compiling, or for one test; the first mutant compiles all dependencies.
const LIMIT: &str = "600";
