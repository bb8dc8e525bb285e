//! Text of the other views as rows of the screen.

use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line as Row, Span},
};
use unicode_width::UnicodeWidthStr as _;

use crate::model::{Nanos, Share};

// Of the 256 colours, whose shades are fixed, those that can be read on black as well as on white, also by who sees no red, no green or no blue: a terminal's own
// green or yellow cannot on white, and a pure red is dark on black to who sees no red.
pub(super) const RED: Color = Color::Indexed(167);
pub(super) const GREEN: Color = Color::Indexed(28);
pub(super) const YELLOW: Color = Color::Indexed(130);
const MAGENTA: Color = Color::Indexed(133);
const CYAN: Color = Color::Indexed(30);

/// A row of our own text, whose colours are those of `render::text`: SGR sequences (ECMA-48), and nothing else that a terminal acts upon, since all that
/// comes from outside is escaped there.
pub(super) fn styled(text: &str) -> Row<'static> {
    let mut spans = Vec::new();
    let mut style = Style::new();
    for part in text.split('\x1b') {
        let said = match part.strip_prefix('[').and_then(|rest| rest.split_once('m')) {
            Some((codes, said)) => {
                style = codes.split(';').fold(style, with);
                said
            }
            None => part,
        };
        if !said.is_empty() {
            spans.push(Span::styled(said.to_owned(), style));
        }
    }
    Row::from(spans)
}

fn with(style: Style, code: &str) -> Style {
    match code {
        "1" => style.add_modifier(Modifier::BOLD),
        "2" => style.add_modifier(Modifier::DIM),
        "31" => style.fg(RED),
        "32" => style.fg(GREEN),
        "33" => style.fg(YELLOW),
        "35" => style.fg(MAGENTA),
        "36" => style.fg(CYAN),
        "0" | "" => Style::new(),
        _ => style,
    }
}

/// Words in rows of so many columns; all rows but the first begin with blanks.
pub(super) fn rows_of(text: &str, columns: usize, indent: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    for word in text.split_inclusive(' ') {
        if row.width() + word.trim_end().width() > columns && !row.trim().is_empty() {
            rows.push(row.trim_end().to_owned());
            row = " ".repeat(indent);
        }
        row.push_str(word);
    }
    rows.push(row.trim_end().to_owned());
    rows
}

/// The share in whole percent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.0} %", Share::of(part, whole).percent()) }
}

/// A duration, or a dash.
pub(super) fn duration(ns: u64) -> String {
    if ns == 0 { "-".to_owned() } else { Nanos(ns).to_string() }
}

/// Values as bars one cell wide; where there is no Unicode as digits from 0 to 9.
pub(super) fn sparkline(values: &[u64], unicode: bool) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let cell = |&value: &u64| {
        let levels: u64 = if unicode { 8 } else { 9 };
        let level = usize::try_from((value.saturating_mul(levels)).div_ceil(most)).unwrap_or(0);
        if unicode {
            BARS.get(level).copied().unwrap_or('█')
        } else {
            char::from_digit(u32::try_from(level).unwrap_or(9), 10).filter(|_| value > 0).unwrap_or(' ')
        }
    };
    values.iter().map(cell).collect()
}
