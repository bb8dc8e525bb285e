//! `wrapwatch export --to csv` and `--to parquet`: a trace as tables, a file each in a folder, or one of them.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use strum::VariantArray as _;

#[cfg(feature = "parquet")]
use crate::export::tables::Parquet;
use crate::{
    engine::Options,
    export::{
        ExportError, diagnose,
        tables::{Csv, Table, Tables, WriteRows},
    },
};

use super::{export_args::Args, new_file::SharedFile, progress::Watched, traces};

/// How the trace is read, and the trace.
pub(super) type Trace = (Options, Watched);

pub(super) fn trace(args: &Args) -> anyhow::Result<Trace> {
    Ok((traces::options(&args.file, args.slow)?, traces::watched(&args.file, args.is_quiet())?))
}

/// Tables as CSV.
pub fn csv(args: &Args) -> anyhow::Result<ExitCode> {
    let writer = |table: Table, out: Box<dyn Write + Send>| -> io::Result<Box<dyn WriteRows>> {
        Ok(Box::new(Csv::new(table.columns(), out)?))
    };
    let (None, Some(table)) = (&args.output, args.table) else { return to_files(args, "csv", writer) };
    let (trace, mut tables) = (trace(args)?, Tables::default());
    match writer(table, Box::new(BufWriter::new(io::stdout()))) {
        Ok(writer) => tables.write(table, writer),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error).context("cannot write output"),
    }
    match told(args, trace, tables) {
        // Whoever reads has seen enough.
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        told => told.with_context(|| format!("cannot export {}", args.file.display())),
    }
}

/// Tables as Parquet.
#[cfg(feature = "parquet")]
pub fn parquet(args: &Args) -> anyhow::Result<ExitCode> {
    to_files(args, "parquet", |table, out| Ok(Box::new(Parquet::new(table, out)?)))
}

/// Into a folder, or one table into a file. All files are begun before anything is read, and have their names once all of them are whole.
fn to_files(
    args: &Args,
    suffix: &str,
    writer: impl Fn(Table, Box<dyn Write + Send>) -> io::Result<Box<dyn WriteRows>>,
) -> anyhow::Result<ExitCode> {
    let Some(output) = &args.output else {
        bail!("--to {suffix} writes a file for each table: -o DIR, or --table TABLE -o FILE.{suffix}")
    };
    let trace = trace(args)?;
    let (mut tables, mut files) = (Tables::default(), Vec::new());
    let mut begin = |table: Table, path: &Path| {
        let file = SharedFile::create(path, args.force)?;
        let cannot = || format!("cannot write {}", path.display());
        tables.write(table, writer(table, Box::new(file.clone())).with_context(cannot)?);
        files.push((path.to_owned(), file));
        anyhow::Ok(())
    };
    if let Some(table) = args.table {
        begin(table, output)?;
    } else {
        make_folder(output)?;
        for table in Table::VARIANTS {
            begin(*table, &output.join(format!("{}.{suffix}", table.name())))?;
        }
    }
    let done = told(args, trace, tables).with_context(|| format!("cannot export {}", args.file.display()))?;
    for (path, file) in files {
        file.finish().with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(done)
}

/// As traces are: for its owner only.
pub(super) fn make_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.with_context(|| format!("cannot make the folder {}", path.display())),
    }
}

fn told(args: &Args, (options, file): Trace, mut tables: Tables) -> Result<ExitCode, ExportError> {
    let (report, context) = diagnose(file, options, &mut tables, &args.file.display().to_string())?;
    tables.finish(&report)?;
    if !args.quiet {
        traces::tell_missing(&args.file, &context);
    }
    Ok(ExitCode::SUCCESS)
}
