//! `wrapwatch record`: write everything to a file, for later.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use caps::Capability;

use super::{
    Color,
    common::{ProbeArgs, TargetArgs, UserArgs, bytes, duration, init_log, measure, percent},
    output::{self, Output},
    progress::Line as ProgressLine,
};
use crate::{
    live::{Session, Settings},
    model::{KtimeNs, Line, Share},
    observe::{Notice, Observer, Tee},
    probe,
    record::{Finished, FlightPlan, Plan, Recorder},
    render::text,
    trace::{Condition, FlightOptions, Input},
};

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which processes
    #[command(flatten)]
    target: TargetArgs,
    /// Output file (created with mode 0600)
    #[arg(short, long, value_name = "FILE.wwt")]
    output: PathBuf,
    /// Replace an existing file; with --last the ring that an earlier recorder left, never a trace that it saved
    #[arg(long)]
    force: bool,
    /// Stop after this time (60s, 10m, 1h)
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Threshold for stalls: checks that take this long
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    slow: Duration,
    /// Put no uprobes on libwrap; wrapwatch then takes the last table's close as the check's end
    #[arg(long)]
    no_uprobes: bool,
    /// Detach and exit with status 1 when the BPF programs and the kernel's way to them take more than this share of one core (1%, 0.5%)
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_overhead: Option<f64>,
    #[command(flatten)]
    probe: ProbeArgs,
    #[command(flatten)]
    user: UserArgs,
    /// Start another file before one exceeds this size (100M, 1G); finished files are named FILE.000001.wwt and so on
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Several files")]
    max_size: Option<u64>,
    /// Keep only this many finished files, the newest
    #[arg(long, value_name = "N", requires = "max_size", help_heading = "Several files")]
    keep: Option<usize>,
    /// Keep this much of the past on disk, in FILE.wwt.ring, and save it to FILE.wwt when a --when condition is met; without --when, at the end
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "max_size", help_heading = "Flight recorder")]
    last: Option<Duration>,
    /// Save on any of these conditions: queued>1s, dns>500ms, wrapper>2s, greeting>5s, stall>5s, queue>80%, refused, lost
    #[arg(long, value_name = "CONDITION", num_args = 1.., requires = "last", help_heading = "Flight recorder")]
    when: Vec<Condition>,
    /// Keep recording this long after the condition, so that the trace shows what followed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s", help_heading = "Flight recorder")]
    after: Duration,
    /// Minimum time between two saved traces
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m", help_heading = "Flight recorder")]
    cooldown: Duration,
    /// Maximum disk space for the ring and all saved traces, earlier ones included
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "2G", help_heading = "Flight recorder")]
    max_total: u64,
    /// Also print what `live --json` prints
    #[arg(long)]
    json: bool,
    /// Print only errors on stderr
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more on stderr; twice: also what the BPF programs log
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    init_log(args.quiet, args.verbose);
    args.user.apply()?;
    let recorder = Recorder::new(&args.output, args.plan(), args.force, args.noted())?;
    probe::check()?;
    let settings = Settings {
        wanted: args.target.wanted(),
        wait: args.target.wait,
        duration: args.duration,
        slow_ns: ns(args.slow),
        uprobes: !args.no_uprobes,
        measure: measure(args.max_overhead),
        probe: args.probe.options(args.verbose),
        // The next file may be in a folder that is not root's.
        keep: vec![Capability::CAP_DAC_OVERRIDE],
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let shown = args.json.then(|| Output::with(true, args.quiet, Color::Never, ns(args.slow)));
    let recording = Recording { recorder, line: ProgressLine::new(args.quiet), quiet: args.quiet };
    // What is shown is in the trace.
    let mut both = Tee(recording, shown.map(Shown));
    let ended = runtime.block_on(Session::run(&settings, &mut both));
    let Tee(recording, _) = both;
    recording.line.clear();
    let finished = recording.recorder.finish();
    // Why the file could not be written comes first: the session ended because of it.
    let finished = finished?;
    let end = ended?;
    if !args.quiet {
        tell(args, &finished);
        if let Some(cost) = &end.summary.cost {
            output::note(&format!("cost: {}", text::cost(cost)));
        }
    }
    Ok(output::status(end.why))
}

impl Args {
    fn plan(&self) -> Plan {
        match (self.last, self.max_size) {
            (Some(last), _) => Plan::Flight(FlightPlan {
                ring: FlightOptions::within(self.max_total, ns(last)),
                when: self.when.clone(),
                after_ns: ns(self.after),
                cooldown_ns: ns(self.cooldown),
            }),
            (None, Some(max_bytes)) => Plan::Rotated { max_bytes, keep: self.keep },
            (None, None) => Plan::Single,
        }
    }

    /// What a reader of the trace may want to know.
    fn noted(&self) -> Vec<(String, String)> {
        let mut noted = Vec::new();
        let mut note = |name: &str, value: String| noted.push((name.to_owned(), value));
        if let Some(max_size) = self.max_size {
            note("max_size_bytes", max_size.to_string());
        }
        if let Some(last) = self.last {
            note("last_ns", ns(last).to_string());
        }
        if let Some(max_overhead) = self.max_overhead {
            note("max_overhead_percent", Share(max_overhead).percent().to_string());
        }
        if !self.when.is_empty() {
            let when: Vec<String> = self.when.iter().map(ToString::to_string).collect();
            note("when", when.join(" "));
        }
        noted
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What came of it, and what to do with it.
fn tell(args: &Args, finished: &Finished) {
    let progress = &finished.progress;
    let Some(first) = finished.traces.first() else {
        if args.last.is_some() && progress.records > 0 {
            output::note("no --when condition was met: nothing saved");
        }
        return;
    };
    let more = match finished.traces.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    output::note(&format!(
        "{}{more}: {} connections, {} records, {} lost, {} bytes",
        first.display(),
        progress.connections,
        progress.records,
        progress.lost,
        progress.bytes
    ));
    output::note(&format!("next: wrapwatch report {}", first.display()));
}

/// The recorder, and how far it is.
struct Recording {
    recorder: Recorder,
    line: ProgressLine,
    quiet: bool,
}

impl Recording {
    fn say(&self, message: &str) {
        if !self.quiet {
            self.line.say(message);
        }
    }
}

impl Observer for Recording {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        self.recorder.input(input)
    }

    fn wants_connections(&self) -> bool {
        self.recorder.wants_connections()
    }

    fn count(&mut self, connections: u64) {
        self.recorder.count(connections);
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.recorder.line(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.recorder.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn tick(&mut self, now: KtimeNs) -> io::Result<()> {
        self.recorder.tick(now)?;
        for message in self.recorder.take_messages() {
            self.say(&message);
        }
        self.line.show(self.recorder.progress());
        Ok(())
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        if let Notice::Cost(cost) = notice {
            self.line.cost(**cost);
            return;
        }
        self.say(&output::said(notice));
    }
}

/// The lines, without notices, which are printed once.
struct Shown(Output);

impl Observer for Shown {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.0.line(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
