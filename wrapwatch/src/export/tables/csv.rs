//! A table as CSV (RFC 4180, but lines end in LF): the columns' names, then a line for each row. An empty field is null; an empty text is `""`.
//!
//! Names are anybody's. So no text has a control character, and none begins as a spreadsheet's formula does: `'` stands before it then, as it would be typed there.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::{Cell, Column, WriteRows};

/// Writes a table, see the [module](self).
#[derive(Debug)]
pub struct Csv<W> {
    out: W,
    line: String,
}

impl<W: Write> Csv<W> {
    /// To `out`, which had better be buffered.
    pub fn new(columns: &[Column], mut out: W) -> io::Result<Self> {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        writeln!(out, "{}", names.join(","))?;
        Ok(Self { out, line: String::new() })
    }
}

impl<W: Write> WriteRows for Csv<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        self.line.clear();
        for (n, cell) in cells.iter().enumerate() {
            if n > 0 {
                self.line.push(',');
            }
            // Writing to a string does not fail.
            let _ = match cell {
                Cell::Null => Ok(()),
                Cell::Integer(number) => write!(self.line, "{number}"),
                Cell::Boolean(is) => write!(self.line, "{is}"),
                Cell::Timestamp(at) => write!(self.line, "{at}"),
                Cell::Text(text) => {
                    push_text(&mut self.line, text);
                    Ok(())
                }
            };
        }
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

fn push_text(line: &mut String, text: &str) {
    let formula = text.starts_with(['=', '+', '-', '@']);
    let plain =
        !text.is_empty() && !formula && !text.contains([',', '"', ' ']) && !text.contains(char::is_control);
    if plain {
        line.push_str(text);
        return;
    }
    line.push('"');
    if formula {
        line.push('\'');
    }
    for c in text.chars() {
        match c {
            '"' => line.push_str("\"\""),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line.push('"');
}
