//! A first look through a log: how much of it is understood, which kinds of calls it has at all, and what its lines show.
//!
//! The importer has to know before its first record: a kind of call that never occurs was not traced, and then nothing can be said of what it
//! would have shown.

use std::collections::{BTreeMap, HashSet};

use super::KEPT_MAX;
use super::call::CallKind;
use super::clean::{self, Marks};
use super::foreign::Looks;
use super::line::{Body, Finish, Line, ONLY_THREAD};
use super::sharing::{Owners, Sharing};

/// Which times a log has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// Of each line (`-t`, `-tt`, `-ttt`, `-r`).
    #[default]
    Lines,
    /// Only how long calls took (`-T`): what passed between them is not known.
    Durations,
    /// None.
    Nothing,
}

/// What a log is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Lines that are not empty; wrapped ones count once.
    pub lines: u64,
    /// Of these, lines that are a call, its beginning or its end.
    pub calls: u64,
    /// Of these, what else strace says: signals, exits, who is attached.
    pub remarks: u64,
    /// Calls by kind.
    pub kinds: BTreeMap<CallKind, u64>,
    /// Lines that look like something else's.
    pub foreign: BTreeMap<Looks, u64>,
    /// Opens of hosts.allow or hosts.deny.
    pub tables: u64,
    /// Calls with a time.
    pub stamped: u64,
    /// Calls that returned.
    pub returned: u64,
    /// Of these, with `-T`.
    pub took: u64,
    /// Calls put together of several lines: a mail program or a terminal had wrapped them.
    pub wrapped: u64,
    /// Lines of quoted mail.
    pub quoted: u64,
    /// Lines with colours.
    pub coloured: u64,
    /// Lines with HTML's entities or typographic quotes.
    pub retouched: u64,
    /// Threads and processes that lines are of.
    pub(super) threads: HashSet<u32>,
    /// Threads that call `accept`.
    pub(super) accepting: HashSet<u32>,
    /// Threads that make threads or processes.
    pub(super) making: HashSet<u32>,
    /// Those that a `clone` or `fork` made.
    pub(super) children: HashSet<u32>,
    /// Whose descriptors are whose.
    sharing: Sharing,
}

impl Survey {
    /// Takes the next line, whose text and marks are given too.
    pub(super) fn take(
        &mut self,
        tid: Option<u32>,
        text: &str,
        line: &Line<'_>,
        marks: Marks,
        wrapped: bool,
    ) {
        self.lines += 1;
        self.quoted += u64::from(marks.quoted);
        self.coloured += u64::from(marks.coloured);
        self.retouched += u64::from(marks.entities || marks.typographic);
        self.wrapped += u64::from(wrapped);
        if let Some(looks) = Looks::of(text, &line.body) {
            *self.foreign.entry(looks).or_default() += 1;
            return;
        }
        let tid = tid.or(line.tid).unwrap_or(ONLY_THREAD);
        match line.body {
            Body::Whole { name, args, finish } => {
                self.sharing.begins(tid, name, args);
                self.call(tid, name, args, line);
                self.finish(tid, name, finish);
            }
            Body::Resumed { name, args, finish } => {
                self.call(tid, name, args, line);
                self.finish(tid, name, finish);
            }
            Body::Unfinished { name, args } => {
                self.sharing.begins(tid, name, args);
                self.call(tid, name, args, line);
            }
            Body::Exited => {
                self.sharing.ended(tid);
                self.remarks += 1;
            }
            Body::Other => self.remarks += u64::from(is_remark(text)),
        }
    }

    fn call(&mut self, tid: u32, name: &str, args: &str, line: &Line<'_>) {
        let kept = |set: &mut HashSet<u32>| {
            if set.len() < KEPT_MAX {
                set.insert(tid);
            }
        };
        kept(&mut self.threads);
        match CallKind::parse(name) {
            Some(CallKind::Accept) => kept(&mut self.accepting),
            Some(CallKind::Clone) => kept(&mut self.making),
            Some(CallKind::Open) if args.contains("hosts.allow\"") || args.contains("hosts.deny\"") => {
                self.tables += 1;
            }
            _ => {}
        }
        self.calls += 1;
        self.stamped += u64::from(line.stamp.is_some());
        if let Some(kind) = CallKind::parse(name) {
            *self.kinds.entry(kind).or_default() += 1;
        }
    }

    fn finish(&mut self, tid: u32, name: &str, finish: Finish<'_>) {
        self.sharing.returned(tid, name, finish.ret);
        self.returned += 1;
        self.took += u64::from(finish.took_ns.is_some());
        let child = finish.ret.and_then(|ret| u32::try_from(ret).ok()).filter(|child| *child > 0);
        if let Some(child) = child
            && CallKind::parse(name) == Some(CallKind::Clone)
            && self.children.len() < KEPT_MAX
        {
            self.children.insert(child);
        }
    }

    /// Lines that were understood, as calls or as what else strace says.
    pub const fn understood(&self) -> u64 {
        self.calls + self.remarks
    }

    /// Whether most of it was not understood: then nothing that it lacks was not there.
    pub const fn is_strange(&self) -> bool {
        self.understood() * 2 < self.lines
    }

    /// What most of the lines that are not strace's look like.
    pub fn looks(&self) -> Option<Looks> {
        self.foreign.iter().max_by_key(|(_, lines)| **lines).map(|(looks, _)| *looks)
    }

    /// Whether it has calls of this kind.
    pub fn has(&self, kind: CallKind) -> bool {
        self.kinds.contains_key(&kind)
    }

    /// Which times its lines have.
    pub const fn times(&self) -> Times {
        if self.stamped * 2 >= self.calls {
            Times::Lines
        } else if self.took * 2 >= self.returned && self.took > 0 {
            Times::Durations
        } else {
            Times::Nothing
        }
    }

    /// Whose descriptors are whose, of the threads that were there before.
    pub(super) fn owners(&self) -> Owners {
        self.sharing.owners(self.has(CallKind::Close))
    }

    /// Whether it has lines of this thread or process; what is not known of a small part of a huge log counts as there.
    pub(super) fn shows(&self, tid: u32) -> bool {
        self.threads.contains(&tid) || self.threads.len() >= KEPT_MAX
    }

    /// Threads and processes that were made, and of which there is not one line: strace ran without `-f`.
    pub fn unfollowed(&self) -> u64 {
        if self.threads.len() >= KEPT_MAX {
            return 0;
        }
        // In a container a server's `clone` returns other numbers than strace prints: then it is their number that tells.
        let unseen = self.children.difference(&self.threads).count();
        let fewer = (self.children.len() + 1).saturating_sub(self.threads.len());
        unseen.min(fewer) as u64
    }
}

/// What strace says besides calls.
fn is_remark(text: &str) -> bool {
    let text = text.trim_start();
    let said = ["strace: ", "--- SIG", "+++ ", "<detached", "<unfinished", "Process "];
    said.iter().any(|said| text.starts_with(said) || text.contains(&format!(" {said}")))
        || clean::is_stack_line(text)
}
