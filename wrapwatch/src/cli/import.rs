//! `wrapwatch import`: what others recorded becomes a trace.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::import::strace::{self, Dates, Importer, Log, Out, Stats};
use crate::trace::{End, FileSink, SingleFile, WriteError, Writer, WriterOptions};

/// What to give strace so that nothing is missing.
const STRACE: &str = "strace -f -ttt -T -yy -s 600 -p PID -o LOG";

/// `wrapwatch import …`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Turn a log of `strace -f` into a trace
    ///
    /// Reads every form strace prints: with -f, -ff, -t, -tt, -ttt, -r, -T, -y, -yy. The best to give it:
    ///
    ///   strace -f -ttt -T -yy -s 600 -p PID -o LOG
    Strace(StraceArgs),
}

#[derive(Debug, clap::Args)]
struct StraceArgs {
    /// The log; `-` for standard input. Several, or the prefix that `-ff -o PREFIX` was given, are merged by time
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The trace to write
    #[arg(short, long, value_name = "FILE.wwt")]
    output: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// The server's process, where it is not the thread that accepts
    #[arg(short, long)]
    pid: Option<u32>,
    /// Day on which the log begins, for logs of -t and -tt [default: the day it was last written, UTC]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<jiff::civil::Date>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let From::Strace(args) = &args.from;
    let (logs, written) = open_logs(&args.logs)?;
    let dates = dates(written, args.date)?;
    let mut importer = Importer::new(args.pid);
    let mut output = Output { args, writer: None, failed: None };
    strace::import(&mut importer, logs, dates, &mut |out| output.take(out)).context("cannot read the log")?;
    if let Some(error) = output.failed {
        return Err(error);
    }
    let stats = importer.stats();
    let Some(writer) = output.writer else {
        bail!("no connection was accepted in this log. Record one with: {STRACE}");
    };
    let size = writer.size();
    let end = End { at: importer.now(), reason: "end of the log".to_owned(), ..End::default() };
    let (_, ended) = writer.finish(end);
    ended?;
    tell(args, &stats, size);
    Ok(ExitCode::SUCCESS)
}

/// Writes the trace; made when the first connection shows that there is something to write.
struct Output<'a> {
    args: &'a StraceArgs,
    writer: Option<Writer<SingleFile<FileSink>>>,
    failed: Option<anyhow::Error>,
}

impl Output<'_> {
    fn take(&mut self, out: Out<'_>) {
        if self.failed.is_none()
            && let Err(error) = self.try_take(out)
        {
            self.failed = Some(error);
        }
    }

    fn try_take(&mut self, out: Out<'_>) -> anyhow::Result<()> {
        let written: Result<(), WriteError> = match (&mut self.writer, out) {
            (none, Out::Head(head)) => {
                let sink = FileSink::create(&self.args.output, self.args.force)?;
                *none = Some(Writer::new(SingleFile::new(sink), &head, WriterOptions::offline())?);
                Ok(())
            }
            (Some(writer), Out::Record(record)) => writer.record(record),
            (Some(writer), Out::Snapshot(snapshot)) => writer.write(&snapshot.into()),
            // The importer tells the head first.
            (None, _) => Ok(()),
        };
        Ok(written?)
    }
}

/// Logs to read.
type Logs = Vec<Log<Box<dyn BufRead>>>;

/// Opens the logs; says when the last of them was written.
fn open_logs(paths: &[PathBuf]) -> anyhow::Result<(Logs, SystemTime)> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" || path.exists() {
            files.push(path.clone());
        } else {
            let of_threads = thread_logs(path)?;
            if of_threads.is_empty() {
                bail!("{}: no such file, and no {}.PID of strace -ff", path.display(), path.display());
            }
            files.extend(of_threads);
        }
    }
    let several = files.len() > 1;
    let (mut logs, mut written) = (Vec::new(), UNIX_EPOCH);
    for path in files {
        if path.as_os_str() == "-" {
            let source: Box<dyn BufRead> = Box::new(io::stdin().lock());
            logs.push(Log { tid: None, source });
            written = SystemTime::now();
            continue;
        }
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        written = written.max(file.metadata().and_then(|meta| meta.modified()).unwrap_or(UNIX_EPOCH));
        let tid = if several { thread_of(&path) } else { None };
        logs.push(Log { tid, source: Box::new(BufReader::new(file)) });
    }
    Ok((logs, written))
}

/// The thread in the name of a log of `strace -ff`.
fn thread_of(path: &Path) -> Option<u32> {
    path.extension()?.to_str()?.parse().ok()
}

/// `PREFIX.PID` for every thread, as `strace -ff -o PREFIX` names them.
fn thread_logs(prefix: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let dir = prefix.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = prefix.file_name().unwrap_or_default();
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.file_stem() == Some(name) && thread_of(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// When the log began, as far as it does not say so itself.
fn dates(written: SystemTime, date: Option<jiff::civil::Date>) -> anyhow::Result<Dates> {
    let written_ns = written.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let written_ns = u64::try_from(written_ns).unwrap_or(u64::MAX);
    let day_ns = 24 * 3600 * 1_000_000_000;
    let Some(date) = date else {
        return Ok(Dates { midnight_ns: written_ns / day_ns * day_ns, begin_ns: written_ns });
    };
    let midnight = jiff::tz::TimeZone::UTC.to_timestamp(date.into()).context("--date")?.as_nanosecond();
    let midnight_ns = u64::try_from(midnight).context("--date is before 1970")?;
    Ok(Dates { midnight_ns, begin_ns: midnight_ns })
}

/// Says what came out and what the log does not show, on stderr.
fn tell(args: &StraceArgs, stats: &Stats, size: u64) {
    let name = args.output.display();
    eprintln!(
        "{name}: {} connections, {} records, {size} bytes from {} lines",
        stats.accepts, stats.records, stats.lines
    );
    if stats.cut_messages > 0 {
        eprintln!("{} DNS messages are cut: give strace -s 600", stats.cut_messages);
    }
    if stats.timeless_lines > 0 {
        eprintln!("{} lines have no time: give strace -ttt", stats.timeless_lines);
    }
    if stats.untimed_returns > 0 {
        eprintln!("durations reach to each thread's next line: give strace -T");
    }
    if stats.overflow > 0 {
        eprintln!("{} calls were left out: too many threads or descriptors at once", stats.overflow);
    }
    let skipped: u64 = stats.skipped_calls.values().sum();
    if skipped > 0 {
        eprintln!("{skipped} calls of {} kinds matter to nothing here", stats.skipped_calls.len());
    }
}
