//! `wrapwatch export`: a trace in another form.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};

#[cfg(feature = "otlp")]
use super::export_otlp;
use super::{
    export_args::{Args, Format},
    export_tables,
    new_file::NewFile,
    progress::Watched,
    traces,
};
use crate::{
    context::Context,
    engine::Options,
    export::{ExportError, Pcapng, Perfetto, tell},
    observe::{JsonLines, Observer as _},
    replay::Replay,
    trace::{
        FileSink, Save, SingleFile,
        redact::{Key, redact},
    },
};

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.table.is_some() && !args.to.is_some_and(Format::is_tables) {
        return Err(super::wrong_use("--table goes with tables: --to csv, --to parquet"));
    }
    #[cfg(feature = "otlp")]
    export_otlp::check(args)?;
    match (args.redact, args.to) {
        (true, _) => redacted(args),
        (false, Some(Format::Wwt)) => ring(args),
        (false, Some(Format::Perfetto)) => perfetto(args),
        (false, Some(Format::Pcapng)) => pcapng(args),
        (false, Some(Format::Csv)) => export_tables::csv(args),
        #[cfg(feature = "otlp")]
        (false, Some(Format::Otlp)) => export_otlp::run(args),
        #[cfg(feature = "parquet")]
        (false, Some(Format::Parquet)) => export_tables::parquet(args),
        (false, _) => jsonl(args),
    }
}

fn redacted(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(output) = &args.output else { bail!("--redact needs a file to write: -o FILE.wwt") };
    let key = Key::random().context("no random numbers for the pseudonyms")?;
    // Looked at first: a missing trace must not leave an empty copy.
    traces::open(&args.file)?;
    let sink = FileSink::replacing(output, args.force)?;
    let (_, done) = redact(|| Watched::new(File::open(&args.file)?, args.quiet), SingleFile::new(sink), key)
        .with_context(|| format!("cannot copy {}", args.file.display()))?;
    if !args.quiet {
        let left_out = done.unknown_records + done.zeroed_messages;
        eprintln!(
            "wrapwatch: {} records, {left_out} of them left out or zeroed because they could not be read",
            done.records
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn jsonl(args: &Args) -> anyhow::Result<ExitCode> {
    let options = traces::options(&args.file, args.slow)?;
    let mut replay = Replay::new(traces::watched(&args.file, args.is_quiet())?, options);
    let cannot_read = || format!("cannot read {}", args.file.display());
    let mut write = |out: &mut dyn Write| {
        let mut out = JsonLines::new(out);
        while let Some(line) = replay.next_line().with_context(cannot_read)? {
            if closed(out.line(&line))? {
                return Ok(true);
            }
        }
        closed(out.flush())
    };
    let closed = if let Some(path) = &args.output {
        let mut file = BufWriter::new(NewFile::create(path, args.force)?);
        let closed = write(&mut file)?;
        let written = file.into_inner().map_err(io::IntoInnerError::into_error).and_then(NewFile::finish);
        written.with_context(|| format!("cannot write {}", path.display()))?;
        closed
    } else {
        write(&mut BufWriter::new(io::stdout()))?
    };
    if !closed && !args.quiet {
        traces::tell_missing(&args.file, replay.context());
    }
    Ok(ExitCode::SUCCESS)
}

fn perfetto(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(output) = &args.output else { bail!("--to perfetto needs a file to write: -o FILE.pftrace") };
    to_file(args, output, |file, options, out| {
        let mut perfetto = Perfetto::new(out);
        let context = tell(file, options, &mut perfetto)?;
        perfetto.finish()?;
        Ok(context)
    })
}

fn pcapng(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(output) = &args.output else { bail!("--to pcapng needs a file to write: -o FILE.pcapng") };
    if output.extension().is_some_and(|is| is.eq_ignore_ascii_case("pcap")) {
        return Err(super::wrong_use(
            "a .pcap has no room for comments, and programs go by the name: -o FILE.pcapng",
        ));
    }
    to_file(args, output, |file, options, out| {
        let mut pcapng = Pcapng::new(out);
        let context = tell(file, options, &mut pcapng)?;
        pcapng.finish()?;
        Ok(context)
    })
}

/// Writes a file that has its name once it is whole.
fn to_file(
    args: &Args,
    output: &Path,
    write: impl FnOnce(Watched, Options, &mut BufWriter<NewFile>) -> Result<Context, ExportError>,
) -> anyhow::Result<ExitCode> {
    let (options, file) = (traces::options(&args.file, args.slow)?, traces::watched(&args.file, args.quiet)?);
    let mut out = BufWriter::new(NewFile::create(output, args.force)?);
    let context =
        write(file, options, &mut out).with_context(|| format!("cannot export {}", args.file.display()))?;
    let written = out.into_inner().map_err(io::IntoInnerError::into_error).and_then(NewFile::finish);
    written.with_context(|| format!("cannot write {}", output.display()))?;
    if !args.quiet {
        traces::tell_missing(&args.file, &context);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether nobody reads what is written any more; any other error is one.
fn closed(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        written => written.map(|()| false).context("cannot write output"),
    }
}

fn ring(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(output) = &args.output else { bail!("--to wwt needs a file to write: -o FILE.wwt") };
    if !args.file.is_dir() {
        bail!("{} is no ring of a flight recorder (a directory FILE.wwt.ring)", args.file.display());
    }
    let saved = Save::of_dir(&args.file, output, args.force)?.run()?;
    if !args.quiet {
        super::output::note(&format!("{}: {} bytes", saved.path.display(), saved.bytes));
    }
    Ok(ExitCode::SUCCESS)
}
