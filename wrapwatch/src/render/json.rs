//! JSON that can be shown on a terminal: what a terminal could act upon, or what shows nothing, is written as `\u009b`, which is the same JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::text::is_plain;
use crate::model::Line;

/// Writes a line, newline included, as `live --json` and `export --to jsonl` print them. It is made in `room`, which may be used again.
///
/// # Errors
/// What the writer says.
pub fn write_line(mut out: impl Write, line: &Line, room: &mut Vec<u8>) -> io::Result<()> {
    room.clear();
    serde_json::to_writer(&mut *room, line)?;
    room.push(b'\n');
    if is_plain_json(room) {
        return out.write_all(room);
    }
    out.write_all(safe(String::from_utf8_lossy(room).into_owned()).as_bytes())
}

/// In one line.
///
/// # Errors
/// Where a value has no form in JSON.
pub fn one_line(value: &impl Serialize) -> io::Result<String> {
    Ok(safe(serde_json::to_string(value)?))
}

/// In lines, indented.
///
/// # Errors
/// Where a value has no form in JSON.
pub fn pretty(value: &impl Serialize) -> io::Result<String> {
    Ok(safe(serde_json::to_string_pretty(value)?))
}

/// Outside of its strings JSON is ASCII, and in them any character may be given by its number (RFC 8259, 7).
fn safe(json: String) -> String {
    if is_plain_json(json.as_bytes()) {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_plain(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Whether there is nothing in it but what any terminal shows.
fn is_plain_json(json: &[u8]) -> bool {
    // To the end whatever comes, so that the compiler looks at many bytes at once.
    let is_plain_byte = |byte: u8| matches!(byte, b' '..=b'~' | b'\n');
    json.iter().fold(true, |plain, &byte| plain & is_plain_byte(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_without_what_a_terminal_acts_upon() {
        let value = ["a\x1b[2J\x7f", "\u{9b}31m", "\u{202e}moc", "müller.例え", "\u{e0041}", "\"\\\n\t"];
        for json in [one_line(&value).unwrap(), pretty(&value).unwrap()] {
            assert!(json.chars().all(|c| c == '\n' || is_plain(c)), "{json}");
            assert!(json.contains("müller.例え"));
            let back: [String; 6] = serde_json::from_str(&json).unwrap();
            assert_eq!(back, value);
        }
        assert_eq!(one_line(&value).unwrap().lines().count(), 1);
    }
}
