//! What mail programs, web pages and terminals do to a log, undone: quotation marks of mail, colours, HTML entities, typographic
//! quotes. strace writes plain ASCII, so none of it can be strace's own.

use std::borrow::Cow;

/// What a line looked like before it was cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Colours or other terminal sequences.
    pub coloured: bool,
    /// `> ` of a quoted mail.
    pub quoted: bool,
    /// `&lt;` and the like.
    pub entities: bool,
    /// Typographic quotes, non-breaking spaces.
    pub typographic: bool,
}

/// The line as strace printed it, and what had been done to it.
pub(super) fn clean(line: &str) -> (Cow<'_, str>, Marks) {
    let mut marks = Marks::default();
    let mut text = Cow::Borrowed(line);
    if line.contains('\u{1b}') {
        marks.coloured = true;
        text = Cow::Owned(without_sequences(&text));
    }
    if !text.is_ascii()
        && let Some(plain) = plain(&text)
    {
        marks.typographic = true;
        text = Cow::Owned(plain);
    }
    if ENTITIES.iter().any(|(entity, _)| entity.starts_with("&l") && text.contains(entity))
        || ["&gt;", "&quot;", "&#"].iter().any(|entity| text.contains(entity))
    {
        marks.entities = true;
        text = Cow::Owned(without_entities(&text));
    }
    let unquoted = unquoted(&text).map(str::len);
    if let Some(len) = unquoted {
        marks.quoted = true;
        let from = text.len() - len;
        text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(from..).unwrap_or_default()),
            Cow::Owned(mut text) => Cow::Owned(text.split_off(from)),
        };
    }
    (text, marks)
}

/// What stands behind `> `, also several times. The lines of `strace -k` begin so too, and are left alone.
fn unquoted(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if !rest.starts_with('>') || is_stack_line(line) {
        return None;
    }
    while let Some(behind) = rest.strip_prefix('>') {
        rest = behind.trim_start();
    }
    Some(rest)
}

/// A line of `strace -k`: ` > /usr/lib/libc.so.6(accept+0x4d) [0xf7b4d]`.
pub(super) fn is_stack_line(line: &str) -> bool {
    line.trim_start().starts_with("> ") && line.ends_with(']') && line.contains(" [0x")
}

/// Without ECMA-48's control sequences (`ESC [ … m`) and the operating system commands of terminals (`ESC ] … BEL`).
fn without_sequences(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('[') => drop(chars.find(|c| ('\u{40}'..='\u{7e}').contains(c))),
            Some(']') => drop(chars.find(|c| matches!(c, '\u{7}' | '\\'))),
            Some('(' | ')') => drop(chars.next()),
            _ => {}
        }
    }
    out
}

/// With the ASCII characters that typography replaced; `None` where there is nothing to replace.
fn plain(line: &str) -> Option<String> {
    let ascii = |c| {
        Some(match c {
            '“' | '”' | '„' | '‟' | '«' | '»' | '″' | '＂' => "\"",
            '‘' | '’' | '‚' | '‛' => "'",
            '…' => "...",
            '\u{a0}' | '\u{202f}' | '\u{2007}' | '\u{2002}' | '\u{2003}' | '\u{2009}' => " ",
            '–' | '—' | '−' | '\u{2010}' | '\u{2011}' => "-",
            '\u{200b}' | '\u{200c}' | '\u{200d}' | '\u{feff}' | '\u{ad}' | '\u{2060}' => "",
            _ => return None,
        })
    };
    if !line.chars().any(|c| ascii(c).is_some()) {
        return None;
    }
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        match ascii(c) {
            Some(text) => out.push_str(text),
            None => out.push(c),
        }
    }
    Some(out)
}

/// HTML's entities that stand for what strace prints; `&amp;` last, since it may hide another.
const ENTITIES: [(&str, &str); 9] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&#x22;", "\""),
    ("&nbsp;", " "),
    ("&amp;", "&"),
];

fn without_entities(line: &str) -> String {
    ENTITIES.iter().fold(line.to_owned(), |line, (entity, text)| line.replace(entity, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_to_a_line_is_undone() {
        let plain = r#"7 10:00:00.1 openat(AT_FDCWD, "/etc/hosts.allow", O_RDONLY) = 5 <0.000010>"#;
        let table = [
            (plain.to_owned(), Marks::default()),
            (format!("> > {plain}"), Marks { quoted: true, ..Marks::default() }),
            (format!(">{plain}"), Marks { quoted: true, ..Marks::default() }),
            (
                plain.replace("openat", "\u{1b}[1;34mopenat\u{1b}[0m"),
                Marks { coloured: true, ..Marks::default() },
            ),
            (
                plain.replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;"),
                Marks { entities: true, ..Marks::default() },
            ),
            (
                plain.replacen('"', "“", 1).replacen('"', "”", 1).replacen("= 5", "=\u{a0}5", 1),
                Marks { typographic: true, ..Marks::default() },
            ),
        ];
        for (line, marks) in table {
            assert_eq!(clean(&line), (Cow::Borrowed(plain), marks), "{line}");
        }
    }

    #[test]
    fn what_is_straces_stays() {
        for line in [
            " > /usr/lib/x86_64-linux-gnu/libc.so.6(__close+0x4d) [0xf7b4d]",
            r"7 connect(6, {inet_pton(AF_INET6, &sin6_addr)}, 28) = 0",
            "7 wait4(8, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 8",
        ] {
            assert_eq!(clean(line), (Cow::Borrowed(line), Marks::default()));
        }
        let (text, _) = clean("\u{1b}[");
        assert_eq!(text, "");
    }
}
