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
}

impl<W> TextLines<W> {
    /// As `text` says.
    pub const fn new(out: W, text: Text) -> Self {
        Self { out, text, explained: false }
    }
}

impl<W: Write> Observer for TextLines<W> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        if matches!(line, Line::Connection(_)) && !self.explained {
            self.explained = true;
            self.out.write_all(self.text.legend().as_bytes())?;
        }
        self.out.write_all(self.text.line(line).as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
