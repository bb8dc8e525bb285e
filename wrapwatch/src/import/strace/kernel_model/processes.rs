//! Which process a thread belongs to. A log of `strace -f` mixes the server, what forked it, and what it forks; each has descriptors
//! of its own.

use std::collections::HashMap;

use crate::import::strace::KEPT_MAX;

/// A process: its PID, or 0 for the one that was there when the log began.
pub(super) type Process = u32;

/// The processes of a log.
#[derive(Debug, Default)]
pub(super) struct Processes {
    of: HashMap<u32, Process>,
    /// Threads within a `clone` or `fork`, and whether it makes a thread.
    cloning: HashMap<u32, bool>,
}

impl Processes {
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
            (None, Some((parent, _))) => self.of.get(parent).copied().unwrap_or(0),
            (None, None) => 0,
        };
        self.insert(tid, process);
        (process, forking)
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
