//! `wrapwatch diff`: did the fix work.

use std::path::PathBuf;
use std::process::ExitCode;

use super::common::Color;
use super::output::print;
use super::report::{FilterArgs, read, text};
use crate::diagnose;
use crate::render::json;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The trace from before
    #[arg(value_name = "BEFORE.wwt")]
    before: PathBuf,
    /// The trace from after
    #[arg(value_name = "AFTER.wwt")]
    after: PathBuf,
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
    /// Which connections, of both
    #[command(flatten)]
    filter: FilterArgs,
    /// Print less on stderr
    #[arg(short, long)]
    quiet: bool,
    /// Use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = |path| read(path, args.filter.filter(), 0, args.quiet);
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let diff = diagnose::diff((&before.report, &before.context), (&after.report, &after.context));
    print(&if args.json { json::pretty(&diff)? + "\n" } else { text(args.color).diff(&diff) })?;
    Ok(ExitCode::SUCCESS)
}
