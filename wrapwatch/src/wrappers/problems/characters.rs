//! Characters that nobody sees and libwrap takes for part of a word.

use super::{Finding, Problem, ProblemKind as Kind, Scene, Severity, TableKind};

pub(super) fn find(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    for kind in [TableKind::Allow, TableKind::Deny] {
        let text = scene.texts[kind as usize];
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            // A comment may hold anything; what stands before the # makes it none.
            if line.is_ascii() && !line.iter().any(|&byte| is_hidden_byte(byte)) || line.starts_with(b"#") {
                continue;
            }
            let Some((column, what)) = first(line) else { continue };
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let message = format!(
                "{what} in column {column} cannot be seen, and libwrap takes it for part of the word: what it stands in matches nothing."
            );
            let finding = Finding::new(Kind::InvisibleCharacter, Severity::Critical, message)
                .change("Delete it and type the blank again.");
            out.push(Problem {
                column: Some(column),
                ..scene.in_file(scene.path(kind), Some(number), finding)
            });
        }
    }
}

/// The first invisible character of a line: its column from 1, and its name.
fn first(line: &[u8]) -> Option<(u32, String)> {
    let mut column = 0u32;
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            column = column.saturating_add(1);
            if let Some(name) = name(c) {
                return Some((column, name));
            }
        }
        if let Some(byte) = chunk.invalid().first() {
            column = column.saturating_add(1);
            if *byte == 0xa0 {
                return Some((column, "A no-break space (byte 0xA0, Latin-1)".to_owned()));
            }
        }
    }
    None
}

const fn is_hidden_byte(byte: u8) -> bool {
    // A tab is a blank, a carriage return is one for libwrap; NUL has its own problem.
    matches!(byte, 0x01..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f)
}

fn name(c: char) -> Option<String> {
    let name = match c {
        '\u{a0}' => "no-break space",
        '\u{ad}' => "soft hyphen",
        '\u{feff}' => "byte order mark",
        '\u{200b}' => "zero width space",
        '\u{200c}' | '\u{200d}' | '\u{2060}'..='\u{206f}' => "character of no width",
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' => "mark of writing direction",
        '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{1680}' => "wide or narrow space",
        '\u{2028}' | '\u{2029}' | '\u{85}' => "line separator",
        '\u{180e}' => "vowel separator",
        c if u8::try_from(c).is_ok_and(is_hidden_byte) => "control character",
        _ => return None,
    };
    Some(format!("A {name} (U+{:04X})", u32::from(c)))
}

/// A list as people read it: without what cannot be seen, and with blanks in its place.
pub(super) fn as_seen(list: &[u8]) -> [Vec<u8>; 2] {
    let hidden = |c: char| c == char::REPLACEMENT_CHARACTER || name(c).is_some();
    ["", " "].map(|instead| {
        let text = String::from_utf8_lossy(list);
        text.replace(hidden, instead).into_bytes()
    })
}

/// A word without what cannot be seen.
pub(in crate::wrappers) fn visible(text: &str) -> String {
    text.chars().filter(|&c| name(c).is_none()).collect()
}
