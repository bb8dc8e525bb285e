//! What traces cost: their size, and how fast a report reads them. One JSON object on stdout.
//!
//! `wrapwatch-trace-bench [--connections N] [--level ZSTD] [--keep FILE.wwt]` writes N made-up connections (a million, unless told otherwise) with two lookups, distinct
//! clients and names each, through the recorder's writer, and has `wrapwatch report --json` read them. For the measure of strace it takes
//! the captures in `tests/data`, which show the same two lookups.

use std::{
    fs::File,
    io::{Write as _, stdout},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeVal,
};
use serde_json::{Value, json};
use wrapwatch::{
    model::{ClockPair, KtimeNs},
    trace::{End, FileSink, Head, SingleFile, Writer, WriterOptions, synth::Synth},
};
use wrapwatch_tests::watch::binary;

/// Connections a second in the made-up trace: what a block of the recorder's second holds follows from it.
const PER_SECOND: u64 = 1_000;
/// A real strace of 20 connections with two lookups each.
const STRACE: (&str, u64) = ("tests/data/captures/mysqld-5.5.62/e2-20conc-delay300.ttt.log", 20);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut connections = 1_000_000;
    let mut level = WriterOptions::default().level;
    let mut keep: Option<PathBuf> = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--connections" => connections = value.parse().context("--connections")?,
            "--level" => level = value.parse().context("--level")?,
            "--keep" => keep = Some(value.into()),
            _ => bail!("unknown argument {arg}"),
        }
    }
    ensure!(connections > 0, "no connections, no measure");
    let path = keep
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("wrapwatch-bench-{}.wwt", std::process::id())));
    let measured = measure(&path, connections, level);
    if keep.is_none() {
        // What was measured counts, also where nothing was written.
        let _ = std::fs::remove_file(&path);
    }
    writeln!(stdout(), "{:#}", measured?)?;
    Ok(())
}

fn measure(path: &Path, connections: u64, level: i32) -> Result<Value> {
    let made = make(path, connections, level)?;
    let read = report(path, made.records, connections)?;
    let strace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(STRACE.0);
    let strace_bytes = std::fs::metadata(&strace).map(|meta| meta.len() / STRACE.1).ok();
    Ok(json!({
        "connections": connections,
        "records": made.records,
        "bytes": made.bytes,
        "bytes_per_connection": ratio(made.bytes, connections),
        "strace_bytes_per_connection": strace_bytes,
        "write_cpu_ns_per_connection": ratio(made.cpu_ns, connections),
        "report": read,
    }))
}

struct Made {
    records: u64,
    bytes: u64,
    cpu_ns: u64,
}

/// Writes a trace as the recorder does: a block each second at least.
fn make(path: &Path, connections: u64, level: i32) -> Result<Made> {
    let begin = getrusage(UsageWho::RUSAGE_SELF)?;
    let start = KtimeNs(1_000_000_000);
    let clock = ClockPair { ktime: start, wall_ns: 1_795_326_189_000_000_000 };
    let sink = SingleFile::new(FileSink::create(path, true)?);
    let options = WriterOptions { level, ..WriterOptions::default() };
    let mut writer = Writer::new(sink, &Head { clock, ..Head::default() }, options)?;
    let mut synth = Synth::new(1, start.0, PER_SECOND);
    let mut failed = None;
    for _ in 0..connections {
        synth.connection(&mut |record| failed = failed.take().or_else(|| writer.record(record).err()));
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    let records = writer.records();
    let (_, ended) = writer.finish(End { at: KtimeNs(synth.now_ns()), ..End::default() });
    ended?;
    let cpu_ns = cpu_ns(&getrusage(UsageWho::RUSAGE_SELF)?).saturating_sub(cpu_ns(&begin));
    Ok(Made { records, bytes: std::fs::metadata(path)?.len(), cpu_ns })
}

/// Reports the trace in a process of its own, the only child there is.
fn report(path: &Path, records: u64, connections: u64) -> Result<Value> {
    let begin = Instant::now();
    let output = Command::new(binary()?)
        .args(["report", "--json", "--quiet"])
        .arg(path)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .stdout(Stdio::from(File::create("/dev/null")?))
        .spawn()?
        .wait()?;
    let wall_ns = u64::try_from(begin.elapsed().as_nanos())?;
    ensure!(output.success(), "report failed: {output}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu_ns = cpu_ns(&usage);
    Ok(json!({
        "wall_ns": wall_ns,
        "cpu_ns": cpu_ns,
        "events_per_cpu_second": ratio(records.saturating_mul(1_000_000_000), cpu_ns),
        "connections_per_cpu_second": ratio(connections.saturating_mul(1_000_000_000), cpu_ns),
        // The kernel counts in KiB.
        "resident_bytes": usage.max_rss().saturating_mul(1024),
    }))
}

/// User and system time.
fn cpu_ns(usage: &Usage) -> u64 {
    let ns =
        |time: TimeVal| u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_usec() * 1_000).unwrap_or(0);
    ns(usage.user_time()) + ns(usage.system_time())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    (part as f64 / whole.max(1) as f64).round()
}
