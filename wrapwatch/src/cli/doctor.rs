//! `wrapwatch doctor`: what can be seen here, how the servers are set up, what in that will hurt.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;

use super::{
    Color,
    common::{FailOn, TargetArgs},
    output::{print, unicode, width},
};
use crate::{
    diagnose::check::{self, Check},
    doctor::{Settings, examine},
    host::wanted::{self, Wanted},
    live::{self, Measure, Session},
    model::{Cost, error_line},
    observe::Nobody,
    probe,
    render::{self, json, text::Text},
};

/// How often a server that is waited for is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long `--measure` measures.
const MEASURE_FOR: Duration = Duration::from_secs(10);

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |wait| wait.help("Wait for the server to start")))]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
    /// Act as a monitoring plugin (Nagios, Icinga, Zabbix): one line with numbers, exit status 0 to 3
    #[arg(long, conflicts_with_all = ["json", "fail_on", "print_access", "measure", "wait"])]
    check: bool,
    /// Exit with status 3 if a problem has this severity or a higher one
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// Print every hook, BPF helper, file and capability that wrapwatch uses, and do nothing else
    #[arg(long)]
    print_access: bool,
    /// Send nothing to the nameservers
    #[arg(long)]
    no_queries: bool,
    /// Log in with this option file (see mariadb --defaults-file) and read the server's variables and counters
    #[arg(long, value_name = "FILE")]
    mysql_defaults_file: Option<PathBuf>,
    /// Attach for ten seconds and measure what that costs this server
    #[arg(long)]
    measure: bool,
    /// Print more on stderr
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    super::common::init_log(false, args.verbose);
    if args.check {
        return check(args);
    }
    let text = Text { width: width(), color: args.color.on(), unicode: unicode(), slow_ns: 0, zone: None };
    if args.print_access {
        let access = probe::access();
        let shown = if args.json { line(&access)? } else { text.access(&access) };
        return print(&shown).map(|()| ExitCode::SUCCESS);
    }
    let settings = Settings {
        pids: targets(&args.target)?,
        queries: !args.no_queries,
        mysql_defaults: args.mysql_defaults_file.clone(),
    };
    let mut examination = examine(&settings)?;
    if args.measure {
        examination.report.measured = Some(measure(&settings.pids)?);
    }
    let report = &examination.report;
    let shown = if args.json { line(report)? } else { text.doctor(report) };
    let worst = report.worst();
    let printed = print(&shown);
    // What was found is on the screen by now; the hooks that were tried are not yet all off.
    examination.finish();
    printed?;
    let failed = args.fail_on.is_some_and(|limit| worst.is_some_and(|worst| worst >= limit.into()));
    Ok(ExitCode::from(if failed { 3 } else { 0 }))
}

/// One line; whatever goes wrong is "not known".
fn check(args: &Args) -> anyhow::Result<ExitCode> {
    let examined = targets(&args.target).and_then(|pids| {
        let mysql_defaults = args.mysql_defaults_file.clone();
        Ok(examine(&Settings { pids, queries: !args.no_queries, mysql_defaults })?)
    });
    let found = match &examined {
        Ok(examination) => check::doctor(&examination.report),
        Err(error) => Check::unknown(error_line(error.as_ref())),
    };
    let printed = print(&render::check::line("DOCTOR", &found));
    if let Ok(examination) = examined {
        examination.finish();
    }
    printed?;
    Ok(ExitCode::from(found.state.status()))
}

/// Traces for [`MEASURE_FOR`] and throws away what it sees.
fn measure(pids: &[u32]) -> anyhow::Result<Cost> {
    anyhow::ensure!(!pids.is_empty(), "--measure: no server runs here");
    probe::check()?;
    eprintln!("wrapwatch: measuring for {} s", MEASURE_FOR.as_secs());
    let settings = live::Settings {
        wanted: Wanted::Pids(pids.to_vec()),
        wait: false,
        duration: Some(MEASURE_FOR),
        slow_ns: u64::MAX,
        uprobes: true,
        measure: Measure::Always,
        probe: probe::Options::default(),
        keep: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let end = runtime.block_on(Session::run(&settings, &mut Nobody))?;
    end.summary.cost.context("nothing was measured")
}

/// The PIDs. That no server runs is a finding; that something asked for by name is not there is an error.
fn targets(args: &TargetArgs) -> anyhow::Result<Vec<u32>> {
    let wanted = args.wanted();
    loop {
        let pids = wanted::find(&wanted)?;
        if !pids.is_empty() || (!args.wait && wanted == Wanted::Servers) {
            return Ok(pids);
        }
        anyhow::ensure!(args.wait, "no {} found; --wait waits for one", wanted.what());
        std::thread::sleep(LOOK_EVERY);
    }
}

fn line(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(json::one_line(value)? + "\n")
}
