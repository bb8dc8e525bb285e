//! A table (hosts.allow or hosts.deny) as libwrap takes it apart: rules, lines it skips, and the point where it gives up.
//!
//! Parsing is libwrap's own: fields are cut at the first colons outside square brackets, lists at blanks and commas, comments are whole
//! lines that begin with `#`. Nothing is refused; what libwrap would not read as written is left for [`super::problems`] to say.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::lines::{Lines, LinesAt, LogicalLine};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// libwrap's line number: that of its last line (see [`super::lines`]).
    pub line: u32,
    /// First and last line as an editor counts them, from 1.
    pub physical: (u32, u32),
    /// Where it stands in the table's text.
    source: (u32, u32),
    /// Where its bytes are, in the text or behind it in what was joined: the daemon list, or all of it where it is not a rule.
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

/// Every how many entries a place is remembered, to begin at.
const STEP: usize = 64;

/// A parsed table. It takes little more memory than its text, whatever that is: entries are taken apart as they are asked for. Clones share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    parts: Arc<Parts>,
    missing: bool,
    unreadable: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    text: Arc<[u8]>,
    /// The logical lines that do not stand in the text as libwrap sees them, one after another.
    joined: Vec<u8>,
    /// A place before every 64th entry.
    marks: Vec<Mark>,
    lines: u32,
}

/// A place before an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    at: LinesAt,
    /// What was joined before it, in bytes.
    joined: u32,
}

impl Table {
    /// Takes a table's text apart. No caller has a text of 4 GiB: places beyond that would be cut.
    pub fn parse(text: &[u8]) -> Self {
        Self::parse_shared(text.into())
    }

    /// As [`Self::parse`], of a text that others keep as well.
    pub(crate) fn parse_shared(text: Arc<[u8]>) -> Self {
        let (mut joined, mut marks) = (Vec::new(), Vec::new());
        let mut walk = Walk::new(&text, Mark::default());
        for number in 0.. {
            let mark = (number % STEP == 0).then(|| walk.mark());
            let Some((line, _)) = walk.step() else { break };
            marks.extend(mark);
            if let Cow::Owned(text) = &line.text {
                joined.extend_from_slice(text);
            }
        }
        let lines = walk.lines.line_count();
        joined.shrink_to_fit();
        marks.shrink_to_fit();
        Self { parts: Arc::new(Parts { text, joined, marks, lines }), ..Self::default() }
    }

    /// What it takes in memory, with all its clones, and its text.
    pub fn memory_bytes(&self) -> usize {
        let Parts { text, joined, marks, .. } = &*self.parts;
        size_of::<Self>() + text.len() + joined.capacity() + marks.capacity() * size_of::<Mark>()
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
    pub fn entries(&self) -> impl Iterator<Item = Entry> + Clone + use<'_> {
        Walk::new(&self.parts.text, Mark::default())
    }

    /// How many lines libwrap counts when no rule matches.
    pub fn lines(&self) -> u32 {
        self.parts.lines
    }

    /// The entry libwrap calls by this line number.
    pub fn entry_at(&self, line: u32) -> Option<Entry> {
        // In order of their lines; where NUL bytes hold libwrap's count back, several have one.
        let mut entries = self.entries_behind(|mark| mark.at.line < line);
        entries.find(|entry| entry.line >= line).filter(|entry| entry.line == line)
    }

    /// The entry that an editor's line belongs to.
    pub fn entry_around(&self, physical: u32) -> Option<Entry> {
        let mut entries = self.entries_behind(|mark| mark.at.physical < physical);
        entries.find(|entry| entry.physical.1 >= physical).filter(|entry| entry.physical.0 <= physical)
    }

    /// The entries from the last mark on of which this holds.
    fn entries_behind(&self, is_before: impl Fn(&Mark) -> bool) -> Walk<'_> {
        let Parts { text, marks, .. } = &*self.parts;
        let last = marks.partition_point(is_before).checked_sub(1).and_then(|at| marks.get(at));
        Walk::new(text, last.copied().unwrap_or_default())
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
        let Parts { text, joined, .. } = &*self.parts;
        let (from, to) = (from as usize, to as usize);
        let found = match from.checked_sub(text.len()) {
            Some(from) => joined.get(from..to - text.len()),
            None => text.get(from..to),
        };
        found.unwrap_or_default()
    }
}

/// Goes through a table's entries.
#[derive(Clone, Debug)]
struct Walk<'a> {
    lines: Lines<'a>,
    /// Where the next line that is joined stands.
    joined: usize,
    text_len: usize,
    over: bool,
}

impl<'a> Walk<'a> {
    fn new(text: &'a [u8], from: Mark) -> Self {
        let joined = text.len() + from.joined as usize;
        Self { lines: Lines::resume(text, from.at), joined, text_len: text.len(), over: false }
    }

    fn mark(&self) -> Mark {
        Mark { at: self.lines.at(), joined: short(self.joined - self.text_len) }
    }

    /// The next entry, and its line.
    fn step(&mut self) -> Option<(LogicalLine<'a>, Entry)> {
        if self.over {
            return None;
        }
        let line = self.lines.find(|line| !is_skipped(&line.text))?;
        let base = match &line.text {
            Cow::Borrowed(_) => line.source.start,
            Cow::Owned(text) => {
                let base = self.joined;
                self.joined += text.len();
                base
            }
        };
        let entry = entry(&line, base);
        self.over = entry.kind == EntryKind::Unreadable;
        Some((line, entry))
    }
}

impl Iterator for Walk<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.step().map(|(_, entry)| entry)
    }
}

/// Takes a line apart whose bytes stand at `base`.
fn entry(line: &LogicalLine<'_>, base: usize) -> Entry {
    let complete = line.text.ends_with(b"\n");
    let end = base + line.text.len();
    let first = split_at(&line.text, b':').filter(|_| complete);
    let second = first.and_then(|at| split_at(line.text.get(at + 1..)?, b':').map(|more| at + 1 + more));
    let kind = match first {
        Some(_) => EntryKind::Rule,
        None if complete => EntryKind::NoSeparator,
        None => EntryKind::Unreadable,
    };
    Entry {
        kind,
        line: line.line,
        physical: line.physical,
        source: place(line.source.start, line.source.end),
        daemons: place(base, first.map_or(end, |at| base + at)),
        clients: place(first.map_or(end, |at| base + at + 1), second.map_or(end, |at| base + at)),
        options: second.map(|at| place(base + at + 1, end)),
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

fn short(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn place(from: usize, to: usize) -> (u32, u32) {
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

/// A comment or a blank line; none where the newline is missing.
fn is_skipped(line: &[u8]) -> bool {
    line.ends_with(b"\n")
        && (line.first() == Some(&b'#') || line.iter().all(|byte| b" \t\r\n".contains(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> (String, String, Option<String>) {
        let table = Table::parse(text.as_bytes());
        let entry = &table.entries().next().unwrap();
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
        let lines: Vec<_> = table.entries().map(|entry| (entry.kind, entry.line)).collect();
        assert_eq!(lines, [(EntryKind::Rule, 2), (EntryKind::Rule, 5)]);
        assert_eq!(table.lines(), 5);
    }

    #[test]
    fn a_broken_line_ends_the_table() {
        let mut text = b"a: b\nno colon\n".to_vec();
        text.extend(vec![b'x'; 3000]);
        text.extend(b"\nc: d\n");
        let table = Table::parse(&text);
        let kinds: Vec<_> = table.entries().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [EntryKind::Rule, EntryKind::NoSeparator, EntryKind::Unreadable]);
    }

    #[test]
    fn text_is_the_joined_line() {
        let table = Table::parse(b"a: \\\nb \\\n c: allow\n");
        let entry = table.entries().next().unwrap();
        assert_eq!(table.text(&entry), "a: b  c: allow");
        assert_eq!(entry.physical, (1, 3));
    }

    /// Lines of all kinds, in an order that no step of the marks fits.
    fn of_all_kinds() -> Table {
        let lines =
            ["a: b\n", "# c\n", "d: \\\n e\n", "no colon\n", "f: g\0h\ni: j\n", "\n", "\\\nk: l: m\n"];
        Table::parse(lines.repeat(3 * STEP).concat().as_bytes())
    }

    #[test]
    fn an_entry_is_found_from_a_mark_as_from_the_beginning() {
        let table = of_all_kinds();
        assert!(table.parts.marks.len() > 10);
        let last = table.entries().last().unwrap();
        for line in 0..last.line + 2 {
            let first = table.entries().find(|entry| entry.line == line);
            assert_eq!(table.entry_at(line), first, "{line}");
        }
        for physical in 0..last.physical.1 + 2 {
            let around = |entry: &Entry| (entry.physical.0..=entry.physical.1).contains(&physical);
            assert_eq!(table.entry_around(physical), table.entries().find(around), "{physical}");
        }
    }

    #[test]
    fn what_is_joined_is_found_from_a_mark_as_well() {
        let table = of_all_kinds();
        for entry in table.entries() {
            let found = table.entry_around(entry.physical.0).unwrap();
            let known = ["a: b", "d:  e", "no colon", "f: gi: j", "k: l: m"];
            assert!(known.contains(&&*table.text(&found)), "{:?}", table.text(&found));
        }
    }

    #[test]
    fn a_table_takes_little_more_than_its_text_whatever_that_is() {
        for line in ["a:b\n", "a\n", "a\n#\n", "a:\\\n\n", "\0\n:\n"] {
            let text = line.repeat((1 << 20) / line.len());
            let takes = Table::parse(text.as_bytes()).memory_bytes();
            assert!(takes < text.len() * 2 + text.len() / 4, "{line:?}: {takes} bytes");
        }
        let text = "a:b\n".repeat(1 << 18);
        assert!(Table::parse(text.as_bytes()).memory_bytes() < text.len() + text.len() / 8);
    }
}
