//! Lines as JSON, one object a line: `live --json`, `replay --json` and `export --to jsonl`.

use std::io::{self, Write};

use super::Observer;
use crate::{model::Line, render::json};

/// Writes each line to `W`.
#[derive(Debug)]
pub struct JsonLines<W>(pub W);

impl<W: Write> Observer for JsonLines<W> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        json::write_line(&mut self.0, line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
