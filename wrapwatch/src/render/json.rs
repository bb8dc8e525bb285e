//! One JSON object a line, as `live --json` and `export --to jsonl` print them.

use std::io::{self, Write};

use crate::model::Line;

/// Writes a line, newline included.
///
/// # Errors
/// What the writer says.
pub fn write_line(mut out: impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")
}
