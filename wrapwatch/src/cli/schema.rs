//! `wrapwatch schema`: what is printed with `--json`, described for machines (JSON Schema 2020-12).

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::model::Line;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let mut text = serde_json::to_string_pretty(&schema()).context("cannot print the schema")?;
    text.push('\n');
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Every document that a subcommand prints with `--json`.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let documents = [document::<Line>(&mut generator, "A line of live, replay and export --to jsonl")];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wrapwatch --json",
        "description": "Times ending in _ns are nanoseconds; wall-clock times are RFC 3339 in UTC. Fields are added, never renamed or given another meaning.",
        "anyOf": documents,
        "$defs": generator.definitions(),
    })
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
    fn the_schema_is_what_it_was() {
        // Whoever changes it sees here what others have to change.
        insta::assert_snapshot!(serde_json::to_string_pretty(&schema()).unwrap());
    }
}
