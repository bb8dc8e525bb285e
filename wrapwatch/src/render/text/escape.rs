//! Text from outside (names, paths, rules) made safe for a terminal.
//!
//! DNS names are hostile input: a control character could move the cursor or change colours, a bidirectional override
//! could make a line read as another.

use unicode_width::UnicodeWidthChar as _;

/// The text with everything that a terminal could act upon, or that shows nothing, written out as `\x1b` or `\u{202e}`.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            safe.push(c);
        } else if c.is_ascii() {
            put!(safe, "\\x{:02x}", u32::from(c));
        } else {
            put!(safe, "\\u{{{:x}}}", u32::from(c));
        }
    }
    safe
}

/// Printable, and as wide as it looks: no control or format character, no bidirectional override, nothing of no width (combining
/// marks included: a thousand on one letter is a defacement), no private use.
pub(in crate::render) fn is_plain(c: char) -> bool {
    let private = matches!(u32::from(c), 0xe000..=0xf8ff | 0xf_0000..);
    !c.is_control()
        && !private
        && c != '\u{2028}'
        && c != '\u{2029}'
        && c.width().is_some_and(|width| width > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_could_act_upon() {
        assert_eq!(escape("db1.example"), "db1.example");
        assert_eq!(escape("a\x1b[2Jb\r\n\x7f"), "a\\x1b[2Jb\\x0d\\x0a\\x7f");
        assert_eq!(escape("\u{9b}31m"), "\\u{9b}31m");
        for hidden in [
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{200f}',
            '\u{061c}',
            '\u{feff}',
            '\u{2028}',
            '\u{301}',
            '\u{e000}',
            '\u{e0041}',
        ] {
            assert!(escape(&hidden.to_string()).starts_with("\\u{"), "{:x}", u32::from(hidden));
        }
        assert_eq!(escape("müller.例え"), "müller.例え");
    }
}
