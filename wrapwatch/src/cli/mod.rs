//! The command line: one file a subcommand, each a thin layer over the library.
//!
//! stdout is data; everything said about the run itself goes to stderr. Exit status: 0 done, 1 failed, 2 wrong use, 3 when `--fail-on` found as much.

mod common;
mod import;
mod lint;
mod live;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub use common::{Color, Common};

/// What worked examples say before the options do.
const EXAMPLES: &str = "\
Examples:
  wrapwatch live                         follow every mysqld and mariadbd here
  wrapwatch live -p 812 -d 60s           one server, for a minute
  wrapwatch live --json | jq .           one JSON object a line
  wrapwatch live --wait --unit mariadb   from the server's next start on

Exit status: 0 done, 1 failed, 2 wrong use.";

/// Shows where the connections of a mysqld with TCP wrappers wait: in the accept queue and behind whom, in which table, for which rule's DNS query to which nameserver.
#[derive(Debug, Parser)]
#[command(name = "wrapwatch", version, before_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow connections as they come
    Live(live::Args),
    /// Turn what others recorded into a trace
    Import(import::Args),
    /// Say what the tables cost and where they mislead
    Lint(lint::Args),
}

/// Runs the command; every error is one line on stderr.
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Live(args) => live::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Lint(args) => lint::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wrapwatch: {error:#}");
            ExitCode::from(1)
        }
    }
}
