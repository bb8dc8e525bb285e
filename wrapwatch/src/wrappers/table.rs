//! A table (hosts.allow or hosts.deny) as libwrap takes it apart: rules, lines it skips, and the point where it gives up.
//!
//! Parsing is libwrap's own: fields are cut at the first colons outside square brackets, lists at blanks and commas, comments are whole
//! lines that begin with `#`. Nothing is refused; what libwrap would not read as written is left for [`super::problems`] to say.

use std::ops::Range;
use std::sync::Arc;

use super::lines::Lines;

/// White space and commas between the words of a list (`sep` in libwrap's hosts_access.c).
const SEPARATORS: &[u8] = b", \t\r\n";

/// Which of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableKind {
    /// hosts.allow, read first.
    Allow,
    /// hosts.deny.
    Deny,
}

impl TableKind {
    /// The path compiled into Debian's libwrap.
    pub const fn default_path(self) -> &'static str {
        match self {
            Self::Allow => "/etc/hosts.allow",
            Self::Deny => "/etc/hosts.deny",
        }
    }
}

/// What kind of logical line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// `daemons : clients [: options]`.
    Rule,
    /// No colon: libwrap logs it and goes on.
    NoSeparator,
    /// No newline at its end, or longer than the buffer: libwrap logs it and reads no further. In hosts.deny that refuses everybody.
    Unreadable,
}

/// One logical line of a table; comments and blank lines are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// libwrap's line number: that of its last line (see [`super::lines`]).
    pub line: u32,
    /// First and last line as an editor counts them, from 1.
    pub physical: (u32, u32),
    /// Where it stands in the table's text, in bytes.
    pub source: Range<usize>,
    /// Where its bytes are in the arena: the daemon list, or all of it where it is not a rule.
    daemons: Range<usize>,
    clients: Range<usize>,
    options: Option<Range<usize>>,
}

/// A parsed table. Memory is a small multiple of its text, and shared by clones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Logical lines, joined and cut to what libwrap sees.
    arena: Arc<[u8]>,
    entries: Arc<[Entry]>,
    missing: bool,
    unreadable: Option<String>,
    lines: u32,
}

impl Table {
    /// Takes a table's text apart.
    pub fn parse(text: &[u8]) -> Self {
        let (mut arena, mut entries) = (Vec::new(), Vec::new());
        let mut lines = Lines::new(text);
        for line in &mut lines {
            let complete = line.text.ends_with(b"\n");
            if complete && is_skipped(&line.text) {
                continue;
            }
            let base = arena.len();
            let end = base + line.text.len();
            let first = split_at(&line.text, b':').filter(|_| complete);
            let second =
                first.and_then(|at| split_at(line.text.get(at + 1..)?, b':').map(|more| at + 1 + more));
            let kind = match first {
                Some(_) => EntryKind::Rule,
                None if complete => EntryKind::NoSeparator,
                None => EntryKind::Unreadable,
            };
            entries.push(Entry {
                kind,
                line: line.line,
                physical: line.physical,
                source: line.source,
                daemons: base..first.map_or(end, |at| base + at),
                clients: first.map_or(end, |at| base + at + 1)..second.map_or(end, |at| base + at),
                options: second.map(|at| base + at + 1..end),
            });
            arena.extend_from_slice(&line.text);
            if kind == EntryKind::Unreadable {
                break;
            }
        }
        Self { arena: arena.into(), entries: entries.into(), lines: lines.line_count(), ..Self::default() }
    }

    /// A table that is not there: libwrap takes it for an empty one.
    pub fn missing() -> Self {
        Self { missing: true, ..Self::default() }
    }

    /// A table that is there and cannot be opened, and why. hosts.allow then counts as empty; hosts.deny refuses everybody.
    pub fn unreadable(why: impl Into<String>) -> Self {
        Self { unreadable: Some(why.into()), ..Self::default() }
    }

    /// Why it cannot be opened.
    pub fn why_unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Whether it is not there.
    pub const fn is_missing(&self) -> bool {
        self.missing
    }

    /// Its logical lines without comments and blank ones, up to where libwrap stops reading.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many lines libwrap counts when no rule matches.
    pub const fn lines(&self) -> u32 {
        self.lines
    }

    /// The entry libwrap calls by this line number.
    pub fn entry_at(&self, line: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.line == line)
    }

    /// An entry's daemon list (or the whole line of one that is no rule).
    pub fn daemons(&self, entry: &Entry) -> &[u8] {
        self.slice(&entry.daemons)
    }

    /// An entry's client list.
    pub fn clients(&self, entry: &Entry) -> &[u8] {
        self.slice(&entry.clients)
    }

    /// What follows the second colon; the newline is still there, as it is for libwrap.
    pub fn options(&self, entry: &Entry) -> Option<&[u8]> {
        entry.options.as_ref().map(|range| self.slice(range))
    }

    /// The entry's text as libwrap sees it, joined, without its newline.
    pub fn text(&self, entry: &Entry) -> String {
        let end = entry.options.as_ref().map_or(entry.clients.end, |range| range.end).max(entry.daemons.end);
        let bytes = self.slice(&(entry.daemons.start..end));
        String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned()
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.arena.get(range.clone()).unwrap_or_default()
    }
}

/// The words of a list.
pub fn words(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| SEPARATORS.contains(byte)).filter(|word| !word.is_empty())
}

/// Whether a word is the EXCEPT operator.
pub const fn is_except(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"EXCEPT")
}

/// Where libwrap's `split_at` cuts: the first `delimiter` that is not inside square brackets. A bracket that closes without having been
/// opened hides everything behind it, as in libwrap.
pub(super) fn split_at(text: &[u8], delimiter: u8) -> Option<usize> {
    let mut depth = 0i32;
    text.iter().position(|&byte| {
        match byte {
            b'[' => depth = depth.saturating_add(1),
            b']' => depth = depth.saturating_sub(1),
            _ => return depth == 0 && byte == delimiter,
        }
        false
    })
}

/// A comment or a blank line.
fn is_skipped(line: &[u8]) -> bool {
    line.first() == Some(&b'#') || line.iter().all(|byte| b" \t\r\n".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> (String, String, Option<String>) {
        let table = Table::parse(text.as_bytes());
        let entry = &table.entries()[0];
        let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (string(table.daemons(entry)), string(table.clients(entry)), table.options(entry).map(string))
    }

    #[test]
    fn colons_in_brackets_do_not_separate() {
        assert_eq!(
            rule("a: [2001:db8::]/64 b: c:d\n"),
            ("a".into(), " [2001:db8::]/64 b".into(), Some(" c:d\n".into()))
        );
        assert_eq!(rule("a: b]:c\n"), ("a".into(), " b]:c\n".into(), None));
    }

    #[test]
    fn comments_stand_at_the_start_of_a_line_only() {
        let table = Table::parse(b"# c\n  # not one: x\n\n \t\na: b # c: d\n");
        let lines: Vec<_> = table.entries().iter().map(|entry| (entry.kind, entry.line)).collect();
        assert_eq!(lines, [(EntryKind::Rule, 2), (EntryKind::Rule, 5)]);
        assert_eq!(table.lines(), 5);
    }

    #[test]
    fn a_broken_line_ends_the_table() {
        let mut text = b"a: b\nno colon\n".to_vec();
        text.extend(vec![b'x'; 3000]);
        text.extend(b"\nc: d\n");
        let table = Table::parse(&text);
        let kinds: Vec<_> = table.entries().iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [EntryKind::Rule, EntryKind::NoSeparator, EntryKind::Unreadable]);
    }

    #[test]
    fn text_is_the_joined_line() {
        let table = Table::parse(b"a: \\\nb \\\n c: allow\n");
        assert_eq!(table.text(&table.entries()[0]), "a: b  c: allow");
        assert_eq!(table.entries()[0].physical, (1, 3));
    }
}
