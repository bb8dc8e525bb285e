//! What `wrapwatch export` is asked for.

use std::{path::PathBuf, time::Duration};

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use strum::VariantArray as _;

use super::common::duration;
use crate::export::tables::Table;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The trace, or the ring (FILE.wwt.ring) that a killed flight recorder left
    #[arg(value_name = "FILE.wwt")]
    pub(super) file: PathBuf,
    /// Into which form
    #[arg(long, value_enum, value_name = "FORMAT", required_unless_present = "redact")]
    pub(super) to: Option<Format>,
    /// Make a copy that can be shown to others: addresses and names become pseudonyms, everywhere in the file; -o FILE.wwt
    #[arg(long, conflicts_with = "to", requires = "output")]
    pub(super) redact: bool,
    /// Where to; for all tables a folder [default: stdout, where the form is text]
    #[arg(short, long, value_name = "FILE|DIR")]
    pub(super) output: Option<PathBuf>,
    /// With --to csv and parquet: this table only, into one file [default: all]
    #[arg(long, value_name = "TABLE", value_parser = table())]
    pub(super) table: Option<Table>,
    /// Replace an existing file
    #[arg(long)]
    pub(super) force: bool,
    /// With --to otlp: the names that were asked for as well; each client has its own
    #[arg(long)]
    pub(super) names: bool,
    /// From here on a check is a stall, and for otlp a client slow [default: as recorded]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) slow: Option<Duration>,
    /// Say less on stderr: only errors
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// What a trace can be turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables as text, a file each: connection, lookup, query, stall, finding
    Csv,
    /// What `replay --json` prints: one JSON object a line
    Jsonl,
    /// For OpenTelemetry, in its JSON form: slow and failed clients as traces, stalls and findings as logs, a file each
    Otlp,
    /// The same tables as csv, for DuckDB, ClickHouse and others
    #[cfg(feature = "parquet")]
    Parquet,
    /// DNS messages for Wireshark, with comments: whose, for which rule, what became of them
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
