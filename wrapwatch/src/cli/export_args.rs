//! What `wrapwatch export` is asked for.

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use strum::VariantArray as _;

use super::common::duration;
#[cfg(feature = "otlp")]
use super::otlp_args::OtlpArgs;
use crate::export::tables::Table;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The trace, or the ring (FILE.wwt.ring) that a killed flight recorder left
    #[arg(value_name = "FILE.wwt")]
    pub(super) file: PathBuf,
    /// Format to write
    #[arg(long, value_enum, value_name = "FORMAT", required_unless_present = "redact")]
    pub(super) to: Option<Format>,
    /// Write a copy that you can show to others: pseudonyms replace addresses and names everywhere in it; needs -o FILE.wwt
    #[arg(long, conflicts_with = "to", requires = "output")]
    pub(super) redact: bool,
    /// Output file; a folder for formats of several files [default: stdout, for text formats]
    #[arg(short, long, value_name = "FILE|DIR")]
    pub(super) output: Option<PathBuf>,
    /// With --to csv and parquet: this table only, into one file [default: all]
    #[arg(long, value_name = "TABLE", value_parser = table())]
    pub(super) table: Option<Table>,
    /// Replace an existing file
    #[arg(long)]
    pub(super) force: bool,
    #[cfg(feature = "otlp")]
    #[command(flatten)]
    pub(super) otlp: OtlpArgs,
    /// Threshold for stalls and, with otlp, for slow clients [default: as recorded]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) slow: Option<Duration>,
    /// Print only errors on stderr
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl Args {
    /// Whether progress would be in the way: what is written goes to the terminal.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet || self.output.is_none() && std::io::stdout().is_terminal()
    }
}

/// What a trace can be turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables as text, a file each: connection, lookup, query, stall, finding
    Csv,
    /// What `replay --json` prints: one JSON object a line
    Jsonl,
    /// For OpenTelemetry, in its JSON form: slow and failed clients as traces, stalls and findings as logs, what was counted as metrics, a file each
    #[cfg(feature = "otlp")]
    Otlp,
    /// The same tables as csv, for DuckDB, ClickHouse and others
    #[cfg(feature = "parquet")]
    Parquet,
    /// DNS messages for Wireshark, with comments: which client, which rule, which outcome
    Pcapng,
    /// Timelines for ui.perfetto.dev: accept threads, clients, who waits behind whom
    Perfetto,
    /// A trace, of a flight recorder's ring
    Wwt,
}

impl Format {
    pub(super) const fn is_tables(self) -> bool {
        match self {
            Self::Csv => true,
            #[cfg(feature = "parquet")]
            Self::Parquet => true,
            _ => false,
        }
    }
}

/// Reads a table's name.
fn table() -> impl TypedValueParser<Value = Table> {
    let names = Table::VARIANTS.iter().map(|table| table.name());
    PossibleValuesParser::new(names).try_map(|name| {
        let table = Table::VARIANTS.iter().find(|table| table.name() == name);
        table.copied().ok_or("no such table")
    })
}
