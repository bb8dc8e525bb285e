//! One log, or one log per thread (`-ff`), merged in order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io::{self, BufRead};

use super::line::{Body, ONLY_THREAD, parse};
use super::lines::{Lines, Next};
use super::survey::Survey;
use super::{Clock, Dates, Importer, KEPT_MAX};
use crate::trace::Input;

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
    tid: Option<u32>,
    lines: Lines<R>,
    clock: Clock,
    next: Next,
    at: u64,
    timeless: bool,
}

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

/// Looks through all of `logs`; they have to be read again to be imported.
pub fn survey<R: BufRead>(logs: Vec<Log<R>>) -> io::Result<Survey> {
    let mut survey = Survey::default();
    merged(logs, Dates::default(), |log| {
        let line = &log.next;
        survey.take(log.tid, &line.text, &parse(&line.text), line.marks, line.wrapped);
    })?;
    Ok(survey)
}

/// Reads all of `logs` into `importer`, and tells it that they are over. Bytes that are not UTF-8 are replaced: strace writes
/// ASCII.
pub fn import<R: BufRead>(
    importer: &mut Importer,
    logs: Vec<Log<R>>,
    dates: Dates,
    out: &mut dyn FnMut(Input<'_>),
) -> io::Result<()> {
    if logs.len() == 1 {
        importer.one_log();
    }
    let mut unnamed = Unnamed::default();
    merged(logs, dates, |log| {
        let line = parse(&log.next.text);
        let tid = match log.tid.or(line.tid) {
            Some(tid) => {
                if unnamed.is(tid) {
                    importer.rename(ONLY_THREAD, tid);
                }
                tid
            }
            None if line.body == Body::Other => ONLY_THREAD,
            None => unnamed.thread(),
        };
        if let Some(attached) = log.next.attached.take() {
            unnamed.attached(attached);
        }
        if log.timeless {
            importer.timeless();
        }
        importer.line(tid, log.at, &line.body, out);
    })?;
    importer.finish(out);
    Ok(())
}

/// The lines of all logs in order of time.
fn merged<R: BufRead>(logs: Vec<Log<R>>, dates: Dates, mut take: impl FnMut(&mut Open<R>)) -> io::Result<()> {
    let mut open: Vec<Open<R>> = Vec::with_capacity(logs.len());
    let mut next = BinaryHeap::new();
    for (i, log) in logs.into_iter().enumerate() {
        let mut log = Open {
            tid: log.tid,
            lines: Lines::new(log.source),
            clock: Clock::new(dates),
            next: Next::default(),
            at: 0,
            timeless: false,
        };
        if log.advance()? {
            next.push(Reverse((log.at, i)));
        }
        open.push(log);
    }
    while let Some(Reverse((_, i))) = next.pop() {
        let Some(log) = open.get_mut(i) else { break };
        take(log);
        if log.advance()? {
            next.push(Reverse((log.at, i)));
        }
    }
    Ok(())
}

impl<R: BufRead> Open<R> {
    /// Reads the next line; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(next) = self.lines.next()? else { return Ok(false) };
        self.next = next;
        let line = parse(&self.next.text);
        self.timeless = line.stamp.is_none() && line.body != Body::Other;
        // What strace itself says has no time, and takes none.
        if line.stamp.is_some() || self.timeless {
            self.at = self.clock.time(line.stamp);
        }
        Ok(true)
    }
}
