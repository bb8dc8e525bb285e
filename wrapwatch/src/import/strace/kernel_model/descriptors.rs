//! Watched descriptors: each process has its own, a fork copies them, and an accepted socket is closed with the last of its descriptors.

use std::collections::HashMap;

use wrapwatch_common::records::Class;

use super::capture::Capture;
use crate::import::strace::KEPT_MAX;
use crate::import::strace::processes::Process;

/// Why a descriptor is watched.
#[derive(Debug)]
pub(super) struct Watch {
    pub conn: u64,
    pub class: Class,
    pub sock_type: u8,
    pub capture: Option<Box<Capture>>,
}

impl Watch {
    /// The same of another descriptor; what is read through it is the first one's.
    const fn copy(&self) -> Self {
        Self { conn: self.conn, class: self.class, sock_type: self.sock_type, capture: None }
    }

    fn is_socket_of(&self, conn: u64) -> bool {
        self.conn == conn && self.class == Class::Accepted
    }
}

/// The watched descriptors of all processes.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    of: HashMap<Process, HashMap<i32, Watch>>,
    /// How many there are.
    count: usize,
}

impl Descriptors {
    /// False where there is no room.
    pub(super) fn insert(&mut self, process: Process, fd: i32, watch: Watch) -> bool {
        let full = self.count >= KEPT_MAX;
        let mine = self.of.entry(process).or_default();
        let known = mine.contains_key(&fd);
        if full && !known {
            return false;
        }
        mine.insert(fd, watch);
        self.count += usize::from(!known);
        true
    }

    pub(super) fn get(&self, process: Process, fd: i32) -> Option<&Watch> {
        self.of.get(&process)?.get(&fd)
    }

    pub(super) fn get_mut(&mut self, process: Process, fd: i32) -> Option<&mut Watch> {
        self.of.get_mut(&process)?.get_mut(&fd)
    }

    pub(super) fn remove(&mut self, process: Process, fd: i32) -> Option<Watch> {
        let watch = self.of.get_mut(&process)?.remove(&fd)?;
        self.count -= 1;
        Some(watch)
    }

    /// Whether some descriptor is still the connection's socket.
    pub(super) fn is_held(&self, conn: u64) -> bool {
        self.of.values().flat_map(HashMap::values).any(|watch| watch.is_socket_of(conn))
    }

    /// Forgets every descriptor of the connection's socket: its first packet was sent.
    pub(super) fn forget_accepted(&mut self, conn: u64) {
        self.of.values_mut().for_each(|mine| mine.retain(|_, watch| !watch.is_socket_of(conn)));
        self.recount();
    }

    /// A descriptor is duplicated. False where there is no room.
    pub(super) fn duplicate(&mut self, process: Process, from: i32, to: i32) -> bool {
        let copy = self.get(process, from).map(Watch::copy);
        copy.is_none_or(|copy| self.insert(process, to, copy))
    }

    /// A process is made: it has what its parent has. False where there is no room for all.
    pub(super) fn inherit(&mut self, parent: Process, child: Process) -> bool {
        let mine = self.of.get(&parent);
        let copies: Vec<(i32, Watch)> =
            mine.into_iter().flatten().map(|(fd, watch)| (*fd, watch.copy())).collect();
        copies.into_iter().fold(true, |fits, (fd, watch)| self.insert(child, fd, watch) && fits)
    }

    /// A process has ended.
    pub(super) fn forget(&mut self, process: Process) {
        self.of.remove(&process);
        self.recount();
    }

    /// The descriptors of a process within a range, in order.
    pub(super) fn within(&self, process: Process, first: i64, last: i64) -> Vec<i32> {
        let mine = self.of.get(&process).into_iter().flat_map(HashMap::keys);
        let mut fds: Vec<i32> = mine.copied().filter(|fd| (first..=last).contains(&i64::from(*fd))).collect();
        fds.sort_unstable();
        fds
    }

    /// What is being read of files.
    pub(super) fn take_captures(&mut self) -> Vec<Capture> {
        let mut captures = Vec::new();
        for (process, mine) in &mut self.of {
            captures.extend(mine.iter_mut().filter_map(|(fd, w)| Some(((*process, *fd), w.capture.take()?))));
        }
        captures.sort_by_key(|(key, _)| *key);
        captures.into_iter().map(|(_, capture)| *capture).collect()
    }

    fn recount(&mut self) {
        self.count = self.of.values().map(HashMap::len).sum();
    }
}
