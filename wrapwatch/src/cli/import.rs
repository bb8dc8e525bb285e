//! `wrapwatch import`: what others recorded becomes a trace.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::import_logs::Logs;
use crate::import::strace::{self, Dates, Importer, Stats, Survey};
use crate::trace::{End, FileSink, Input, SingleFile, Writer, WriterOptions};

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
    /// Convert a log of `strace -f` into a trace
    ///
    /// Reads every form strace prints: with -f, -ff, -t, -tt, -ttt, -r, -T, -y, -yy, -X, -x; also compressed (gzip, zstd), quoted in
    /// mail, coloured, wrapped, with addresses overwritten. What a log does not show is unknown in the report. The best log comes from:
    ///
    ///   strace -f -ttt -T -yy -s 600 -p PID -o LOG
    Strace(StraceArgs),
}

#[derive(Debug, clap::Args)]
struct StraceArgs {
    /// The log; `-` for standard input. Several logs, or those of `strace -ff -o PREFIX` (give PREFIX), are merged by time
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The trace to write
    #[arg(short, long, value_name = "FILE.wwt")]
    output: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// PID of the server, if it is not the thread that accepts
    #[arg(short, long)]
    pid: Option<u32>,
    /// Day on which the log begins, for logs made with -t or -tt [default: the day of its last change, UTC]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<jiff::civil::Date>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let From::Strace(args) = &args.from;
    let logs = Logs::find(&args.logs)?;
    let survey = strace::survey(logs.open()?).context("cannot read the log")?;
    say_strange(&survey)?;
    let dates = dates(logs.written, args.date)?;
    let mut importer = Importer::new(args.pid, survey.clone());
    let mut output = Output { args, writer: None, failed: None };
    strace::import(&mut importer, logs.open()?, dates, &mut |input| output.take(&input))
        .context("cannot read the log")?;
    if let Some(error) = output.failed {
        return Err(error);
    }
    let stats = importer.stats();
    let Some(writer) = output.writer else {
        bail!(
            "no connection was accepted in this log ({} of {} lines understood as calls). Record one with: {STRACE}",
            survey.calls,
            survey.lines
        );
    };
    let size = writer.size();
    let end = End { at: importer.now(), reason: "end of the log".to_owned(), ..End::default() };
    let (_, ended) = writer.finish(end);
    ended?;
    tell(args, &survey, &stats, size);
    Ok(ExitCode::SUCCESS)
}

/// Of a log of which most is not understood, that comes first, and what it looks like.
fn say_strange(survey: &Survey) -> anyhow::Result<()> {
    if !survey.is_strange() && survey.calls > 0 {
        return Ok(());
    }
    let mut said = format!("{} of {} lines were understood as calls", survey.calls, survey.lines);
    if let Some(looks) = survey.looks() {
        said.push_str(": ");
        said.push_str(looks.message());
    } else if survey.quoted * 2 > survey.lines {
        said.push_str(": it looks like quoted mail");
    } else if survey.coloured * 2 > survey.lines {
        said.push_str(": it looks like what a terminal shows, with colours");
    }
    if survey.calls == 0 {
        bail!("{said}. Record one with: {STRACE}");
    }
    eprintln!("{said}. What the other lines say is not known. Best is: {STRACE}");
    Ok(())
}

/// Writes the trace; made when the first connection shows that there is something to write.
struct Output<'a> {
    args: &'a StraceArgs,
    writer: Option<Writer<SingleFile<FileSink>>>,
    failed: Option<anyhow::Error>,
}

impl Output<'_> {
    fn take(&mut self, input: &Input<'_>) {
        if self.failed.is_none()
            && let Err(error) = self.try_take(input)
        {
            self.failed = Some(error);
        }
    }

    fn try_take(&mut self, input: &Input<'_>) -> anyhow::Result<()> {
        if let Some(writer) = &mut self.writer {
            writer.write(input)?;
        } else if let Input::Head(head) = input {
            // The importer tells the head first.
            let sink = FileSink::replacing(&self.args.output, self.args.force)?;
            self.writer = Some(Writer::new(SingleFile::new(sink), head, WriterOptions::offline())?);
        }
        Ok(())
    }
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
fn tell(args: &StraceArgs, survey: &Survey, stats: &Stats, size: u64) {
    let name = args.output.display();
    let before = if stats.began_before > 0 { ", and one that began before the log" } else { "" };
    eprintln!("{name}: {} connections{before}, {} records, {size} bytes", stats.accepts, stats.records);
    eprintln!("{} of {} lines understood as calls", survey.calls, survey.lines);
    for (n, what) in [
        (survey.quoted, "were quoted mail"),
        (survey.coloured, "had colours"),
        (survey.retouched, "had HTML entities or typographic quotes"),
        (survey.wrapped, "were put together again: something had wrapped them"),
    ] {
        if n > 0 {
            eprintln!("{n} lines {what}");
        }
    }
    if stats.accepts == 0 && stats.table_opens > 0 {
        eprintln!(
            "hosts.allow and hosts.deny were opened {} times, but no accept is in this log: which clients that was for, and how long they waited, is not \
             known. Record with: {STRACE}",
            stats.table_opens
        );
    }
    if stats.failed_accepts > 0 {
        eprintln!("accept failed {} times", stats.failed_accepts);
    }
    if stats.other_accepts > 0 {
        eprintln!(
            "{} connections were accepted by other processes and left out: give --pid, or a log of one server",
            stats.other_accepts
        );
    }
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
        eprintln!("{skipped} calls of {} kinds are not needed", stats.skipped_calls.len());
    }
}
