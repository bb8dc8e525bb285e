//! Text into columns: widths as a terminal counts them, and what does not fit loses its middle.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns a text takes.
pub(in crate::render) fn width(text: &str) -> usize {
    // Nearly all are plain, and a byte is a column; of some there is `µ`, which is two bytes.
    let mut micro = 0;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b' '..=b'~' => {}
            0xc2 if bytes.next() == Some(0xb5) => micro += 1,
            _ => return text.width(),
        }
    }
    text.len() - micro
}

/// The text in `max` columns at most: beginning and end stay, the middle becomes `mark`.
pub(in crate::render) fn squeeze(text: &str, max: usize, mark: &str) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let mark = if width(mark) <= max { mark } else { "" };
    let room = max - width(mark);
    let head = prefix(text.chars(), room.div_ceil(2));
    let tail = prefix(text.chars().rev(), room - width(&head));
    format!("{head}{mark}{}", tail.chars().rev().collect::<String>())
}

fn prefix(chars: impl Iterator<Item = char>, max: usize) -> String {
    let mut taken = 0;
    chars
        .take_while(|c| {
            taken += c.width().unwrap_or(0);
            taken <= max
        })
        .collect()
}

/// Squeezed into and padded to exactly `columns`.
pub(in crate::render) fn left(text: &str, columns: usize, mark: &str) -> String {
    let mut text = squeeze(text, columns, mark);
    fill(&mut text, 0, columns);
    text
}

/// As [`left`], at the right edge.
pub(in crate::render) fn right(text: &str, columns: usize, mark: &str) -> String {
    let mut text = squeeze(text, columns, mark);
    shift(&mut text, 0, columns);
    text
}

/// Squeezes what was written from here on.
pub(super) fn cut(text: &mut String, from: usize, columns: usize, mark: &str) {
    if width(&text[from..]) > columns {
        let squeezed = squeeze(&text[from..], columns, mark);
        text.replace_range(from.., &squeezed);
    }
}

/// Pads what was written from here on with blanks behind it.
pub(super) fn fill(text: &mut String, from: usize, columns: usize) {
    let pad = columns.saturating_sub(width(&text[from..]));
    (0..pad).for_each(|_| text.push(' '));
}

/// Pads what was written from here on with blanks before it.
pub(super) fn shift(text: &mut String, from: usize, columns: usize) {
    let pad = columns.saturating_sub(width(&text[from..]));
    (0..pad).for_each(|_| text.insert(from, ' '));
}

/// Units that stand behind their number.
const UNITS: [&str; 12] = ["%", "ns", "µs", "ms", "s", "min", "h", "B", "KB", "MB", "GB", "bytes"];

/// What no line ends within: words, and numbers with their units.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let mut words = text.split_whitespace().peekable();
    std::iter::from_fn(move || {
        let mut piece = words.next()?.to_owned();
        if let Some(unit) = words.next_if(|word| is_unit_of(word, &piece)) {
            piece.push(' ');
            piece.push_str(unit);
        }
        Some(piece)
    })
}

/// Whether a word is a unit and stands behind its number.
fn is_unit_of(word: &str, before: &str) -> bool {
    before.ends_with(|c: char| c.is_ascii_digit())
        && UNITS.contains(&word.trim_end_matches([',', ';', '.', ':', ')']))
}

/// Text that is wrapped elsewhere, and there too leaves numbers with their units: no-break spaces between them.
pub(in crate::render) fn unbroken(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut before = "";
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            whole.push(if is_unit_of(word, before) { '\u{a0}' } else { ' ' });
        }
        whole.push_str(word);
        before = word;
    }
    whole
}

/// Words into lines of `columns`, those after the first indented by `indent`; a word that is longer than a line is squeezed.
pub(in crate::render) fn wrap(text: &str, columns: usize, indent: usize, mark: &str) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in pieces(text) {
        let word = squeeze(&word, columns.saturating_sub(indent).max(1), mark);
        if used > 0 && used + 1 + width(&word) > columns {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            used = indent;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        used += width(&word);
        lines.push_str(&word);
    }
    lines
}

/// A message in lines of `columns` by whole words; as it is where one of them is longer, so that a path can be copied.
pub fn message(text: &str, columns: usize) -> String {
    if width(text) <= columns || text.split_whitespace().any(|word| width(word) + 2 > columns) {
        return text.to_owned();
    }
    wrap(text, columns, 2, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_loses_its_middle() {
        assert_eq!(squeeze("abcdefghij", 10, "…"), "abcdefghij");
        assert_eq!(squeeze("abcdefghij", 5, "…"), "ab…ij");
        assert_eq!(squeeze("abcdefghij", 6, "..."), "ab...j");
        assert_eq!(squeeze("例え例え例え", 7, "…"), "例…例え");
        assert_eq!(squeeze("abc", 0, "…"), "");
    }

    #[test]
    fn columns_are_exact() {
        for columns in 0..12 {
            for text in ["", "abc", "例え例え", "0123456789abc"] {
                assert_eq!(width(&left(text, columns, "…")), columns);
                assert_eq!(width(&right(text, columns, "…")), columns);
            }
        }
    }

    #[test]
    fn a_width_is_what_the_terminal_makes_of_it() {
        let texts = ["", "dns 2.00 s", "87 µs", "µ", "87 µs, dns 1 µs", "é", "µé", "例 µs", "a\u{ad}b", "\t"];
        for text in texts {
            assert_eq!(width(text), text.width(), "{text:?}");
        }
        assert_eq!(width("87 µs"), 5);
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        let text = "the server paid 0.37 % of a core (143 ns a run), 12.2 s; 3 months, 5";
        let want = "the server paid\n0.37 % of a core\n(143 ns a run),\n12.2 s; 3 months,\n5";
        assert_eq!(wrap(text, 17, 0, "…"), want);
        for columns in 9..80 {
            let wrapped = wrap(text, columns, 0, "…");
            let alone =
                |line: &str| line.split(' ').next().is_some_and(|word| ["%", "ns", "s;"].contains(&word));
            assert!(!wrapped.lines().any(alone), "{wrapped}");
            assert!(wrapped.lines().all(|line| width(line) <= columns), "{wrapped}");
        }
    }

    #[test]
    fn what_is_wrapped_elsewhere_is_kept_together_there() {
        assert_eq!(unbroken(" 83 % of  it, 12.2 s; 3 months"), " 83\u{a0}% of  it, 12.2\u{a0}s; 3 months");
    }

    #[test]
    fn a_message_is_never_squeezed() {
        assert_eq!(message("cost: 1.8 % of a core", 20), "cost: 1.8 % of a\n  core");
        let path = "cannot write /a/very/long/path/of/somebody.wwt: no space left";
        assert_eq!(message(path, 20), path);
    }

    #[test]
    fn wrapped_lines_keep_their_width() {
        let text = wrap("one two three 0123456789012345678901234567890 four", 12, 2, "…");
        assert!(text.lines().all(|line| width(line) <= 12), "{text}");
        assert_eq!(text.lines().next(), Some("one two"));
    }
}
