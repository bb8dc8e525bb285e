//! Text for a terminal of any width from 60 columns on, with or without colour and Unicode.
//!
//! One line a connection; its lookups and queries under it when it was slow. Everything that comes from outside is escaped.
//! Times of day are UTC where no other zone is asked for.

/// `write!` to a String, which cannot fail.
macro_rules! put {
    ($text:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($text, $($arg)*);
    }};
}

mod connection;
mod cost;
mod details;
mod doctor;
mod escape;
pub(in crate::render) mod fit;
mod lint;
mod other;
mod ping;
mod summary;

use anstyle::{AnsiColor, Style};
use jiff::tz::{Offset, TimeZone};

use crate::diagnose::bare;
use crate::model::{Client, Line, WallTime};

pub use connection::outcome_word;
pub use cost::cost;
pub use escape::escape;
pub(in crate::render) use escape::is_plain;
pub use fit::message;
pub(in crate::render) use summary::{lookups_and_unknown, requests};

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
    /// Times of day are of this zone; none: UTC.
    pub zone: Option<&'static TimeZone>,
}

/// Narrowest layout.
const NARROWEST: usize = 60;

impl Text {
    /// Width 80, no colour, Unicode, slow from 100 ms.
    pub const PLAIN: Self = Self { width: 80, color: false, unicode: true, slow_ns: 100_000_000, zone: None };

    /// A line of output, as text of one line or several, each ended by a newline.
    pub fn line(&self, line: &Line) -> String {
        let mut text = String::new();
        self.put_line(line, &mut text);
        text
    }

    /// The same behind what is there.
    pub fn put_line(&self, line: &Line, text: &mut String) {
        match line {
            Line::Connection(connection) | Line::Request(connection) => self.put_connection(connection, text),
            Line::Stall(stall) => text.push_str(&self.stall(stall)),
            Line::Degradation(degradation) => text.push_str(&self.degradation(degradation)),
            Line::Lost(lost) => text.push_str(&self.lost(lost)),
            Line::Summary(summary) => text.push_str(&self.summary(summary)),
        }
    }

    pub(in crate::render) fn width(&self) -> usize {
        self.width.max(NARROWEST)
    }

    pub(in crate::render) fn paint(&self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// What `put` writes, in this style.
    fn painted(&self, text: &mut String, style: Style, put: impl FnOnce(&mut String)) {
        if !self.color {
            return put(text);
        }
        put!(text, "{style}");
        put(text);
        put!(text, "{style:#}");
    }

    pub(in crate::render) const fn mark(&self) -> &'static str {
        if self.unicode { "…" } else { ".." }
    }

    const fn arrow(&self) -> &'static str {
        if self.unicode { "→" } else { "->" }
    }

    /// A text from outside in this many columns at most.
    pub(in crate::render) fn outside(&self, text: &str, columns: usize) -> String {
        let mut text = escape(text);
        if !self.unicode && !text.is_ascii() {
            text = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        }
        fit::squeeze(&text, columns, self.mark())
    }

    /// Our own text: without Unicode, `µ` becomes `u`.
    pub(in crate::render) fn own(&self, text: &str) -> String {
        if self.unicode {
            text.to_owned()
        } else {
            text.replace('µ', "u").replace('…', "..").replace('→', "->")
        }
    }

    /// The same of what was written from here on.
    fn make_own(&self, text: &mut String, from: usize) {
        if !self.unicode && !text[from..].is_ascii() {
            let own = self.own(&text[from..]);
            text.replace_range(from.., &own);
        }
    }

    /// Time of day with milliseconds.
    fn put_time(&self, at: WallTime, text: &mut String) {
        let time = self.zone.map_or_else(|| Offset::UTC.to_datetime(at.0), |zone| zone.to_datetime(at.0));
        for (part, behind) in [(time.hour(), ':'), (time.minute(), ':'), (time.second(), '.')] {
            put_two_digits(part.unsigned_abs(), text);
            text.push(behind);
        }
        let [hundreds, rest] = [time.millisecond() / 100, time.millisecond() % 100];
        text.push(digit(u8::try_from(hundreds).unwrap_or(0)));
        put_two_digits(u8::try_from(rest).unwrap_or(0), text);
    }

    /// A note under a line, wrapped.
    fn note(&self, text: &mut String, style: Style, note: &str) {
        for line in fit::wrap(&self.own(note), self.width() - 4, 2, self.mark()).lines() {
            put!(text, "    {}\n", self.paint(style, line));
        }
    }
}

/// A number below 100. The library's way to write numbers takes ten times as long, and each line has the time.
fn put_two_digits(number: u8, text: &mut String) {
    text.push(digit(number / 10));
    text.push(digit(number % 10));
}

fn digit(number: u8) -> char {
    char::from(b'0' + number % 10)
}

/// `2026-11-22 05:43:09 to 05:43:26 UTC`; with the second date where it is another one.
pub(in crate::render) fn period(from: WallTime, to: WallTime) -> String {
    let day = |at: WallTime| at.0.strftime("%F").to_string();
    let until = if day(from) == day(to) { "%T" } else { "%F %T" };
    format!("{} to {} UTC", from.0.strftime("%F %T"), to.0.strftime(until))
}

/// Who connected.
pub(in crate::render) fn client(peer: Option<Client>) -> String {
    peer.map_or_else(|| "?".to_owned(), |peer| peer.to_string())
}

/// A file's name without its folders.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

pub(in crate::render) const DIM: Style = Style::new().dimmed();
pub(in crate::render) const BOLD: Style = Style::new().bold();
pub(in crate::render) const RED: Style = AnsiColor::Red.on_default();
pub(in crate::render) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(in crate::render) const GREEN: Style = AnsiColor::Green.on_default();
const MAGENTA: Style = AnsiColor::Magenta.on_default();

#[cfg(test)]
mod tests;
