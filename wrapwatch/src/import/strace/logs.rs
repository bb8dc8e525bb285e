//! One log, or one log per thread (`-ff`), merged in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, Read as _};

use super::line::{Body, parse};
use super::{Clock, Dates, Importer, LINE_MAX, Out};

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
}

/// The thread of lines that name none: strace prints none while it follows a single one.
const ONLY_THREAD: u32 = 1;

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
    let mut open: Vec<Open<R>> = Vec::with_capacity(logs.len());
    let mut next = BinaryHeap::new();
    for (i, log) in logs.into_iter().enumerate() {
        let mut log = Open { log, clock: Clock::new(dates), next: String::new(), at: 0, timeless: false };
        if log.advance()? {
            next.push(Reverse((log.at, i)));
        }
        open.push(log);
    }
    while let Some(Reverse((at, i))) = next.pop() {
        let Some(log) = open.get_mut(i) else { break };
        let line = parse(&log.next);
        let tid = log.log.tid.or(line.tid).or(importer.pid()).unwrap_or(ONLY_THREAD);
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
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let limit = LINE_MAX as u64;
            if self.log.source.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(false);
            }
            if bytes.len() == LINE_MAX && !bytes.ends_with(b"\n") {
                self.skip_line()?;
            }
            if !bytes.trim_ascii().is_empty() {
                break;
            }
        }
        self.next.clear();
        self.next.push_str(&String::from_utf8_lossy(&bytes));
        let line = parse(&self.next);
        self.timeless = line.stamp.is_none() && line.body != Body::Other;
        // What strace itself says ("Process 7 attached") has no time, and takes none.
        if line.stamp.is_some() || self.timeless {
            self.at = self.clock.time(line.stamp);
        }
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
