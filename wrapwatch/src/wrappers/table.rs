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
    /// Where it stands in the table's text.
    source: (u32, u32),
    /// Where its bytes are in the arena: the daemon list, or all of it where it is not a rule. A table of short lines has many entries, so places take 32 bits.
    daemons: (u32, u32),
    clients: (u32, u32),
    options: Option<(u32, u32)>,
}

impl Entry {
    /// Where it stands in the table's text, in bytes.
    pub const fn source(&self) -> Range<usize> {
        self.source.0 as usize..self.source.1 as usize
    }
}

/// A parsed table. Memory is a small multiple of its text, or some fifty bytes a line where lines are short; clones share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    parts: Arc<Parts>,
    missing: bool,
    unreadable: Option<String>,
    lines: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    /// Logical lines, joined and cut to what libwrap sees.
    arena: Vec<u8>,
    entries: Vec<Entry>,
}

impl Table {
    /// Takes a table's text apart. No caller has a text of 4 GiB: places beyond that would be cut.
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
                source: place(line.source.start, line.source.end),
                daemons: place(base, first.map_or(end, |at| base + at)),
                clients: place(first.map_or(end, |at| base + at + 1), second.map_or(end, |at| base + at)),
                options: second.map(|at| place(base + at + 1, end)),
            });
            arena.extend_from_slice(&line.text);
            if kind == EntryKind::Unreadable {
                break;
            }
        }
        arena.shrink_to_fit();
        entries.shrink_to_fit();
        Self { parts: Arc::new(Parts { arena, entries }), lines: lines.line_count(), ..Self::default() }
    }

    /// What it takes in memory, with all its clones.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.parts.arena.capacity() + self.parts.entries.capacity() * size_of::<Entry>()
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
        &self.parts.entries
    }

    /// How many lines libwrap counts when no rule matches.
    pub const fn lines(&self) -> u32 {
        self.lines
    }

    /// The entry libwrap calls by this line number.
    pub fn entry_at(&self, line: u32) -> Option<&Entry> {
        // In order of their lines; where NUL bytes hold libwrap's count back, several have one.
        let at = self.parts.entries.partition_point(|entry| entry.line < line);
        self.parts.entries.get(at).filter(|entry| entry.line == line)
    }

    /// The entry that an editor's line belongs to.
    pub fn entry_around(&self, physical: u32) -> Option<&Entry> {
        let at = self.parts.entries.partition_point(|entry| entry.physical.1 < physical);
        self.parts.entries.get(at).filter(|entry| entry.physical.0 <= physical)
    }

    /// An entry's daemon list (or the whole line of one that is no rule).
    pub fn daemons(&self, entry: &Entry) -> &[u8] {
        self.slice(entry.daemons)
    }

    /// An entry's client list.
    pub fn clients(&self, entry: &Entry) -> &[u8] {
        self.slice(entry.clients)
    }

    /// What follows the second colon; the newline is still there, as it is for libwrap.
    pub fn options(&self, entry: &Entry) -> Option<&[u8]> {
        entry.options.map(|place| self.slice(place))
    }

    /// The entry's text as libwrap sees it, joined, without its newline.
    pub fn text(&self, entry: &Entry) -> String {
        let end = entry.options.map_or(entry.clients.1, |place| place.1).max(entry.daemons.1);
        let bytes = self.slice((entry.daemons.0, end));
        String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned()
    }

    fn slice(&self, (from, to): (u32, u32)) -> &[u8] {
        self.parts.arena.get(from as usize..to as usize).unwrap_or_default()
    }
}

/// hosts.allow and hosts.deny.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// hosts.allow.
    pub allow: Table,
    /// hosts.deny.
    pub deny: Table,
}

impl Tables {
    /// One of the two.
    pub const fn get(&self, kind: TableKind) -> &Table {
        match kind {
            TableKind::Allow => &self.allow,
            TableKind::Deny => &self.deny,
        }
    }
}

fn place(from: usize, to: usize) -> (u32, u32) {
    let short = |at| u32::try_from(at).unwrap_or(u32::MAX);
    (short(from), short(to))
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
