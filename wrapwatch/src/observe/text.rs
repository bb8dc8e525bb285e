//! Lines as text; the columns are explained before the first connection.

use std::io::{self, Write};

use super::Observer;
use crate::{model::Line, render::text::Text};

/// Writes each line to `W`.
#[derive(Debug)]
pub struct TextLines<W> {
    out: W,
    text: Text,
    explained: bool,
    /// The line that is written; its room is used again.
    line: String,
}

impl<W> TextLines<W> {
    /// As `text` says.
    pub const fn new(out: W, text: Text) -> Self {
        Self { out, text, explained: false, line: String::new() }
    }
}

impl<W: Write> Observer for TextLines<W> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        if matches!(line, Line::Connection(_)) && !self.explained {
            self.explained = true;
            self.out.write_all(self.text.legend().as_bytes())?;
        }
        self.line.clear();
        self.text.put_line(line, &mut self.line);
        self.out.write_all(self.line.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
