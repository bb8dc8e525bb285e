//! Which process a thread belongs to. A log of `strace -f` mixes the server, what forked it, and what it forks; each has descriptors
//! of its own.

use std::collections::HashMap;

use super::{KEPT_MAX, text};

/// A process: its PID, or 0 for the one that was there when the log began. Where several were ([`Processes::of_workers`]), each is the number of one of its threads.
pub(super) type Process = u32;

/// The processes of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Processes {
    of: HashMap<u32, Process>,
    /// Threads within a `clone` or `fork`, and whether it makes a thread.
    cloning: HashMap<u32, bool>,
    /// Several processes were there when the log began: which one a thread is of, where that is not itself.
    workers: Option<HashMap<u32, Process>>,
}

impl Processes {
    /// Where workers had been made before the log: a thread that was there is a process, unless it is one of another.
    pub(super) fn of_workers(others: HashMap<u32, Process>) -> Self {
        Self { workers: Some(others), ..Self::default() }
    }

    /// The process of a thread. One that appears while another thread clones is taken for its child, for as long as that clone has
    /// not said who its child is.
    pub(super) fn of(&mut self, tid: u32) -> Process {
        self.find(tid).0
    }

    /// The same, and the thread that made the process, where this was its first sign.
    pub(super) fn find(&mut self, tid: u32) -> (Process, Option<u32>) {
        if let Some(process) = self.of.get(&tid) {
            return (*process, None);
        }
        let mut cloning = self.cloning.iter().filter(|(parent, _)| **parent != tid);
        // A process taken for a thread would close the server's descriptors: rather the other way round.
        let forking =
            cloning.clone().filter(|(_, makes_thread)| !**makes_thread).map(|(parent, _)| *parent).min();
        let process = match (forking, cloning.next()) {
            (Some(_), _) => tid,
            (None, Some((parent, _))) => {
                self.of.get(parent).copied().unwrap_or_else(|| self.was_there(*parent))
            }
            (None, None) => self.was_there(tid),
        };
        self.insert(tid, process);
        (process, forking)
    }

    /// Whether several processes were there when the log began.
    pub(super) const fn has_workers(&self) -> bool {
        self.workers.is_some()
    }

    /// The process of a thread that nothing in the log made.
    fn was_there(&self, tid: u32) -> Process {
        self.workers.as_ref().map_or(0, |others| others.get(&tid).copied().unwrap_or(tid))
    }

    /// A thread begins to make a thread, or a process.
    pub(super) fn begin(&mut self, tid: u32, makes_thread: bool) {
        if self.cloning.len() < KEPT_MAX {
            self.cloning.insert(tid, makes_thread);
        }
    }

    /// It has made one, or none. Tells of a process that is new: nothing of it was seen.
    pub(super) fn end(&mut self, tid: u32, child: Option<u32>) -> Option<Process> {
        let (Some(makes_thread), Some(child)) = (self.cloning.remove(&tid), child) else { return None };
        let process = if makes_thread { self.of(tid) } else { child };
        let new = !makes_thread && self.of.get(&child) != Some(&child);
        self.insert(child, process);
        new.then_some(child)
    }

    /// A thread ended; its number will be given again.
    pub(super) fn forget(&mut self, tid: u32) {
        self.of.remove(&tid);
        self.cloning.remove(&tid);
    }

    /// What is known of a thread is known of another.
    pub(super) fn rename(&mut self, from: u32, to: u32) {
        if let Some(process) = self.of.remove(&from) {
            self.of.insert(to, process);
        }
        if let Some(makes_thread) = self.cloning.remove(&from) {
            self.cloning.insert(to, makes_thread);
        }
    }

    fn insert(&mut self, tid: u32, process: Process) {
        // A thread that is not kept is looked up, and guessed, again.
        if self.of.len() < KEPT_MAX || self.of.contains_key(&tid) {
            self.of.insert(tid, process);
        }
    }
}

/// `CLONE_THREAD`, by name or as the bit that `-X raw` shows.
pub(super) fn makes_thread(args: &str) -> bool {
    const CLONE_THREAD: u64 = 0x1_0000;
    let raw = || {
        let flags = args.split_once("flags=").map_or("", |(_, rest)| rest);
        let end = flags.find(|c: char| !(c.is_ascii_alphanumeric())).unwrap_or(flags.len());
        text::bits(flags.get(..end)?).map(|bits| bits & CLONE_THREAD != 0)
    };
    args.contains("CLONE_THREAD") || raw().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_children_of_everybody() {
        let mut p = Processes::default();
        assert_eq!(p.of(7), 0);
        p.begin(7, true);
        assert_eq!(p.of(8), 0, "a thread of the first process, before clone returns");
        p.end(7, Some(8));
        p.begin(8, false);
        assert_eq!(p.of(9), 9, "a child");
        p.end(8, Some(9));
        p.begin(9, true);
        p.end(9, Some(10));
        assert_eq!((p.of(10), p.of(8)), (9, 0));
        p.forget(9);
        assert_eq!(p.of(9), 0, "a number given again");
    }

    #[test]
    fn workers_that_were_there_are_processes() {
        let mut p = Processes::of_workers([(6, 5)].into());
        assert_eq!((p.of(5), p.of(6), p.of(7)), (5, 5, 7));
        p.begin(6, true);
        assert_eq!(p.of(8), 5, "a thread of that worker");
        p.begin(7, false);
        assert_eq!(p.of(9), 9, "a child");
    }

    #[test]
    fn what_clone_returns_corrects_the_guess() {
        let mut p = Processes::default();
        assert_eq!((p.of(7), p.of(6)), (0, 0));
        p.begin(7, true);
        p.begin(6, false);
        assert_eq!(p.of(8), 8);
        p.end(7, Some(8));
        assert_eq!(p.of(8), 0);
    }
}
