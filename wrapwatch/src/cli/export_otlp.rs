//! `wrapwatch export --to otlp`: a folder with a file for each of OpenTelemetry's signals, a batch a line.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use strum::VariantArray as _;

use super::{
    export_args::Args,
    export_tables::{make_folder, trace},
    new_file::SharedFile,
    traces,
};
use crate::export::{
    diagnose,
    otlp::{Otlp, OtlpOptions, Signal, TakeBatches},
};
use crate::metrics::Metrics;
use crate::model::WallTime;
use crate::observe::Tee;

/// A file for each signal.
struct Files(BTreeMap<Signal, SharedFile>);

impl TakeBatches for Files {
    fn batch(&mut self, signal: Signal, _items: u64, mut json: Vec<u8>) -> io::Result<()> {
        json.push(b'\n');
        self.0.get_mut(&signal).map_or(Ok(()), |file| file.write_all(&json))
    }
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(output) = &args.output else { bail!("--to otlp writes a file for each signal: -o DIR") };
    let (options, file) = trace(args)?;
    make_folder(output)?;
    let mut files = BTreeMap::new();
    for signal in Signal::VARIANTS {
        let path = output.join(format!("{}.jsonl", <&str>::from(signal)));
        files.insert(*signal, SharedFile::create(&path, args.force)?);
    }
    let cannot = || format!("cannot export {}", args.file.display());
    let told = OtlpOptions { slow_ns: options.slow_ns, sampling: args.sample, names: args.names };
    let trace = args.file.display().to_string();
    let mut observers = Tee(Metrics::new(), Otlp::new(Files(files), told));
    let (report, context) = diagnose(file, options, &mut observers, &trace).with_context(cannot)?;
    let Tee(metrics, mut otlp) = observers;
    let begin = report.trace.head.clock.wall(report.trace.head.clock.ktime);
    let end = report.trace.to.map_or(begin, |to: WallTime| to.max(begin));
    otlp.counted(&metrics, &trace, (begin, end)).with_context(cannot)?;
    for file in otlp.finish(&report).with_context(cannot)?.0.into_values() {
        file.finish().with_context(|| format!("cannot write into {}", output.display()))?;
    }
    if !args.quiet {
        traces::tell_missing(&args.file, &context);
    }
    Ok(ExitCode::SUCCESS)
}
