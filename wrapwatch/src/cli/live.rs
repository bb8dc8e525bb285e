//! `wrapwatch live`: follow connections as they come.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{Common, common::measure, output::Output};
#[cfg(feature = "tui")]
use crate::tui::Screen;
use crate::{
    live::{Ended, Session, Settings},
    probe,
};

/// Arguments of `live`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Show on one screen who waits for what; h lists its keys
    #[cfg(feature = "tui")]
    #[arg(long, conflicts_with = "json")]
    tui: bool,
    /// Time zone of that screen; z changes it
    #[cfg(feature = "tui")]
    #[arg(long, value_enum, default_value_t, requires = "tui", value_name = "ZONE")]
    tz: super::common::Zone,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let common = &args.common;
    common.user.apply()?;
    #[cfg(feature = "tui")]
    if args.tui {
        return on_screen(common, args.tz);
    }
    common.init_log();
    probe::check()?;
    let settings = settings(common);
    let mut output = Output::new(common);
    let end = event_loop()?.block_on(Session::run(&settings, &mut output))?;
    if end.why == Ended::TargetsGone {
        output.say("every target has exited");
    }
    Ok(super::output::status(end.why))
}

fn settings(common: &Common) -> Settings {
    Settings {
        wanted: common.target.wanted(),
        wait: common.target.wait,
        duration: common.duration,
        slow_ns: common.slow_ns(),
        uprobes: !common.no_uprobes,
        measure: measure(common.max_overhead),
        probe: common.probe.options(common.verbose),
        keep: Vec::new(),
    }
}

fn event_loop() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}

/// `--tui`: what is wrong stands on the screen, so that nothing else is written over it.
#[cfg(feature = "tui")]
fn on_screen(common: &Common, tz: super::common::Zone) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::live(super::output::look(common.color, tz)?);
    super::common::init_log(true, 0);
    probe::check()?;
    let settings = settings(common);
    let end = match event_loop()?.block_on(Session::run(&settings, &mut screen)) {
        Ok(end) => end,
        Err(error) => {
            screen.close().context("cannot give the terminal back")?;
            return Err(error.into());
        }
    };
    if !matches!(end.why, Ended::Asked | Ended::OutputClosed) {
        screen.stay(&end.why.reason());
    }
    screen.close().context("cannot show the screen")?;
    Ok(super::output::status(end.why))
}
