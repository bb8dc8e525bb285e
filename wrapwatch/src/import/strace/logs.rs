//! One log, or one log per thread (`-ff`), merged in order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io::{self, BufRead, Read as _};

use super::line::{Body, parse};
use super::{Clock, Dates, Importer, KEPT_MAX, LINE_MAX, Out};

/// A log to read.
#[derive(Debug)]
pub struct Log<R> {
    /// Thread, where the file's name says (`-ff`).
    pub tid: Option<u32>,
    /// Its bytes.
    pub source: R,
}

/// A log with its next line at hand.
struct Open<R> {
    log: Log<R>,
    clock: Clock,
    next: String,
    at: u64,
    timeless: bool,
    /// strace said, on this line or within it, that it follows this thread now.
    attached: Option<u32>,
}

/// Stands for the thread of lines that name none, until one is known: strace on a terminal prints none while it follows a
/// single one. No server's thread has this number.
const ONLY_THREAD: u32 = 1;

/// Finds out who the thread is that strace does not name at first: the first one named later that is not a child.
#[derive(Debug, Default)]
struct Unnamed {
    used: bool,
    name: Option<u32>,
    children: HashSet<u32>,
}

impl Unnamed {
    /// The thread of a line that names none.
    fn thread(&mut self) -> u32 {
        self.used = true;
        self.name.unwrap_or(ONLY_THREAD)
    }

    /// strace said that it follows a thread now. Before any call it is the one it was started for.
    fn attached(&mut self, tid: u32) {
        if !self.used && self.name.is_none() && self.children.is_empty() {
            self.name = Some(tid);
        } else if self.name != Some(tid) && self.children.len() < KEPT_MAX {
            self.children.insert(tid);
        }
    }

    /// Whether this name, seen now, turns out to be the unnamed thread's.
    fn is(&mut self, tid: u32) -> bool {
        let found = self.used && self.name.is_none() && !self.children.contains(&tid);
        if found {
            self.name = Some(tid);
        }
        found
    }
}

/// Reads all of `logs` into `importer`, and tells it that they are over. Bytes that are not UTF-8 are replaced: strace writes
/// ASCII.
pub fn import<R: BufRead>(
    importer: &mut Importer,
    logs: Vec<Log<R>>,
    dates: Dates,
    out: &mut dyn FnMut(Out<'_>),
) -> io::Result<()> {
    if logs.len() == 1 {
        importer.one_log();
    }
    let mut unnamed = Unnamed::default();
    let mut open: Vec<Open<R>> = Vec::with_capacity(logs.len());
    let mut next = BinaryHeap::new();
    for (i, log) in logs.into_iter().enumerate() {
        let mut log = Open {
            log,
            clock: Clock::new(dates),
            next: String::new(),
            at: 0,
            timeless: false,
            attached: None,
        };
        if log.advance()? {
            next.push(Reverse((log.at, i)));
        }
        open.push(log);
    }
    while let Some(Reverse((at, i))) = next.pop() {
        let Some(log) = open.get_mut(i) else { break };
        let line = parse(&log.next);
        let tid = match log.log.tid.or(line.tid) {
            Some(tid) => {
                if unnamed.is(tid) {
                    importer.rename(ONLY_THREAD, tid);
                }
                tid
            }
            None if line.body == Body::Other => ONLY_THREAD,
            None => unnamed.thread(),
        };
        if let Some(attached) = log.attached.take() {
            unnamed.attached(attached);
        }
        if log.timeless {
            importer.timeless();
        }
        importer.line(tid, at, &line.body, out);
        if log.advance()? {
            next.push(Reverse((log.at, i)));
        }
    }
    importer.finish(out);
    Ok(())
}

impl<R: BufRead> Open<R> {
    /// Reads the next line that is not empty; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        self.next.clear();
        if !self.read_line()? {
            return Ok(false);
        }
        // On a terminal, strace's own remark breaks into the middle of a call.
        if let Some((call, attached)) = remark(&self.next) {
            self.attached = Some(attached);
            let len = call.len();
            if len > 0 {
                self.next.truncate(len);
                self.read_line()?;
            }
        }
        let line = parse(&self.next);
        self.timeless = line.stamp.is_none() && line.body != Body::Other;
        // What strace itself says has no time, and takes none.
        if line.stamp.is_some() || self.timeless {
            self.at = self.clock.time(line.stamp);
        }
        Ok(true)
    }

    /// Appends the next line that is not empty to `next`; false at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if self.log.source.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(false);
            }
            if bytes.len() == LINE_MAX && !bytes.ends_with(b"\n") {
                self.skip_line()?;
            }
            if !bytes.trim_ascii().is_empty() {
                break;
            }
        }
        self.next.push_str(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
        Ok(true)
    }

    /// Leaves out the rest of a line that is too long.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffered = self.log.source.fill_buf()?;
            if buffered.is_empty() {
                return Ok(());
            }
            let end = buffered.iter().position(|&b| b == b'\n');
            let n = end.map_or(buffered.len(), |at| at + 1);
            self.log.source.consume(n);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// `… strace: Process 7 attached`, `… with 30 threads`: what stands before it, and the thread.
fn remark(line: &str) -> Option<(&str, u32)> {
    let (before, said) = line.rsplit_once("strace: Process ")?;
    let (tid, rest) = said.split_once(' ')?;
    rest.starts_with("attached").then_some(())?;
    Some((before, tid.parse().ok()?))
}
