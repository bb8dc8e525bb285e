//! Repository chores: `cargo xtask help`.
//!
//! One file a command. Progress goes to stderr; stdout carries results only, so that `cargo xtask demo --json` can be
//! piped. Built without wrapwatch and its build script, since it is what installs their compiler.

use std::process::ExitCode;

use clap::Parser as _;

mod arm64;
mod audit;
mod bench;
mod cli;
mod counts;
mod daemons;
mod demo;
mod dist;
mod docs;
mod fleet;
mod fuzz;
mod lint;
mod mutants;
mod process;
mod readme;
mod recipes;
mod setup;
mod side_by_side;
mod soak;
mod test;
#[path = "../../wrapwatch/build/toolchain.rs"]
mod toolchain;
mod vm;
mod workspace;

fn main() -> ExitCode {
    let result = match cli::Cli::parse().command {
        cli::Command::Setup(options) => setup::run(&options),
        cli::Command::Bench(options) => bench::run(&options),
        cli::Command::Counts(options) => counts::run(&options),
        cli::Command::Daemons(options) => daemons::run(&options),
        cli::Command::Demo(options) => demo::run(&options),
        cli::Command::Soak(options) => soak::run(&options),
        cli::Command::Test(options) => return test::run(&options),
        cli::Command::Lint => lint::run(),
        cli::Command::Mutants(options) => mutants::run(&options),
        cli::Command::Recipes(options) => recipes::run(&options),
        cli::Command::Fleet(options) => fleet::run(&options),
        cli::Command::Fuzz(options) => fuzz::run(&options),
        cli::Command::Arm64 => arm64::run(),
        cli::Command::Dist => dist::run(),
        cli::Command::Docs(options) => docs::run(&options),
        cli::Command::Vm(options) => vm::run(&options),
        cli::Command::Readme(options) => readme::run(&options),
        cli::Command::Audit => audit::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
