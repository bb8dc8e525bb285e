//! Whether the threads that were there before the log are of one process, and share descriptors, or workers with descriptors of their own.
//!
//! No line says it, but what they do does: a number that a thread is given is not in use in its process, and a thread that uses a number which another was given shares it.
//! `getpid` says it outright. Where nothing does, it is one process: then no number was of two of them at once, but for those from before the log.

use std::collections::{BTreeMap, HashMap};

use super::call::Name;
use super::processes::{Process, Processes, makes_thread};
use super::{KEPT_MAX, text};

/// What was seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sharing {
    processes: Processes,
    /// Who was given a number, and has not closed it.
    given: HashMap<i32, Vec<u32>>,
    /// How many there are.
    count: usize,
    /// What `getpid` told each thread.
    pids: BTreeMap<u32, i64>,
    /// A thread was given a number that another one had open.
    twice: u64,
    /// A thread used a number that another one was given.
    shared: u64,
    /// A thread closed a number that another one was given, and had not used it.
    closed: u64,
}

/// Whose descriptors are whose, of the threads that were there before the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owners {
    /// Each has its own, but for those that are of another thread's process; none: all share them.
    pub workers: Option<HashMap<u32, Process>>,
    /// Not all that was seen agrees, or too little was seen.
    pub unsure: bool,
}

impl Sharing {
    /// A call begins.
    pub(super) fn begins(&mut self, tid: u32, name: &str, args: &str) {
        let name = Name::parse(name);
        match name {
            Name::Clone => self.processes.begin(tid, makes_thread(args)),
            Name::Fork => self.processes.begin(tid, false),
            _ => {}
        }
        let uses = matches!(
            name,
            Name::Recv | Name::RecvMsg | Name::Send | Name::SendMsg | Name::GetPeer | Name::Shutdown
        );
        if !uses && name != Name::Close {
            return;
        }
        let Some(fd) = text::fd(args) else { return };
        if self.processes.of(tid) != 0 {
            return;
        }
        let Some(holders) = self.given.get_mut(&fd) else { return };
        let own = holders.iter().position(|holder| *holder == tid);
        if uses {
            self.shared += u64::from(own.is_none());
            return;
        }
        self.closed += u64::from(own.is_none());
        holders.swap_remove(own.unwrap_or(0));
        self.count -= 1;
        if holders.is_empty() {
            self.given.remove(&fd);
        }
    }

    /// A call has returned.
    pub(super) fn returned(&mut self, tid: u32, name: &str, ret: Option<i64>) {
        if name == "getpid" {
            if self.pids.len() < KEPT_MAX
                && self.processes.of(tid) == 0
                && let Some(pid) = ret
            {
                self.pids.insert(tid, pid);
            }
            return;
        }
        let name = Name::parse(name);
        if matches!(name, Name::Clone | Name::Fork) {
            let child = ret.and_then(|ret| u32::try_from(ret).ok()).filter(|child| *child > 0);
            self.processes.end(tid, child);
        }
        if !matches!(name, Name::Accept | Name::Open | Name::OpenAt | Name::Socket) {
            return;
        }
        let Some(fd) = ret.and_then(|ret| i32::try_from(ret).ok()).filter(|fd| *fd >= 0) else { return };
        if self.processes.of(tid) != 0 || self.count >= KEPT_MAX {
            return;
        }
        let holders = self.given.entry(fd).or_default();
        if !holders.contains(&tid) {
            self.twice += u64::from(!holders.is_empty());
            holders.push(tid);
            self.count += 1;
        }
    }

    /// A thread has ended; its number may be given again.
    pub(super) fn ended(&mut self, tid: u32) {
        self.processes.forget(tid);
    }

    /// Whose they are; `has_closes`: those that close them are in the log.
    pub(super) fn owners(&self, has_closes: bool) -> Owners {
        let mut first_of = BTreeMap::new();
        for (tid, pid) in &self.pids {
            first_of.entry(*pid).or_insert(*tid);
        }
        let others = || self.pids.iter().filter_map(|(tid, pid)| Some((*tid, *first_of.get(pid)?)));
        if self.pids.len() > 1 {
            return Owners { workers: (first_of.len() > 1).then(|| others().collect()), unsure: false };
        }
        let twice = if has_closes { self.twice } else { 0 };
        let (most, least) = (twice.max(self.shared), twice.min(self.shared));
        let nothing_said = most == 0 && self.closed > 0;
        let unsure = least.saturating_mul(4) > most || nothing_said;
        Owners { workers: (twice > self.shared).then(|| others().collect()), unsure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known once these calls were made: thread, name, arguments, result.
    fn owners(calls: &[(u32, &str, &str, i64)]) -> Owners {
        let mut sharing = Sharing::default();
        for (tid, name, args, ret) in calls {
            sharing.begins(*tid, name, args);
            sharing.returned(*tid, name, Some(*ret));
        }
        sharing.owners(true)
    }

    const ONE: Owners = Owners { workers: None, unsure: false };

    #[test]
    fn a_number_given_twice_is_of_two_processes() {
        let accept = |tid| (tid, "accept", "3, NULL", 4);
        let each = Owners { workers: Some(HashMap::new()), unsure: false };
        assert_eq!(owners(&[accept(7), accept(8)]), each);
        assert_eq!(owners(&[accept(7), (7, "close", "4", 0), accept(8)]), ONE, "one after the other");
        assert_eq!(owners(&[accept(7), accept(7)]), ONE, "its close was not seen");
    }

    #[test]
    fn who_uses_anothers_number_shares_it() {
        let shares = [(7, "accept", "3, NULL", 4), (8, "getpeername", "4, {}", 0), (8, "close", "4", 0)];
        assert_eq!(owners(&shares), ONE);
        // And a close that was not seen makes nobody a process.
        let more = [shares[0], shares[1], (9, "recvfrom", "4, \"\"", 0), (8, "write", "4, \"\"", 1)];
        let twice = [(9, "socket", "AF_INET", 4)];
        assert!(owners(&[&more[..], &twice].concat()).workers.is_none());
    }

    #[test]
    fn getpid_says_who_is_of_one_process() {
        let said = [(7, "getpid", "", 70), (8, "getpid", "", 70), (9, "getpid", "", 90)];
        let workers = [(7, 7), (8, 7), (9, 9)].into();
        assert_eq!(owners(&said), Owners { workers: Some(workers), unsure: false });
        assert_eq!(owners(&said[..2]), ONE);
    }

    #[test]
    fn a_close_alone_says_nothing() {
        let closes = [(7, "accept", "3, NULL", 4), (8, "close", "4", 0)];
        assert_eq!(owners(&closes), Owners { workers: None, unsure: true });
        // That both are of one process was said.
        let said = [(7, "getpid", "", 7), (8, "getpid", "", 7)];
        assert_eq!(owners(&[&closes[..], &said].concat()), ONE);
    }

    #[test]
    fn what_the_log_made_is_known() {
        let made = [
            (7, "accept", "3, NULL", 4),
            (7, "clone", "child_stack=NULL, flags=SIGCHLD", 20),
            (20, "openat", "AT_FDCWD, \"/x\"", 4),
            (20, "close", "4", 0),
        ];
        assert_eq!(owners(&made), ONE, "a child has its own, and says nothing of the others");
    }
}
