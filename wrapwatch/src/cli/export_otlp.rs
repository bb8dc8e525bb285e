//! `wrapwatch export --to otlp`: a folder with a file for each of OpenTelemetry's signals, a batch a line.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use strum::VariantArray as _;

use super::{
    export_args::{Args, Format},
    export_tables::{make_folder, trace},
    new_file::SharedFile,
    traces,
};
use crate::export::{
    diagnose,
    otlp::{self, Otlp, OtlpOptions, Sampling, Signal, TakeBatches},
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

/// What goes with this format only.
pub fn check(args: &Args) -> anyhow::Result<()> {
    if args.to == Some(Format::Otlp) {
        return Ok(());
    }
    if args.otlp.names {
        return Err(super::wrong_use("--names goes with --to otlp"));
    }
    if args.otlp.sample != Sampling::NONE {
        return Err(super::wrong_use("--sample goes with --to otlp"));
    }
    Ok(())
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
    let told = OtlpOptions { slow_ns: options.slow_ns, sampling: args.otlp.sample, names: args.otlp.names };
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

/// What `schema otlp` prints: attributes and metrics.
pub fn described() -> Value {
    let attribute =
        |(of, name, about): &(&str, &str, &str)| json!({ "of": of, "name": name, "about": about });
    let attributes: Vec<Value> = otlp::ATTRIBUTES.iter().map(attribute).collect();
    let metric = |(name, unit, series)| json!({ "name": name, "unit": unit, "series": series });
    let metrics: Vec<Value> = otlp::metric_names().into_iter().map(metric).collect();
    json!({ "schema": otlp::SCHEMA_VERSION, "attributes": attributes, "metrics": metrics })
}
