//! The command line: one file a subcommand, each a thin layer over the library.
//!
//! stdout is data; everything said about the run itself goes to stderr. Exit status: 0 done, 1 failed, 2 wrong use, 3 if a problem reached the `--fail-on` severity.

mod common;
mod diff;
mod doctor;
mod export;
mod export_args;
#[cfg(feature = "otlp")]
mod export_otlp;
mod export_tables;
mod features;
mod import;
mod import_logs;
mod lint;
mod live;
mod new_file;
#[cfg(feature = "otlp")]
mod otlp_args;
mod output;
mod ping;
mod progress;
mod publish;
#[cfg_attr(not(feature = "otlp"), path = "publish_no_otlp.rs")]
mod publish_otlp;
mod record;
mod replay;
mod report;
mod schema;
mod traces;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub use common::{Color, Common};
use nix::sys::signal::{SigHandler, Signal, signal};

/// What worked examples say before the options do.
const EXAMPLES: &str = "\
Examples:
  wrapwatch live                         follow every mysqld and mariadbd here
  wrapwatch live -p 812 -d 60s           one server, for a minute
  wrapwatch live --json | jq .           one JSON object a line
  wrapwatch live --wait --unit mariadb   from the server's next start on
  wrapwatch record -o a.wwt -d 60s       a minute into a file
  wrapwatch record -o a.wwt --last 10m --when 'queued>1s' 'stall>5s'
                                         the minutes before something happens, and after
  wrapwatch replay a.wwt                 what live would have shown
  wrapwatch doctor                       is it wrapped, do its nameservers answer?
  wrapwatch lint --client 10.0.2.14      what the tables cost this client
  wrapwatch ping db1:3306                how long its clients wait for the greeting

Exit status: 0 done, 1 failed, 2 wrong use, 3 if a problem reached the --fail-on severity.";

/// Shows where the clients of a server with TCP wrappers wait: in the accept queue and behind whom, in which table, for which rule's DNS query to which nameserver.
#[derive(Debug, Parser)]
#[command(name = "wrapwatch", version, before_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trace a running server and show each connection as it comes
    Live(live::Args),
    /// Analyse a trace: verdict, findings, what-if, slowest connections
    Report(report::Args),
    /// Trace a running server into a file
    Record(record::Args),
    /// Show a recorded trace as live would have shown it
    Replay(replay::Args),
    /// Convert a trace for other programs, or redact it
    Export(export_args::Args),
    /// Publish metrics (Prometheus) and slow clients (OpenTelemetry) from a trace, also while it grows
    Publish(publish::Args),
    /// Compare two traces: did the change help?
    Diff(diff::Args),
    /// Check kernel support, whether servers use libwrap, and risky settings
    Doctor(doctor::Args),
    /// Convert what other tools recorded into a trace
    Import(import::Args),
    /// Print the JSON Schema of everything printed with --json
    Schema(schema::Args),
    /// Check the tables: what they cost each client, and where they do not do what they seem to
    Lint(lint::Args),
    /// Measure from here how long a server's clients wait for its greeting
    Ping(ping::Args),
}

/// Reads the command line; ends the process where it is wrong: with 2, and with 3 (not known) for a monitoring plugin, for which 2 is an alarm.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let args = std::env::args_os().filter_map(|argument| argument.into_string().ok());
        if let Some(why) = features::missing(error.kind(), args) {
            output::note(&why);
            std::process::exit(2);
        }
        let plugin = std::env::args_os().any(|argument| argument == "--check");
        if plugin && error.use_stderr() {
            // Nobody is left to tell where stderr is closed, or stdout.
            let _ = error.print();
            let _ = output::print(&refused(std::env::args().nth(1).as_deref(), &error.to_string()));
            std::process::exit(3);
        }
        error.exit()
    })
}

/// What a monitoring plugin says on stdout of arguments that cannot be read.
fn refused(command: Option<&str>, error: &str) -> String {
    let name = if command == Some("ping") { "PING" } else { "DOCTOR" };
    let why = error.lines().next().unwrap_or_default();
    let why = format!("wrong use: {}", why.strip_prefix("error: ").unwrap_or(why));
    crate::render::check::line(name, &crate::diagnose::check::Check::unknown(why))
}

/// What was asked for cannot be meant: status 2, as for arguments that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUse(String);

/// Wrong use, in words.
fn wrong_use(why: impl Into<String>) -> anyhow::Error {
    WrongUse(why.into()).into()
}

/// A file that may grow no further (`RLIMIT_FSIZE`) is an error like others, told in a sentence: without this the system's signal ends the process within a write.
fn ignore_file_size_signal() {
    // SAFETY: no handler is installed, so none can run; whoever starts this process further gets the same disposition, as with SIGPIPE.
    let ignored = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    if let Err(error) = ignored {
        log::debug!("cannot ignore SIGXFSZ: {error}");
    }
}

/// Runs the command; every error is one line on stderr.
pub fn run(cli: Cli) -> ExitCode {
    ignore_file_size_signal();
    let result = match cli.command {
        Command::Live(args) => live::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Ping(args) => ping::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::note(&crate::model::error_line(error.as_ref()));
            ExitCode::from(if error.is::<WrongUse>() { 2 } else { 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_says_on_stdout_that_it_was_called_wrongly() {
        let error = Cli::try_parse_from(["wrapwatch", "ping", "--check"]).unwrap_err();
        let line = refused(Some("ping"), &error.to_string());
        assert!(line.starts_with("PING UNKNOWN - wrong use: the following required"), "{line}");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(refused(Some("doctor"), "error: x").starts_with("DOCTOR UNKNOWN - wrong use: x"));
    }
}
