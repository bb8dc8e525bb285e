//! `wrapwatch live`: follow connections as they come.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{Common, common::measure, output::Output};
use crate::{
    live::{Ended, Session, Settings},
    probe,
};

/// Arguments of `live`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let common = &args.common;
    common.init_log();
    probe::check()?;
    let settings = Settings {
        wanted: common.target.wanted(),
        wait: common.target.wait,
        duration: common.duration,
        slow_ns: common.slow_ns(),
        uprobes: !common.no_uprobes,
        measure: measure(common.max_overhead),
        probe: common.probe.options(common.verbose),
        keep: Vec::new(),
    };
    let mut output = Output::new(common);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let end = runtime.block_on(Session::run(&settings, &mut output))?;
    if end.why == Ended::TargetsGone {
        output.say("every target has exited");
    }
    Ok(super::output::status(end.why))
}
