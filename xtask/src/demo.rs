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
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab])?;
    eprintln!("building …");
    build(&["--release", "--quiet"])?;
    let json = options.json.then(|| "--json".to_owned());
    become_root_program("release", "wrapwatch-demo", json.as_slice())
}

/// Has a program of the tests' package, built with this profile, take this process's place, as root and told where everything is.
pub(crate) fn become_root_program(profile: &str, name: &str, args: &[String]) -> Result<()> {
    let mut command = root_program(profile, name, args)?;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", display(&command)))
}

/// A built program, to be run as root with what the lab needs.
pub(crate) fn root_program(profile: &str, name: &str, args: &[String]) -> Result<Command> {
    let prefix = root_prefix()
        .with_context(|| format!("{name} needs root (it makes network namespaces), and there is no sudo"))?;
    let built = workspace::target_dir()?.join(profile);
    let mut command = Command::new(prefix.first().unwrap_or(&"env"));
    if !prefix.is_empty() {
        command.arg("env");
    }
    for (name, path) in workspace::artefacts(&built) {
        command.arg(format!("{name}={}", path.display()));
    }
    command.arg(built.join(name)).args(args);
    Ok(command)
}

/// Builds what the lab and virtual machines run: wrapwatch, their programs and the library that wraps the server.
pub(crate) fn build(options: &[&str]) -> Result<()> {
    // All of them in one go, whoever needs which: with other packages beside it, a dependency has other features and is compiled again.
    let packages = ["wrapwatch", "wrapwatch-tests", "wrapwatch-preload", "wrapwatch-guest"];
    let mut command = cargo(&["build", "--locked"])?;
    for package in packages {
        command.args(["-p", package]);
    }
    run_command(command.args(options).stdout(std::io::stderr()))
}
