//! What the kernel side does with calls, done with calls read from a log: watches descriptors, gives connections their numbers,
//! writes records. The assumptions are those of `wrapwatch_common::records`.
//!
//! Besides what the kernel side does, children are followed that have the client's socket, since `strace -f` shows them: their records bear
//! their own thread's number and the server's process.

mod begin;
mod capture;
mod descriptors;
mod files;
mod messages;
mod sockets;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use wrapwatch_common::records as abi;
use wrapwatch_common::records::Class;

use self::begin::Midway;
use self::descriptors::{Descriptors, Watch};
use super::processes::{Process, Processes, makes_thread};
use super::survey::Survey;
use super::{Call, KEPT_MAX, Name, blind, text};
use crate::decode::Event;
use crate::trace::encode::encode;
use crate::trace::{AcceptErrorSample, Input};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorldStats {
    pub(super) accepts: u64,
    pub(super) began_before: u64,
    pub(super) failed_accepts: u64,
    pub(super) other_accepts: u64,
    pub(super) table_opens: u64,
    pub(super) records: u64,
    pub(super) cut_messages: u64,
    pub(super) overflow: u64,
}

/// A process that the server made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    /// Of which nothing says yet that it works for a client: it may be a command that libwrap spawned.
    Made,
    /// It has used the client's socket, or opened a table.
    Works,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Child(Child),
    Stranger,
}

/// The server as the kernel side would know it.
#[derive(Debug)]
pub(super) struct KernelModel {
    pid: Option<u32>,
    begin: Option<u64>,
    survey: Rc<Survey>,
    processes: Processes,
    /// Processes that were there before the log, all of them the server's: where a pool of workers shares the listener.
    workers: Option<HashSet<Process>>,
    /// The process that accepted first; but for its children, nothing else is told of.
    server: Option<Process>,
    children: HashMap<Process, Child>,
    midway: Midway,
    fds: Descriptors,
    /// Connections that did not send their first packet: records so far.
    conns: HashMap<u64, u32>,
    /// What each thread works for; may be a connection that is over.
    threads: HashMap<u32, u64>,
    /// Threads whose `send` was told at its beginning.
    told_send: HashSet<u32>,
    next_conn: u64,
    snapshots: HashMap<String, (Vec<u8>, bool)>,
    /// It was said that texts are cut.
    said_cut: bool,
    /// Calls of `accept` that failed, by error.
    accept_errors: BTreeMap<i64, AcceptErrorSample>,
    stats: WorldStats,
    bytes: Vec<u8>,
}

type Sink<'a> = &'a mut dyn FnMut(Input<'_>);

impl KernelModel {
    pub(super) fn new(pid: Option<u32>, survey: Rc<Survey>) -> Self {
        let owners = survey.owners().workers;
        let mut processes = owners.map_or_else(Processes::default, Processes::of_workers);
        let workers = processes.has_workers().then(|| {
            let there = survey.accepting.difference(&survey.children);
            there
                .map(|tid| processes.of(*tid))
                .filter(|process| pid.is_none_or(|pid| pid == *process))
                .collect()
        });
        Self {
            pid,
            begin: None,
            survey,
            processes,
            workers,
            server: None,
            children: HashMap::new(),
            midway: Midway::default(),
            fds: Descriptors::default(),
            conns: HashMap::new(),
            threads: HashMap::new(),
            told_send: HashSet::new(),
            next_conn: 0,
            snapshots: HashMap::new(),
            said_cut: false,
            accept_errors: BTreeMap::new(),
            stats: WorldStats::default(),
            bytes: Vec::new(),
        }
    }

    /// Says when the log begins; later calls say nothing new.
    pub(super) fn begin(&mut self, at: u64) {
        self.begin.get_or_insert(at);
    }

    /// What is known of a thread is known of another.
    pub(super) fn rename(&mut self, from: u32, to: u32) {
        if let Some(conn) = self.threads.remove(&from) {
            self.threads.insert(to, conn);
        }
        if self.told_send.remove(&from) {
            self.told_send.insert(to);
        }
        if self.pid == Some(from) {
            self.pid = Some(to);
        }
        self.processes.rename(from, to);
    }

    pub(super) const fn stats(&self) -> WorldStats {
        self.stats
    }

    /// A call begins. Its arguments may not be all there.
    pub(super) fn enter(&mut self, call: &Call, at: u64, out: Sink<'_>) {
        let process = self.process(call.tid);
        match call.name {
            Name::Fork => self.processes.begin(call.tid, false),
            Name::Clone => self.processes.begin(call.tid, makes_thread(&call.args)),
            _ => {}
        }
        match self.role(process) {
            Role::Stranger => return,
            Role::Child(Child::Made) => self.used(call, process),
            Role::Child(Child::Works) | Role::Server => {}
        }
        match call.name {
            Name::Send | Name::SendMsg => self.send_enter(call, process, at, out),
            Name::Close => {
                if let Some(fd) = text::fd(&call.args) {
                    self.close(call.tid, process, fd, at, out);
                }
            }
            Name::CloseRange => self.close_range(call, process, at, out),
            Name::Shutdown => self.shutdown(call, process, at, out),
            _ => {}
        }
    }

    /// A call returns; its arguments are all there.
    pub(super) fn exit(&mut self, call: &Call, at: u64, out: Sink<'_>) {
        let told = self.told_send.remove(&call.tid);
        let process = self.process(call.tid);
        if matches!(call.name, Name::Clone | Name::Fork) {
            let child = call.ret.and_then(|ret| u32::try_from(ret).ok()).filter(|child| *child > 0);
            if let Some(child) = self.processes.end(call.tid, child) {
                self.forked(call.tid, process, child);
            }
        }
        let Some(ret) = call.ret else { return };
        if matches!(call.name, Name::Open | Name::OpenAt) && files::is_table(call) {
            self.stats.table_opens += 1;
        }
        if self.server.is_none() {
            self.begin_midway(call, process, ret, at, out);
        }
        let role = self.role(process);
        if role == Role::Stranger && self.server.is_some() {
            self.stats.other_accepts += u64::from(call.name == Name::Accept && ret >= 0);
            return;
        }
        if role == Role::Child(Child::Made) {
            self.used(call, process);
        }
        if matches!(call.name, Name::Dup | Name::Fcntl) && ret >= 0 {
            self.dup(call, process, ret, at, out);
        }
        if self.role(process) == Role::Child(Child::Made) {
            return;
        }
        match call.name {
            Name::Accept if matches!(role, Role::Child(_)) => {
                self.stats.other_accepts += u64::from(ret >= 0);
            }
            Name::Accept => self.accept(call, process, ret, at, out),
            Name::Open | Name::OpenAt => self.open(call, process, ret, at, out),
            Name::Socket => self.socket(call, process, ret),
            Name::Connect => self.connect(call, process, ret, at, out),
            Name::Send | Name::SendMsg => self.send_exit(call, process, ret, told, at, out),
            Name::Recv | Name::RecvMsg => self.recv(call, process, ret, at, out),
            Name::Poll => self.poll(call, process, ret, at, out),
            Name::GetPeer => self.get_peer_name(call, process, ret, at, out),
            Name::Wait => self.wait(call, ret, at, out),
            Name::Exec if ret == 0 && role == Role::Server => {
                let hdr = self.hdr(self.current(call.tid).unwrap_or(0), call.tid, at);
                self.put(&Event::Exec(abi::Exec { hdr }), out);
            }
            _ => {}
        }
    }

    /// A thread, or a process that was forked, ended.
    pub(super) fn thread_end(&mut self, tid: u32, at: u64, out: Sink<'_>) {
        self.told_send.remove(&tid);
        let process = self.process(tid);
        let role = self.role(process);
        self.processes.forget(tid);
        let conn = self.current(tid);
        match role {
            // With a worker its descriptors go; the server goes on.
            Role::Server if self.is_worker(process) => {
                for fd in self.fds.within(process, 0, i64::MAX) {
                    self.close(tid, process, fd, at, out);
                }
            }
            Role::Server => {
                let leader = self.pid == Some(tid);
                if leader || conn.is_some() {
                    self.exited(tid, conn, leader, at, out);
                }
            }
            Role::Child(child) if process == tid => {
                self.children.remove(&process);
                self.fds.forget(process);
                if child == Child::Works
                    && let Some(conn) = conn.filter(|conn| !self.fds.is_held(*conn))
                {
                    self.exited(tid, Some(conn), false, at, out);
                    self.conns.remove(&conn);
                }
            }
            Role::Child(_) | Role::Stranger => {}
        }
        self.threads.remove(&tid);
    }

    fn exited(&mut self, tid: u32, conn: Option<u64>, leader: bool, at: u64, out: Sink<'_>) {
        let hdr = self.hdr(conn.unwrap_or(0), tid, at);
        self.put(&Event::Exit(abi::Exit { hdr, leader: u32::from(leader), pad: 0 }), out);
    }

    /// The log is over, at `at`: what was read of files that are still open, and which accepts failed.
    pub(super) fn finish(&mut self, at: u64, out: Sink<'_>) {
        if self.server.is_none() {
            self.nobody_accepted(out);
        }
        if self.server.is_none() {
            return;
        }
        for capture in self.fds.take_captures() {
            self.snapshot(capture, out);
        }
        self.tell_accept_errors(at, out);
    }

    /// The process of a thread; takes note of one that was just made.
    fn process(&mut self, tid: u32) -> Process {
        let (process, parent) = self.processes.find(tid);
        if let Some(parent) = parent {
            let of = self.processes.of(parent);
            self.forked(parent, of, process);
        }
        process
    }

    /// The server, or a child of its, made a process: that has its descriptors, and may work for its connection. One of which the log has
    /// nothing is not followed.
    fn forked(&mut self, parent: u32, of: Process, child: Process) {
        if self.role(of) == Role::Stranger || !self.survey.shows(child) || self.children.len() >= KEPT_MAX {
            return;
        }
        if !self.fds.inherit(of, child) {
            self.stats.overflow += 1;
        }
        self.children.insert(child, Child::Made);
        if let Some(conn) = self.current(parent) {
            self.work_for(child, conn);
        }
    }

    fn role(&self, process: Process) -> Role {
        if self.server == Some(process) || (self.server.is_some() && self.is_worker(process)) {
            Role::Server
        } else {
            self.children.get(&process).map_or(Role::Stranger, |child| Role::Child(*child))
        }
    }

    fn is_worker(&self, process: Process) -> bool {
        self.workers.as_ref().is_some_and(|workers| workers.contains(&process))
    }

    /// Whether a process was there before the log, as far as it may be the server.
    fn was_there(&self, process: Process) -> bool {
        process == 0 || self.is_worker(process)
    }

    /// A child works for the client once it uses its socket or opens a table.
    fn used(&mut self, call: &Call, process: Process) {
        let works = match call.name {
            Name::Open | Name::OpenAt => files::is_table(call),
            Name::Send | Name::SendMsg | Name::Recv | Name::RecvMsg | Name::GetPeer | Name::Shutdown => {
                let watch = text::fd(&call.args).and_then(|fd| self.fds.get(process, fd));
                let conn = watch.filter(|watch| watch.class == Class::Accepted).map(|watch| watch.conn);
                if let Some(conn) = conn {
                    self.work_for(call.tid, conn);
                }
                conn.is_some()
            }
            _ => false,
        };
        if works {
            self.children.insert(process, Child::Works);
        }
    }

    /// Whether what a thread of this process does belongs to a connection.
    fn is_told(&self, process: Process) -> bool {
        matches!(self.role(process), Role::Server | Role::Child(Child::Works))
    }

    /// The connection that a thread works for, while it is open.
    fn current(&self, tid: u32) -> Option<u64> {
        self.threads.get(&tid).copied().filter(|conn| self.conns.contains_key(conn))
    }

    /// The connection that a call on a watched descriptor belongs to.
    fn conn_of(&self, watch: &Watch, tid: u32) -> u64 {
        if self.conns.contains_key(&watch.conn) {
            watch.conn
        } else {
            self.current(tid).unwrap_or(watch.conn)
        }
    }

    fn hdr(&mut self, conn: u64, tid: u32, at: u64) -> abi::Header {
        let seq = self.conns.get_mut(&conn).map_or(0, |seq| {
            *seq += 1;
            *seq
        });
        abi::Header { ts_ns: at, conn, tgid: self.pid.unwrap_or(0), tid, seq, kind: 0, len: 0 }
    }

    fn put(&mut self, event: &Event<'_>, out: Sink<'_>) {
        self.bytes.clear();
        encode(event, &mut self.bytes);
        self.stats.records += 1;
        out(Input::Record(&self.bytes));
    }

    /// Says, once, that something that matters is cut.
    fn say_cut(&mut self, out: Sink<'_>) {
        if !std::mem::replace(&mut self.said_cut, true) {
            out(Input::from(blind::cut()));
        }
    }

    fn watch(&mut self, process: Process, fd: i32, watch: Watch) {
        if !self.fds.insert(process, fd, watch) {
            self.stats.overflow += 1;
        }
    }

    /// A new connection's number.
    fn connection(&mut self, tid: u32) -> u64 {
        self.next_conn += 1;
        let conn = self.next_conn;
        if self.conns.len() < KEPT_MAX {
            self.conns.insert(conn, 0);
        } else {
            self.stats.overflow += 1;
        }
        self.work_for(tid, conn);
        conn
    }

    fn work_for(&mut self, tid: u32, conn: u64) {
        if self.threads.len() < KEPT_MAX || self.threads.contains_key(&tid) {
            self.threads.insert(tid, conn);
        } else {
            self.stats.overflow += 1;
        }
    }

    fn close(&mut self, tid: u32, process: Process, fd: i32, at: u64, out: Sink<'_>) {
        let Some(mut watch) = self.fds.remove(process, fd) else { return };
        // Closed is a socket with the last of its descriptors: another process may have one.
        let held = watch.class == Class::Accepted && self.fds.is_held(watch.conn);
        if !held && self.is_told(process) {
            let hdr = self.hdr(self.conn_of(&watch, tid), tid, at);
            self.put(
                &Event::Close(abi::Close {
                    hdr,
                    run_delay_ns: 0,
                    fd,
                    class: watch.class as u8,
                    read_to_end: 0,
                    pad: [0; 2],
                }),
                out,
            );
        }
        if watch.class == Class::Accepted && !held {
            self.conns.remove(&watch.conn);
        }
        if let Some(capture) = watch.capture.take() {
            self.snapshot(*capture, out);
        }
    }

    fn close_range(&mut self, call: &Call, process: Process, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let bound = |i: usize| args.get(i).and_then(|arg| text::int(arg));
        // CLOSE_RANGE_CLOEXEC closes nothing now.
        let (Some(first), Some(last), false) = (bound(0), bound(1), call.args.contains("CLOEXEC")) else {
            return;
        };
        for fd in self.fds.within(process, first, last) {
            self.close(call.tid, process, fd, at, out);
        }
    }

    /// `dup`, `dup2`, `dup3`, and `fcntl` where it duplicates.
    fn dup(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let Ok(to) = i32::try_from(ret) else { return };
        let duplicates = |arg: &&str| arg.starts_with("F_DUPFD") || matches!(*arg, "0" | "0x406");
        let is_dup = call.name == Name::Dup || args.get(1).is_some_and(duplicates);
        let Some(from) = args.first().and_then(|arg| text::fd(arg)).filter(|from| is_dup && *from != to)
        else {
            return;
        };
        self.close(call.tid, process, to, at, out);
        if !self.fds.duplicate(process, from, to) {
            self.stats.overflow += 1;
        }
    }

    fn wait(&mut self, call: &Call, ret: i64, at: u64, out: Sink<'_>) {
        let Some(conn) = self.current(call.tid) else { return };
        let hdr = self.hdr(conn, call.tid, at);
        let ret = i32::try_from(ret).unwrap_or(i32::MIN);
        self.put(&Event::Wait(abi::Wait { hdr, enter_ns: call.start, ret, pad: 0 }), out);
    }
}

fn descriptor(ret: i64) -> Option<i32> {
    i32::try_from(ret).ok().filter(|fd| *fd >= 0)
}
