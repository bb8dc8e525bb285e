//! Text for a terminal of any width from 60 columns on, with or without colour and Unicode.
//!
//! One line a connection; its lookups and queries under it when it was slow. Everything that comes from outside is escaped.

mod connection;
mod escape;
mod fit;
mod lint;
mod other;
mod summary;

use anstyle::{AnsiColor, Style};

use crate::model::{Line, WallTime};

pub use escape::escape;

/// How to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Columns of a line; fewer than 60 are taken as 60.
    pub width: usize,
    /// ANSI colours.
    pub color: bool,
    /// Bars, arrows and ellipses in Unicode; else ASCII.
    pub unicode: bool,
    /// From here on a connection's lookups are shown under it (`--slow`).
    pub slow_ns: u64,
}

/// Narrowest layout.
const NARROWEST: usize = 60;

impl Text {
    /// Width 80, no colour, Unicode, slow from 100 ms.
    pub const PLAIN: Self = Self { width: 80, color: false, unicode: true, slow_ns: 100_000_000 };

    /// A line of output, as text of one line or several, each ended by a newline.
    pub fn line(&self, line: &Line) -> String {
        match line {
            Line::Connection(connection) => self.connection(connection),
            Line::Stall(stall) => self.stall(stall),
            Line::Degradation(degradation) => self.degradation(degradation),
            Line::Lost(lost) => self.lost(lost),
            Line::Summary(summary) => self.summary(summary),
        }
    }

    fn width(&self) -> usize {
        self.width.max(NARROWEST)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    const fn mark(&self) -> &'static str {
        if self.unicode { "…" } else { ".." }
    }

    const fn arrow(&self) -> &'static str {
        if self.unicode { "→" } else { "->" }
    }

    /// A text from outside in this many columns at most.
    fn outside(&self, text: &str, columns: usize) -> String {
        let mut text = escape(text);
        if !self.unicode && !text.is_ascii() {
            text = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        }
        fit::squeeze(&text, columns, self.mark())
    }

    /// Our own text: without Unicode, `µ` becomes `u`.
    fn own(&self, text: &str) -> String {
        if self.unicode {
            text.to_owned()
        } else {
            text.replace('µ', "u").replace('…', "..").replace('→', "->")
        }
    }
}

/// Time of day, UTC, with milliseconds.
fn time(at: WallTime) -> String {
    at.0.strftime("%H:%M:%S%.3f").to_string()
}

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const MAGENTA: Style = AnsiColor::Magenta.on_default();

#[cfg(test)]
mod tests;
