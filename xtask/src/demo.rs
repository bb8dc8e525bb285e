//! `cargo xtask demo`: everything from nothing to a screen that shows what wrapwatch is for.
//!
//! This builds; the demo itself is `wrapwatch-demo` in the tests' package, since it drives the lab.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    cli,
    process::{cargo, display, root_prefix, run as run_command},
    setup::{self, Purpose},
    workspace,
};

/// The command. Does not come back when all goes well: the demo takes this process's place, and its exit status is ours.
pub(crate) fn run(options: &cli::Demo) -> Result<()> {
    let prefix =
        root_prefix().context("the demo needs root (it makes network namespaces), and there is no sudo")?;
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab])?;
    eprintln!("building …");
    build(&["--release", "--quiet"])?;

    let release = workspace::target_dir()?.join("release");
    let mut command = Command::new(prefix.first().unwrap_or(&"env"));
    if !prefix.is_empty() {
        command.arg("env");
    }
    for (name, path) in workspace::artefacts(&release) {
        command.arg(format!("{name}={}", path.display()));
    }
    command.arg(release.join("wrapwatch-demo"));
    if options.json {
        command.arg("--json");
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", display(&command)))
}

/// Builds what the lab runs: wrapwatch, the lab's programs and the library that wraps the server.
pub(crate) fn build(options: &[&str]) -> Result<()> {
    let mut command =
        cargo(&["build", "--locked", "-p", "wrapwatch", "-p", "wrapwatch-tests", "-p", "wrapwatch-preload"])?;
    run_command(command.args(options).stdout(std::io::stderr()))
}
