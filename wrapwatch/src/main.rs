//! The `wrapwatch` command: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use wrapwatch::cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse())
}
