//! Lines as JSON, one object a line: `live --json`, `replay --json` and `export --to jsonl`.

use std::io::{self, Write};

use super::Observer;
use crate::{model::Line, render::json};

/// Writes each line to `W`.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    /// Where lines are made; its room is used again.
    room: Vec<u8>,
}

impl<W> JsonLines<W> {
    /// To `out`.
    pub const fn new(out: W) -> Self {
        Self { out, room: Vec::new() }
    }

    /// What was written to.
    #[cfg(test)]
    pub(crate) const fn written(&self) -> &W {
        &self.out
    }
}

impl<W: Write> Observer for JsonLines<W> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        json::write_line(&mut self.out, line, &mut self.room)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
