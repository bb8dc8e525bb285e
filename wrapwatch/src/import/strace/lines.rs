//! A log's bytes → lines as strace printed them: cleaned, put together again where a mail program, a terminal or strace itself had broken them.

use std::io::{self, BufRead, Read as _};

use super::LINE_MAX;
use super::call::Name;
use super::clean::{self, Marks};
use super::line::{Body, parse};

/// Most pieces that a wrapped call is put together of.
const PIECES_MAX: usize = 16;
/// Terminals and pages are at least this wide: a line of the same length as the one wrapped before it, this long or longer, was broken off at the edge.
const EDGE_MIN: usize = 72;

/// The next line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    /// As strace printed it.
    pub text: String,
    /// What had been done to it.
    pub marks: Marks,
    /// It was put together of several.
    pub wrapped: bool,
    /// strace said, on this line or within it, that it follows this thread now.
    pub attached: Option<u32>,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: R,
    /// A line that was read to see whether it belongs to the one before.
    ahead: Option<(String, Marks)>,
    /// Length of the line that was wrapped last.
    edge: usize,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(source: R) -> Self {
        Self { source, ahead: None, edge: 0 }
    }

    /// The next line that is not empty; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Next>> {
        let Some((text, marks)) = self.read()? else { return Ok(None) };
        let mut next = Next { text, marks, ..Next::default() };
        // On a terminal, strace's own remark breaks into the middle of a call.
        if let Some((call, attached)) = remark(&next.text) {
            next.attached = Some(attached);
            let len = call.len();
            if len > 0 {
                next.text.truncate(len);
                if let Some((rest, _)) = self.read()? {
                    next.text.push_str(&rest);
                }
            }
        }
        self.unwrap(&mut next)?;
        Ok(Some(next))
    }

    /// Puts a call together that was broken into several lines.
    fn unwrap(&mut self, next: &mut Next) -> io::Result<()> {
        let mut piece = next.text.len();
        for _ in 0..PIECES_MAX {
            let lacks = lacks(&next.text);
            if lacks == Lacks::Nothing {
                return Ok(());
            }
            let Some((ahead, marks)) = self.read()? else { return Ok(()) };
            let belongs = match lacks {
                Lacks::Nothing => false,
                Lacks::Duration => is_duration(&ahead),
                Lacks::End => !is_another(&next.text, &ahead) && next.text.len() + ahead.len() < LINE_MAX,
            };
            if !belongs {
                self.ahead = Some((ahead, marks));
                return Ok(());
            }
            if lacks == Lacks::End && self.is_at_edge(&next.text, piece, &ahead) {
                self.edge = piece;
                next.text.push_str(&ahead);
            } else {
                if !next.text.ends_with(' ') {
                    next.text.push(' ');
                }
                next.text.push_str(ahead.trim_start());
            }
            piece = ahead.len();
            next.wrapped = true;
        }
        Ok(())
    }

    /// Whether a line was broken off where the terminal ended, rather than at a space: then nothing stood between its pieces. Once one is known
    /// the others are as long.
    fn is_at_edge(&self, text: &str, piece: usize, ahead: &str) -> bool {
        if self.edge > 0 {
            return piece == self.edge;
        }
        let at_space = text.ends_with([',', ')', ']', '}', '='])
            || ahead.starts_with(['{', '[', '<'])
            || ahead.starts_with("= ");
        piece >= EDGE_MIN && !at_space
    }

    /// The next line that is not empty, cleaned.
    fn read(&mut self) -> io::Result<Option<(String, Marks)>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if self.source.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            if bytes.len() == LINE_MAX && !bytes.ends_with(b"\n") {
                self.skip_line()?;
            }
            let text = String::from_utf8_lossy(&bytes);
            let (text, marks) = clean::clean(text.trim_end_matches(['\n', '\r']));
            if !text.trim_ascii().is_empty() {
                return Ok(Some((text.into_owned(), marks)));
            }
        }
    }

    /// Leaves out the rest of a line that is too long.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffered = self.source.fill_buf()?;
            if buffered.is_empty() {
                return Ok(());
            }
            let end = buffered.iter().position(|&b| b == b'\n');
            let n = end.map_or(buffered.len(), |at| at + 1);
            self.source.consume(n);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// What a line lacks to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    Nothing,
    /// The rest of a call.
    End,
    /// Perhaps what `-T` says.
    Duration,
}

fn lacks(text: &str) -> Lacks {
    match parse(text).body {
        Body::Whole { finish, .. } | Body::Resumed { finish, .. } if finish.took_ns.is_none() => {
            Lacks::Duration
        }
        Body::Other if begins(text) => Lacks::End,
        _ => Lacks::Nothing,
    }
}

/// Whether a line begins as those of strace do: with a call's name and a parenthesis, or what strace says besides calls.
fn begins(text: &str) -> bool {
    let rest = super::line::behind_prefix(text);
    let name = rest.split('(').next().unwrap_or_default();
    let call = rest.len() > name.len()
        && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    call || ["<... ", "+++ ", "--- SIG", "strace: "].iter().any(|begin| rest.starts_with(begin))
        || remark(text).is_some()
}

/// Whether a line is the next one rather than the rest of the one before: where that names its thread or its time, all do; otherwise any
/// call that is whole, or that matters, begins one.
fn is_another(before: &str, ahead: &str) -> bool {
    let (before, line) = (parse(before), parse(ahead));
    if before.tid.is_some() || before.stamp.is_some() {
        return begins(ahead) && (line.tid.is_some() || line.stamp.is_some()) || remark(ahead).is_some();
    }
    let name = super::line::behind_prefix(ahead).split('(').next().unwrap_or_default();
    begins(ahead) && (line.body != Body::Other || Name::parse(name) != Name::Other)
}

/// `<0.000010>` by itself.
fn is_duration(text: &str) -> bool {
    let inner = text.trim().strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    inner.is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// `… strace: Process 7 attached`, `… with 30 threads`: what stands before it, and the thread.
fn remark(line: &str) -> Option<(&str, u32)> {
    let (before, said) = line.rsplit_once("strace: Process ")?;
    let (tid, rest) = said.split_once(' ')?;
    rest.starts_with("attached").then_some(())?;
    Some((before, tid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn all(text: &str) -> Vec<String> {
        let mut lines = Lines::new(text.as_bytes());
        std::iter::from_fn(|| lines.next().unwrap()).map(|next| next.text).collect()
    }

    const CALL: &str = r#"9  10:00:00.000000 accept(3, {sa_family=AF_INET, sin_port=htons(40001), sin_addr=inet_addr("10.9.0.21")}, [128 => 16]) = 4 <0.000010>"#;

    #[test]
    fn what_mail_programs_broke_is_put_together() {
        // At spaces, each piece shorter than the page.
        let mut wrapped = String::new();
        let mut len = 0;
        for word in CALL.split(' ') {
            if len + word.len() > 60 {
                wrapped.push_str("\n> ");
                len = 0;
            } else if len > 0 {
                wrapped.push(' ');
            }
            wrapped.push_str(word);
            len += word.len() + 1;
        }
        let log = format!("> {wrapped}\n> 9  10:00:00.000100 close(4) = 0 <0.000010>\n");
        assert_eq!(all(&log), [CALL, "9  10:00:00.000100 close(4) = 0 <0.000010>"]);
    }

    #[test]
    fn what_a_terminal_broke_at_its_edge_is_put_together() {
        let mut log = String::new();
        for i in 0..3 {
            let line = CALL.replace("40001", &format!("4000{i}"));
            let (a, b) = line.split_at(80);
            writeln!(log, "{a}\n{b}").unwrap();
        }
        let want: Vec<String> = (0..3).map(|i| CALL.replace("40001", &format!("4000{i}"))).collect();
        assert_eq!(all(&log), want);
    }

    #[test]
    fn what_was_not_broken_stays_as_it_is() {
        let log =
            "9 close(33\n9 close(34) = 0\n9 --- SIGCHLD {si_signo=SIGCHLD} ---\n9 +++ exited with 0 +++\n";
        assert_eq!(all(log), log.lines().collect::<Vec<_>>());
    }
}
