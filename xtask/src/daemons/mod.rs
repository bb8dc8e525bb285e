//! `cargo xtask daemons`: whether wrapwatch tells the truth of real daemons.
//!
//! This fetches their packages and builds; running and judging is `wrapwatch-daemons` in the tests' package, since it drives the lab. What a daemon is
//! stands in `tests/daemons/NAME.toml`, and what has to come of it: another outcome, a better one too, is a failure.

pub(crate) mod packages;

use std::process::Command;

use anyhow::Result;

use crate::{
    cli, demo, process,
    setup::{self, Purpose},
};

/// One of each kind that most people have: these have to be right in each run of the tests, the others nightly.
pub(crate) const ALWAYS: [&str; 7] =
    ["sshd", "sshd-usedns", "vsftpd", "inetd-tcpd", "stunnel", "mosquitto", "postgres"];

/// The command. Like the demo it does not come back when all goes well.
pub(crate) fn run(options: &cli::Daemons) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Compare, Purpose::Lab])?;
    packages::ensure()?;
    eprintln!("building …");
    demo::build(&["--quiet"])?;
    let flags = [(options.json, "--json"), (options.no_uprobes, "--no-uprobes"), (options.cost, "--cost")];
    let flags = flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.to_owned());
    let args: Vec<String> = flags.chain(options.names.iter().cloned()).collect();
    demo::become_root_program("debug", PROGRAM, &args)
}

/// Whether [`ALWAYS`] are as expected, which is right. What they take is built.
pub(crate) fn always() -> Result<()> {
    packages::ensure()?;
    let mut command: Command = demo::root_program("debug", PROGRAM, &ALWAYS.map(str::to_owned))?;
    process::run(&mut command)
}

const PROGRAM: &str = "wrapwatch-daemons";
