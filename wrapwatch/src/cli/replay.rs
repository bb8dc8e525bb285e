//! `wrapwatch replay`: what `live` would have shown, from a file.

use std::{
    io,
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{Color, common::duration, output::Output, traces};
use crate::{model::KtimeNs, observe::Observer as _};

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The trace
    #[arg(value_name = "FILE.wwt")]
    file: PathBuf,
    /// Speed: 1 is as recorded, 10 ten times as fast, max does not wait
    #[arg(long, default_value = "max", value_name = "FACTOR")]
    speed: Speed,
    /// Threshold for slow connections (shown with their queries) and for stalls (checks that take this long) [default: as recorded]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    slow: Option<Duration>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Show the screen of `live --tui`, with keys to go back and forth in time; h lists them
    #[cfg(feature = "tui")]
    #[arg(long, conflicts_with_all = ["json", "speed"])]
    tui: bool,
    /// Time zone of that screen; z changes it
    #[cfg(feature = "tui")]
    #[arg(long, value_enum, default_value_t, requires = "tui", value_name = "ZONE")]
    tz: super::common::Zone,
    /// Print only errors on stderr
    #[arg(short, long)]
    quiet: bool,
    /// Use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

/// How fast to replay.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    /// So many times as fast as it was.
    Times(f64),
    /// Without waiting.
    Max,
}

impl FromStr for Speed {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.trim_end_matches('x').parse::<f64>().ok();
        let times = times.filter(|times| times.is_finite() && *times > 0.0);
        times.map(Self::Times).with_context(|| format!("{text:?} is not a speed; write 1, 10, 0.5 or max"))
    }
}

/// Makes time pass as it did.
struct Pace {
    speed: Speed,
    /// When the trace's time was what.
    begun: Option<(Instant, KtimeNs)>,
}

impl Pace {
    /// When to show what came at `at`; `None`: now.
    fn due(&mut self, at: KtimeNs, now: Instant) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let (begun, from) = *self.begun.get_or_insert((now, at));
        let passed = Duration::from_nanos(at.since(from)).as_secs_f64() / times;
        Duration::try_from_secs_f64(passed).ok().and_then(|passed| begun.checked_add(passed))
    }
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "tui")]
    if args.tui {
        return on_screen(args);
    }
    let (mut replay, slow_ns) = traces::replay(&args.file, args.slow)?;
    let mut output = Output::with(args.json, args.quiet, args.color, slow_ns);
    let mut pace = Pace { speed: args.speed, begun: None };
    let cannot_read = || format!("cannot read {}", args.file.display());
    while let Some(line) = replay.next_line().with_context(cannot_read)? {
        let mut written = Ok(());
        if let Some(due) = pace.due(replay.now(), Instant::now()) {
            written = output.flush();
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        match written.and_then(|()| output.line(&line)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written.context("cannot write output")?,
        }
    }
    match output.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        flushed => flushed.context("cannot write output")?,
    }
    if !args.quiet {
        traces::tell_missing(&args.file, replay.context());
    }
    Ok(ExitCode::SUCCESS)
}

/// How often a file that grows is looked at.
#[cfg(feature = "tui")]
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `--tui`: all there is at once, then what is still written; time is the reader's. What the screen no longer keeps is read again.
#[cfg(feature = "tui")]
fn on_screen(args: &Args) -> anyhow::Result<ExitCode> {
    use crate::publish::{Follower, Growth, tell};
    let mut screen = crate::tui::Screen::trace(super::output::look(args.color, args.tz)?);
    let options = traces::options(&args.file, args.slow)?;
    let told = loop {
        let follower = Follower::here(&args.file);
        let told = follower.and_then(|follower| tell(follower, options.clone(), &mut screen, LOOK_EVERY));
        if matches!(told, Ok((_, Growth::Ended))) {
            screen.stay("the end of the trace");
        }
        if told.is_err() || !screen.begins_again() {
            break told;
        }
    };
    screen.close().context("cannot give the terminal back")?;
    let (context, growth) = told.with_context(|| format!("cannot show {}", args.file.display()))?;
    if !args.quiet && growth != Growth::Partly {
        traces::tell_missing(&args.file, &context);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_as_it_did() {
        let now = Instant::now();
        let mut pace = Pace { speed: Speed::Times(10.0), begun: None };
        assert_eq!(pace.due(KtimeNs(5_000_000_000), now), Some(now));
        assert_eq!(pace.due(KtimeNs(7_000_000_000), now), now.checked_add(Duration::from_millis(200)));
        let mut pace = Pace { speed: Speed::Max, begun: None };
        assert_eq!(pace.due(KtimeNs(5_000_000_000), now), None);
    }

    #[test]
    fn speeds_are_read() {
        assert_eq!("1".parse::<Speed>().unwrap(), Speed::Times(1.0));
        assert_eq!("10x".parse::<Speed>().unwrap(), Speed::Times(10.0));
        assert_eq!("max".parse::<Speed>().unwrap(), Speed::Max);
        for bad in ["", "0", "-1", "inf", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }
}
