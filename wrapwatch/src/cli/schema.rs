//! `wrapwatch schema`: what is printed with `--json`, described for machines (JSON Schema 2020-12); and what is written and sent otherwise: series, tables, attributes.

use std::process::ExitCode;

use anyhow::Context as _;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use clap::ValueEnum;

use strum::VariantArray as _;

use super::output::print;
use crate::{
    diagnose::{Diff, Report},
    export::tables::{self, Table},
    linter::HostReport,
    metrics,
    model::{
        Line,
        doctor::{Access, Doctor},
        ping::Ping,
    },
    wrappers::lint,
};

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of what only [default: everything printed with --json]
    #[arg(value_enum)]
    what: Option<What>,
}

/// What is printed with `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A line of live, record, replay and export --to jsonl
    Live,
    /// report
    Report,
    /// diff
    Diff,
    /// doctor
    Doctor,
    /// doctor --print-access
    Access,
    /// lint
    Lint,
    /// A line of lint --hosts-dir
    LintHosts,
    /// ping
    Ping,
    /// The series that publish has for Prometheus
    Metrics,
    /// The tables of export --to parquet and csv
    Parquet,
    /// The attributes and metrics of export --to otlp and publish --otlp
    #[cfg(feature = "otlp")]
    Otlp,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let described = args.what.and_then(What::described).unwrap_or_else(|| schema(args.what));
    let mut text = serde_json::to_string_pretty(&described).context("cannot print the schema")?;
    text.push('\n');
    print(&text).map(|()| ExitCode::SUCCESS)
}

/// One document that a subcommand prints with `--json`, or any of them.
pub fn schema(what: Option<What>) -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let all = What::value_variants().iter().filter(|known| what.is_none_or(|what| what == **known));
    let documents: Vec<Value> = all.filter_map(|what| what.document(&mut generator)).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wrapwatch --json",
        "description": "Times ending in _ns are nanoseconds; wall-clock times are RFC 3339 in UTC. Fields are added, never renamed or given another meaning.",
        "anyOf": documents,
        "$defs": generator.definitions(),
    })
}

impl What {
    /// What is no document printed with `--json`.
    fn described(self) -> Option<Value> {
        match self {
            Self::Metrics => Some(json!({ "series": metrics::all_series() })),
            Self::Parquet => Some(json!({
                "schema": tables::SCHEMA_VERSION,
                "tables": Table::VARIANTS.iter().map(|table| described(*table)).collect::<Vec<_>>(),
            })),
            #[cfg(feature = "otlp")]
            Self::Otlp => Some(super::export_otlp::described()),
            _ => None,
        }
    }

    /// One that is printed with `--json`.
    fn document(self, generator: &mut SchemaGenerator) -> Option<Value> {
        Some(match self {
            Self::Live => document::<Line>(generator, "A line of live, record, replay and export --to jsonl"),
            Self::Report => document::<Report>(generator, "What report prints"),
            Self::Diff => document::<Diff>(generator, "What diff prints"),
            Self::Doctor => document::<Doctor>(generator, "What doctor prints"),
            Self::Access => document::<Access>(generator, "What doctor --print-access prints"),
            Self::Lint => document::<lint::Report>(generator, "What lint prints"),
            Self::LintHosts => document::<HostReport>(generator, "A line of lint --hosts-dir"),
            Self::Ping => document::<Ping>(generator, "What ping prints"),
            Self::Metrics | Self::Parquet => return None,
            #[cfg(feature = "otlp")]
            Self::Otlp => return None,
        })
    }
}

/// A table, with its columns.
fn described(table: Table) -> Value {
    let column = |column: &tables::Column| {
        let kind: &str = column.kind.into();
        json!({ "name": column.name, "type": kind, "nullable": column.nullable, "about": column.about })
    };
    let columns: Vec<Value> = table.columns().iter().map(column).collect();
    json!({ "name": table.name(), "about": table.about(), "columns": columns })
}

/// One kind of document, by reference to its definition.
fn document<T: JsonSchema>(generator: &mut SchemaGenerator, what: &str) -> Value {
    let schema: Schema = generator.subschema_for::<T>();
    let mut value = schema.to_value();
    if let Some(object) = value.as_object_mut() {
        object.insert("description".to_owned(), what.into());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_types_share_a_name() {
        // A second one of a name gets a number, which would change with the order.
        let schema = schema(None);
        let names = schema["$defs"].as_object().unwrap().keys();
        assert_eq!(
            names.filter(|name| name.ends_with(|c: char| c.is_ascii_digit())).count(),
            0,
            "{schema:#}"
        );
    }

    #[test]
    fn the_schema_is_what_it_was() {
        // Whoever changes it sees here what others have to change.
        insta::assert_snapshot!(serde_json::to_string_pretty(&schema(None)).unwrap());
    }
}
