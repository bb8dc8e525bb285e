//! `wrapwatch report`: what a trace comes to.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;

use super::common::{Color, FailOn, duration};
use super::output::{self, print};
use super::progress::Reading;
use crate::diagnose;
use crate::engine::{Filter, Moment, Peer};
use crate::model::{Outcome, Severity};
use crate::render::json;
use crate::render::report::Page;
use crate::render::text::Text;
use crate::replay::{TraceReport, Wanted};
use crate::trace::FileSink;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The trace
    #[arg(value_name = "FILE.wwt")]
    file: PathBuf,
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
    /// Write a self-contained HTML report
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
    /// Replace an existing page
    #[arg(long, requires = "html")]
    force: bool,
    /// Exit with status 3 if a finding has this severity or a higher one
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// Show this many of the slowest connections
    #[arg(long, value_name = "N", default_value_t = 10)]
    slowest: usize,
    /// Which connections
    #[command(flatten)]
    filter: FilterArgs,
    /// Print less on stderr
    #[arg(short, long)]
    quiet: bool,
    /// Use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

/// What stands above the options that choose connections. At each of them: a heading for what follows would go on behind them.
const FILTER: &str = "Filter (default: all connections)";

/// Which connections of a trace.
#[derive(Clone, Debug, clap::Args)]
pub struct FilterArgs {
    /// Only connections of this client or network (10.0.0.0/8); may be given several times
    #[arg(long = "peer", value_name = "ADDRESS", help_heading = FILTER)]
    peers: Vec<Peer>,
    /// Only from this time on: 2026-11-22T05:43:09Z, 05:43:09 (UTC), +90s (from the beginning of the trace)
    #[arg(long, value_name = "TIME", help_heading = FILTER)]
    since: Option<Moment>,
    /// Only up to this time
    #[arg(long, value_name = "TIME", help_heading = FILTER)]
    until: Option<Moment>,
    /// Only connections that took at least this long
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = FILTER)]
    slow: Option<Duration>,
    /// Only connections with this outcome; may be given several times
    #[arg(long = "outcome", value_enum, value_name = "OUTCOME", help_heading = FILTER)]
    outcomes: Vec<OutcomeArg>,
    /// Only connections that waited for this nameserver; may be given several times
    #[arg(long = "nameserver", value_name = "ADDRESS", help_heading = FILTER)]
    nameservers: Vec<IpAddr>,
}

impl FilterArgs {
    /// As the library takes it.
    pub fn filter(&self) -> Filter {
        Filter {
            peers: self.peers.clone(),
            since: self.since,
            until: self.until,
            slow_ns: self.slow.map(|slow| u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX)),
            outcomes: self.outcomes.iter().map(|&outcome| outcome.into()).collect(),
            nameservers: self.nameservers.iter().map(IpAddr::to_canonical).collect(),
        }
    }
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum OutcomeArg {
    /// The server sent its greeting
    Greeted,
    /// The first packet was an error
    ServerError,
    /// The wrappers refused it
    Refused,
    /// The trace shows neither a greeting nor a refusal
    Unfinished,
}

impl From<OutcomeArg> for Outcome {
    fn from(outcome: OutcomeArg) -> Self {
        match outcome {
            OutcomeArg::Greeted => Self::Greeted,
            OutcomeArg::ServerError => Self::ServerError,
            OutcomeArg::Refused => Self::Refused,
            OutcomeArg::Unfinished => Self::Unfinished,
        }
    }
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = read(&args.file, args.filter.filter(), args.slowest, args.quiet)?;
    let report = &read.report;
    if let Some(path) = &args.html {
        // It tells of clients and names: only its owner may read it.
        FileSink::write(path, args.force, page(&read).as_bytes())?;
    }
    if args.json {
        print(&(json::pretty(report)? + "\n"))?;
    } else if args.html.is_none() {
        print(&text(args.color).report(report))?;
    }
    let worst = args.fail_on.map(Severity::from).filter(|limit| report.worst() >= Some(*limit));
    Ok(worst.map_or(ExitCode::SUCCESS, |_| ExitCode::from(3)))
}

/// The report as a page.
fn page(read: &TraceReport) -> String {
    let load = read.diagnosis.load();
    let (waits, waterfall) = (diagnose::waits(load), diagnose::waterfall(load));
    let page = Page {
        report: &read.report,
        waits: &waits,
        waterfall: &waterfall,
        queue: read.context.queue.points(),
        clock: read.clock,
    };
    page.html()
}

/// Text for this stdout.
pub fn text(color: Color) -> Text {
    Text { width: output::width(), color: color.on(), unicode: output::unicode(), ..Text::PLAIN }
}

/// Reads a trace, with progress on a terminal.
pub fn read(path: &Path, filter: Filter, slowest: usize, quiet: bool) -> anyhow::Result<TraceReport> {
    let shown = path.display();
    let file = super::traces::open(path)?;
    let size = file.metadata().map_or(0, |meta| meta.len());
    let bar = Reading::new(size, quiet);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let wanted = Wanted { filter, slowest, file_name: &name };
    let whole =
        TraceReport::read(file, &wanted, |progress| bar.show(&progress)).with_context(|| shown.to_string());
    bar.clear();
    whole
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::FILTER;

    #[test]
    fn only_those_that_choose_connections_stand_under_that_heading() {
        let chosen_by = ["peers", "since", "until", "slow", "outcomes", "nameservers"];
        let command = super::super::Cli::command();
        for name in ["report", "diff"] {
            let arguments = command.find_subcommand(name).unwrap().get_arguments();
            let under = arguments.filter(|arg| arg.get_help_heading() == Some(FILTER));
            assert_eq!(under.map(|arg| arg.get_id().as_str()).collect::<Vec<_>>(), chosen_by, "{name}");
        }
    }
}
