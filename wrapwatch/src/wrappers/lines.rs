//! A table's text as libwrap reads it: logical lines of at most 2047 bytes, through `fgets` and C strings.
//!
//! libwrap joins a line that ends in a backslash with the next one, counts newlines as it goes (the number in its messages and in
//! `tcpd_context` is that of a rule's *last* line), and sees nothing behind a NUL byte: not even the newline there, so the next line is
//! joined and the count falls behind. Where the text ends without a newline, or a logical line is too long, it gives the whole table up.

use std::borrow::Cow;
use std::ops::Range;

/// Size of libwrap's line buffer, the final NUL included (`BUFLEN` in its hosts_access.c).
pub const LINE_BUFFER: usize = 2048;

/// One logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogicalLine<'a> {
    /// Its bytes after joining, the last newline included where there is one. No NUL in it. Borrowed where nothing was joined: then it stands at the beginning of its source.
    pub(super) text: Cow<'a, [u8]>,
    /// libwrap's count of lines once it was read.
    pub(super) line: u32,
    /// Its first and last line as an editor counts them, from 1.
    pub(super) physical: (u32, u32),
    /// Where it stands in the table's text.
    pub(super) source: Range<usize>,
}

/// A place between two logical lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinesAt {
    at: u32,
    /// Lines before it, as libwrap counts.
    pub(super) line: u32,
    /// Lines before it, as an editor counts.
    pub(super) physical: u32,
}

/// Reads logical lines off a table's text.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    physical: u32,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self::resume(text, LinesAt { at: 0, line: 0, physical: 0 })
    }

    /// Goes on where another one was.
    pub(super) const fn resume(text: &'a [u8], LinesAt { at, line, physical }: LinesAt) -> Self {
        Self { text, at: at as usize, line, physical }
    }

    /// Where it is now. Of texts beyond 4 GiB places are cut.
    pub(super) fn at(&self) -> LinesAt {
        let at = u32::try_from(self.at).unwrap_or(u32::MAX);
        LinesAt { at, line: self.line, physical: self.physical }
    }

    /// libwrap's count of lines so far; a backslash before the end of the text counts without giving a line.
    pub(super) const fn line_count(&self) -> u32 {
        self.line
    }

    /// `fgets` with room for `room` bytes and the NUL: none at the end of the text.
    fn fgets(&mut self, room: usize) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?;
        let rest = rest.get(..room.min(rest.len()))?;
        let len = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |newline| newline + 1);
        let chunk = rest.get(..len).filter(|chunk| !chunk.is_empty())?;
        self.at += len;
        self.physical = self.physical.saturating_add(u32::from(chunk.last() == Some(&b'\n')));
        Some(chunk)
    }
}

/// What was joined so far: one piece stays where it is.
struct Joined<'a>(Option<Cow<'a, [u8]>>);

impl<'a> Joined<'a> {
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |text| text.len())
    }

    fn push(&mut self, piece: &'a [u8]) {
        match &mut self.0 {
            None => self.0 = Some(Cow::Borrowed(piece)),
            Some(text) => text.to_mut().extend_from_slice(piece),
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = LogicalLine<'a>;

    /// libwrap's `xgets`.
    fn next(&mut self) -> Option<LogicalLine<'a>> {
        let start = self.at;
        let first = self.physical.saturating_add(1);
        let mut text = Joined(None);
        while let Some(chunk) = self.fgets(LINE_BUFFER - 1 - text.len()) {
            let seen = chunk.iter().position(|&byte| byte == 0).map_or(chunk, |nul| chunk.split_at(nul).0);
            let Some(body) = seen.strip_suffix(b"\n") else {
                text.push(seen);
                if text.len() == LINE_BUFFER - 1 {
                    break;
                }
                continue;
            };
            self.line = self.line.saturating_add(1);
            // Only a backslash of the same `fgets` counts; one at the very start of it too.
            if let Some(body) = body.strip_suffix(b"\\") {
                text.push(body);
                continue;
            }
            text.push(seen);
            break;
        }
        let last = if self.text.get(self.at.wrapping_sub(1)) == Some(&b'\n') {
            self.physical
        } else {
            self.physical.saturating_add(1)
        };
        (text.len() > 0).then(|| LogicalLine {
            text: text.0.unwrap_or_default(),
            line: self.line,
            physical: (first, last.max(first)),
            source: start..self.at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(String, u32, (u32, u32))> {
        Lines::new(text)
            .map(|l| (String::from_utf8_lossy(&l.text).into_owned(), l.line, l.physical))
            .collect()
    }

    #[test]
    fn a_backslash_joins_and_the_last_line_counts() {
        assert_eq!(
            read(b"a: b \\\n c\nd: e\n"),
            [("a: b  c\n".into(), 2, (1, 2)), ("d: e\n".into(), 3, (3, 3))]
        );
        assert_eq!(read(b"\\\n\nx\n"), [("\n".into(), 2, (1, 2)), ("x\n".into(), 3, (3, 3))]);
    }

    #[test]
    fn without_a_last_newline_there_is_none() {
        assert_eq!(read(b"a: b"), [("a: b".into(), 0, (1, 1))]);
        assert_eq!(read(b"a: b\\\n"), [("a: b".into(), 1, (1, 1))]);
        assert_eq!(read(b"\\\n"), []);
    }

    #[test]
    fn a_nul_hides_the_newline_behind_it() {
        assert_eq!(read(b"a: b\0junk\nc: d\n"), [("a: bc: d\n".into(), 1, (1, 2))]);
        assert_eq!(read(b"\0\0\0"), []);
    }

    #[test]
    fn the_buffer_holds_2046_bytes_and_a_newline() {
        let mut fits = vec![b'x'; LINE_BUFFER - 2];
        fits.push(b'\n');
        assert_eq!(read(&fits).len(), 1);
        assert!(read(&fits)[0].0.ends_with('\n'));
        let mut long = vec![b'x'; LINE_BUFFER - 1];
        long.push(b'\n');
        assert_eq!(read(&long)[0].0.len(), LINE_BUFFER - 1);
    }
}
