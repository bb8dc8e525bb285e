//! The screen without a terminal, for pictures and measurements.

use std::fmt::Write as _;
use std::io;

use jiff::{SignedDuration, Timestamp};
use ratatui::{
    buffer::{Buffer, Cell},
    layout::Rect,
    style::{Color, Modifier},
};
use unicode_width::UnicodeWidthStr as _;

use crate::model::{KtimeNs, Line};
use crate::observe::Observer;
use crate::trace::Input;

use super::draw::draw;
use super::feed::Feed;
use super::keys::Key;
use super::look::Look;
use super::state::{Source, State};

/// Least time between two screens, of the trace's own time.
const FRAME: SignedDuration = SignedDuration::from_millis(100);
/// A cell in a picture, in pixels.
const CELL: (usize, usize) = (8, 17);

/// Takes what a screen takes, and draws as often.
#[derive(Debug)]
pub struct Offscreen {
    state: State,
    feed: Feed,
    look: Look,
    buffer: Buffer,
    drawn: Timestamp,
    frames: u64,
}

impl Offscreen {
    /// One of so many columns and rows.
    pub fn new(look: Look, columns: u16, rows: u16) -> Self {
        let buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        let (state, feed) = (State::new(Source::Trace), Feed::default());
        Self { state, feed, look, buffer, drawn: Timestamp::UNIX_EPOCH, frames: 0 }
    }

    /// Presses keys: `←` is the one that goes back to the stall before, a new line is Enter.
    pub fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.state.refresh();
            self.state.key(match key {
                '←' => Key::Left,
                '\n' => Key::Enter,
                key => Key::Char(key),
            });
        }
    }

    /// How many screens were drawn.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    fn draw(&mut self) {
        self.buffer.reset();
        let area = self.buffer.area;
        draw(&mut self.state, self.look, area, &mut self.buffer);
        self.drawn = self.state.at();
        self.frames += 1;
    }

    fn draw_if_due(&mut self) {
        if self.state.at().duration_since(self.drawn) >= FRAME {
            self.draw();
        }
    }

    /// The screen as a picture, SVG 1.1, on a dark background or a light one.
    pub fn svg(&mut self, dark: bool) -> String {
        self.draw();
        let (ground, text) = if dark { ("#0c0c0c", "#e6e6e6") } else { ("#ffffff", "#1a1a1a") };
        let (columns, rows) = (usize::from(self.buffer.area.width), usize::from(self.buffer.area.height));
        let (width, height) = (columns * CELL.0 + 16, rows * CELL.1 + 16);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"{ground}\"/>\n<g font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"13\" fill=\"{text}\">\n"
        );
        for (row, cells) in self.buffer.content.chunks(columns.max(1)).enumerate() {
            for (from, part) in parts(cells) {
                run(&mut svg, (from, row), &part, cells.get(from), (ground, text));
            }
        }
        svg.push_str("</g>\n</svg>\n");
        svg
    }
}

/// Neighbours of one style, and where they begin; blanks at a row's end are left out.
fn parts(cells: &[Cell]) -> Vec<(usize, String)> {
    let style = |cell: &Cell| (cell.fg, cell.modifier);
    let mut parts = Vec::new();
    let mut from = 0;
    for same in cells.chunk_by(|one, other| style(one) == style(other)) {
        let part: String = same.iter().map(Cell::symbol).collect();
        let reversed = same.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED));
        if reversed || !part.trim().is_empty() {
            parts.push((from, part));
        }
        from += same.len();
    }
    parts
}

fn run(svg: &mut String, at: (usize, usize), part: &str, style: Option<&Cell>, colours: (&str, &str)) {
    let (ground, text) = colours;
    let modifier = style.map_or(Modifier::empty(), |cell| cell.modifier);
    let (x, y) = (8 + at.0 * CELL.0, 8 + at.1 * CELL.1);
    let width = part.width() * CELL.0;
    let mut colour = match style.map(|cell| cell.fg) {
        Some(Color::Indexed(index)) => of_the_cube(index),
        _ => text.to_owned(),
    };
    // `write!` to a String cannot fail.
    if modifier.contains(Modifier::REVERSED) {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{colour}\"/>",
            CELL.1
        );
        ground.clone_into(&mut colour);
    }
    let bold = if modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let dim = if modifier.contains(Modifier::DIM) { " opacity=\"0.7\"" } else { "" };
    // Blanks that are no others' would become one.
    let said = part
        .trim_end()
        .replace(' ', "\u{a0}")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let length = part.trim_end().width() * CELL.0;
    let y = y + 13;
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{colour}\"{bold}{dim}>{said}</text>"
    );
}

/// A colour of the 6×6×6 cube, as xterm has it.
fn of_the_cube(index: u8) -> String {
    let level = |n: u8| [0_u8, 95, 135, 175, 215, 255].get(usize::from(n % 6)).copied().unwrap_or(0);
    let n = index.saturating_sub(16);
    format!("#{:02x}{:02x}{:02x}", level(n / 36), level(n / 6), level(n))
}

impl Observer for Offscreen {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        if Feed::takes(input) {
            self.feed.input(&mut self.state, input);
            self.draw_if_due();
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        Feed::line(&mut self.state, line);
        self.draw_if_due();
        Ok(())
    }

    fn tick(&mut self, now: KtimeNs) -> io::Result<()> {
        self.feed.tick(&mut self.state, now);
        self.draw_if_due();
        Ok(())
    }
}
