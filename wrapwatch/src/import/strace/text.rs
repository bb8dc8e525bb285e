//! strace's notation: quoted strings, nested arguments, descriptors with remarks.

/// Walks over text at nesting depth 0, stepping over strings, brackets and the remarks of `-y`.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Walk<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The next byte at depth 0 and its place; `None` at the end. An opening bracket is not told of, a closing one without
    /// an opening one is.
    fn next(&mut self) -> Option<(usize, u8)> {
        let bytes = self.text.as_bytes();
        loop {
            let at = self.at;
            let byte = *bytes.get(at)?;
            self.at += 1;
            match byte {
                b'"' => self.at += string_len(bytes.get(self.at..)?),
                b'<' if at > 0 && names_descriptor(bytes, at) => {
                    self.at = at + note(self.text.get(at..)?)?.1;
                }
                b'(' | b'[' | b'{' => self.depth += 1,
                b')' | b']' | b'}' if self.depth > 0 => self.depth -= 1,
                _ if self.depth == 0 => return Some((at, byte)),
                _ => {}
            }
        }
    }
}

/// Bytes from behind the opening quote to behind the closing one.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

/// Whether the `<` at `at` begins a remark on a descriptor: it follows a number or `AT_FDCWD`, and is no shift.
fn names_descriptor(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    let follows = before.last().is_some_and(u8::is_ascii_digit) || before.ends_with(b"AT_FDCWD");
    follows && bytes.get(at + 1) != Some(&b'<')
}

/// The remark that `text` begins with (`<TCP:[…]>`, `</etc/hosts>`), without its brackets, and its length with them.
/// strace writes `<` and `>` within a path as octal, but not the arrow between two addresses.
pub(super) fn note(text: &str) -> Option<(&str, usize)> {
    let inner = text.strip_prefix('<')?;
    let socket = inner.split_once(":[").is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
    });
    let end = if socket { inner.find("]>")? + 1 } else { inner.find('>')? };
    Some((inner.get(..end)?, end + 2))
}

/// Splits behind the parenthesis that closes what `text` is within: what is before it, and what is behind.
pub(super) fn to_closing(text: &str) -> Option<(&str, &str)> {
    let mut walk = Walk::new(text);
    loop {
        if let (at, b')') = walk.next()? {
            return Some((text.get(..at)?.trim_ascii(), text.get(at + 1..)?));
        }
    }
}

/// The parts between commas at depth 0.
pub(super) fn split(text: &str) -> Vec<&str> {
    /// No call has more; a longer list is cut.
    const PARTS_MAX: usize = 1024;
    let mut parts = Vec::new();
    let (mut walk, mut from) = (Walk::new(text), 0);
    while let Some((at, byte)) = walk.next() {
        if byte == b',' && parts.len() < PARTS_MAX {
            parts.push(text.get(from..at).unwrap_or_default().trim_ascii());
            from = at + 1;
        }
    }
    let last = text.get(from..).unwrap_or_default().trim_ascii();
    if !(last.is_empty() && parts.is_empty()) {
        parts.push(last);
    }
    parts
}

/// The fields and elements of `{…}` or `[…]`; nothing where `text` is neither.
pub(super) fn members(text: &str) -> Vec<&str> {
    let inner = |open, close| text.strip_prefix(open).and_then(|t: &str| t.strip_suffix(close));
    inner('{', '}').or_else(|| inner('[', ']')).map(split).unwrap_or_default()
}

/// The value of field `name` in `{…}`.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    members(text).into_iter().find_map(|member| member.strip_prefix(name)?.strip_prefix('='))
}

/// A number as `-X raw` prints flags: `0x80000`, `17`.
pub(super) fn bits(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The flags of `A|B`, as names where strace has them, each without the comment of `-X verbose`'s number.
pub(super) fn flags(text: &str) -> impl Iterator<Item = &str> {
    text.split('|').map(meaning)
}

/// The integer that `text` begins with (a descriptor with its remark, a length).
pub(super) fn int(text: &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let n: i64 = digits.get(..end)?.parse().ok()?;
    Some(if negative { -n } else { n })
}

/// A descriptor.
pub(super) fn fd(text: &str) -> Option<i32> {
    int(text).and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0)
}

/// What `-y` says of a descriptor, empty without.
pub(super) fn fd_note(text: &str) -> &str {
    let digits = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.get(digits..).and_then(note).map_or("", |(note, _)| note)
}

/// A quoted string's bytes, and whether strace cut it (`"…"...`). `None` where `text` does not begin with one.
/// At most `max` bytes are kept.
pub(super) fn string(text: &str, max: usize) -> Option<(Vec<u8>, bool)> {
    let quoted = text.strip_prefix('@').unwrap_or(text).strip_prefix('"')?;
    let len = string_len(quoted.as_bytes());
    let cut = quoted.get(len..).is_some_and(|rest| rest.starts_with("..."));
    let bytes = quoted.as_bytes().get(..len.saturating_sub(1))?;
    let mut out = Vec::with_capacity(bytes.len().min(max));
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if out.len() >= max {
            break;
        }
        let (value, used) =
            if byte == b'\\' { escape(bytes.get(at + 1..).unwrap_or_default()) } else { (byte, 1) };
        out.push(value);
        at += used;
    }
    Some((out, cut))
}

/// The byte of the escape behind a backslash, and the length with the backslash.
fn escape(rest: &[u8]) -> (u8, usize) {
    let digits = |radix: u32, from: usize, most: usize| {
        let digits = rest.iter().skip(from).take(most).map_while(|b| char::from(*b).to_digit(radix));
        digits.fold((0_u32, 0), |(value, n), digit| (value * radix + digit, n + 1))
    };
    match rest.first() {
        Some(b'n') => (b'\n', 2),
        Some(b't') => (b'\t', 2),
        Some(b'r') => (b'\r', 2),
        Some(b'v') => (0x0b, 2),
        Some(b'f') => (0x0c, 2),
        Some(b'a') => (0x07, 2),
        Some(b'b') => (0x08, 2),
        Some(b'x') => {
            let (value, n) = digits(16, 1, 2);
            (value.to_le_bytes()[0], 2 + n)
        }
        Some(b'0'..=b'7') => {
            let (value, n) = digits(8, 0, 3);
            (value.to_le_bytes()[0], 1 + n)
        }
        Some(other) => (*other, 2),
        None => (b'\\', 1),
    }
}

/// What a value means: `-X verbose` says it in a comment behind the number.
pub(super) fn meaning(value: &str) -> &str {
    let comment = value.split_once("/*").and_then(|(_, rest)| rest.split_once("*/"));
    comment.map_or(value, |(meaning, _)| meaning).trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_split_at_their_own_commas_only() {
        let args = r#"34<UNIX-STREAM:[46907,"/run/a,b)"]>, "a,\")b"..., {x=[1, 2], y="}"}, 1<<3, NULL"#;
        let parts = split(args);
        assert_eq!(parts.len(), 5, "{parts:?}");
        assert_eq!((parts[1], parts[3], parts[4]), (r#""a,\")b"..."#, "1<<3", "NULL"));
        assert_eq!(fd_note(parts[0]), r#"UNIX-STREAM:[46907,"/run/a,b)"]"#);
        assert_eq!(split("7</tmp/a(b>, 2"), ["7</tmp/a(b>", "2"]);
        assert_eq!(split(""), Vec::<&str>::new());
    }

    #[test]
    fn strings_become_the_bytes_they_were() {
        let table: [(&str, &[u8], bool); 7] = [
            (r#""\2300\1\0\0\1""#, b"\x980\x01\0\0\x01", false),
            (r#""\0011\0010""#, b"\x011\x010", false),
            (r#""a\n\t\"\\b"..."#, b"a\n\t\"\\b", true),
            (r#""\x01\xffA""#, b"\x01\xffA", false),
            (r#""""#, b"", false),
            (r#""never closed"#, b"never close", false),
            (r#""\"#, b"", false),
        ];
        for (text, bytes, cut) in table {
            assert_eq!(string(text, 512), Some((bytes.to_vec(), cut)), "{text}");
        }
        assert_eq!(string("0x7ffd", 512), None);
        assert_eq!(string(r#""abcdef""#, 3), Some((b"abc".to_vec(), false)));
    }
}
