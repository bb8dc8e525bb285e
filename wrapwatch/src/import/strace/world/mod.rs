//! What the kernel side does with calls, done with calls read from a log: watches descriptors, gives connections their numbers,
//! writes records. The assumptions are those of `wrapwatch_common::records`.

mod files;
mod messages;
mod processes;
mod sockets;

use std::collections::{HashMap, HashSet};

use wrapwatch_common::records as abi;
use wrapwatch_common::records::Class;

use self::files::Capture;
use self::processes::{Process, Processes};
use super::{Call, KEPT_MAX, Name, Out, text};
use crate::decode::Event;
use crate::trace::encode::encode;

#[derive(Debug)]
struct Watch {
    conn: u64,
    class: Class,
    sock_type: u8,
    capture: Option<Box<Capture>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorldStats {
    pub(super) accepts: u64,
    pub(super) records: u64,
    pub(super) cut_messages: u64,
    pub(super) overflow: u64,
}

/// The server as the kernel side would know it.
#[derive(Debug)]
pub(super) struct World {
    pid: Option<u32>,
    begin: Option<u64>,
    processes: Processes,
    /// The process that accepted first; nothing else is told of.
    server: Option<Process>,
    watches: HashMap<i32, Watch>,
    /// Connections that did not send their first packet: records so far.
    conns: HashMap<u64, u32>,
    /// What each thread works for; may be a connection that is over.
    threads: HashMap<u32, u64>,
    /// Threads whose `send` was told at its beginning.
    told_send: HashSet<u32>,
    next_conn: u64,
    snapshots: HashMap<String, (Vec<u8>, bool)>,
    stats: WorldStats,
    bytes: Vec<u8>,
}

type Sink<'a> = &'a mut dyn FnMut(Out<'_>);

impl World {
    pub(super) fn new(pid: Option<u32>) -> Self {
        Self {
            pid,
            begin: None,
            processes: Processes::default(),
            server: None,
            watches: HashMap::new(),
            conns: HashMap::new(),
            threads: HashMap::new(),
            told_send: HashSet::new(),
            next_conn: 0,
            snapshots: HashMap::new(),
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
        let process = self.processes.of(call.tid);
        match call.name {
            Name::Fork => self.processes.begin(call.tid, false),
            Name::Clone => self.processes.begin(call.tid, call.args.contains("CLONE_THREAD")),
            _ => {}
        }
        if self.server != Some(process) {
            return;
        }
        match call.name {
            Name::Send | Name::SendMsg => self.send_enter(call, at, out),
            Name::Close => {
                if let Some(fd) = text::fd(&call.args) {
                    self.close(call.tid, fd, at, out);
                }
            }
            Name::CloseRange => self.close_range(call, at, out),
            Name::Shutdown => self.shutdown(call, at, out),
            _ => {}
        }
    }

    /// A call returns; its arguments are all there.
    pub(super) fn exit(&mut self, call: &Call, at: u64, out: Sink<'_>) {
        let told = self.told_send.remove(&call.tid);
        if matches!(call.name, Name::Clone | Name::Fork) {
            let child = call.ret.and_then(|ret| u32::try_from(ret).ok()).filter(|child| *child > 0);
            self.processes.end(call.tid, child);
        }
        let Some(ret) = call.ret else { return };
        let process = self.processes.of(call.tid);
        if self.server.is_some_and(|server| server != process) {
            return;
        }
        match call.name {
            Name::Accept => self.accept(call, process, ret, at, out),
            Name::Open | Name::OpenAt => self.open(call, ret, at, out),
            Name::Socket => self.socket(call, ret),
            Name::Connect => self.connect(call, ret, at, out),
            Name::Send | Name::SendMsg => self.send_exit(call, ret, told, at, out),
            Name::Recv | Name::RecvMsg => self.recv(call, ret, at, out),
            Name::Dup2 if ret >= 0 => {
                if let Ok(fd) = i32::try_from(ret) {
                    self.close(call.tid, fd, at, out);
                }
            }
            Name::GetPeer => self.get_peer_name(call, ret, at, out),
            Name::Wait => self.wait(call, ret, at, out),
            Name::Exec if ret == 0 && self.server.is_some() => {
                let hdr = self.hdr(self.current(call.tid).unwrap_or(0), call.tid, at);
                self.put(&Event::Exec(abi::Exec { hdr }), out);
            }
            _ => {}
        }
    }

    /// A thread, or a process that was forked, ended.
    pub(super) fn thread_end(&mut self, tid: u32, at: u64, out: Sink<'_>) {
        self.told_send.remove(&tid);
        let process = self.processes.of(tid);
        self.processes.forget(tid);
        if self.server != Some(process) {
            return;
        }
        let conn = self.current(tid);
        let leader = self.pid == Some(tid);
        if leader || conn.is_some() {
            let hdr = self.hdr(conn.unwrap_or(0), tid, at);
            self.put(&Event::Exit(abi::Exit { hdr, leader: u32::from(leader), pad: 0 }), out);
        }
        self.threads.remove(&tid);
    }

    /// The log is over: what was read of files that are still open.
    pub(super) fn finish(&mut self, out: Sink<'_>) {
        let captures: Vec<Box<Capture>> =
            self.watches.values_mut().filter_map(|w| w.capture.take()).collect();
        for capture in captures {
            self.snapshot(*capture, out);
        }
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
        out(Out::Record(&self.bytes));
    }

    fn watch(&mut self, fd: i32, watch: Watch) {
        if self.watches.len() < KEPT_MAX || self.watches.contains_key(&fd) {
            self.watches.insert(fd, watch);
        } else {
            self.stats.overflow += 1;
        }
    }

    fn work_for(&mut self, tid: u32, conn: u64) {
        if self.threads.len() < KEPT_MAX || self.threads.contains_key(&tid) {
            self.threads.insert(tid, conn);
        } else {
            self.stats.overflow += 1;
        }
    }

    fn close(&mut self, tid: u32, fd: i32, at: u64, out: Sink<'_>) {
        let Some(mut watch) = self.watches.remove(&fd) else { return };
        let hdr = self.hdr(self.conn_of(&watch, tid), tid, at);
        self.put(
            &Event::Close(abi::Close { hdr, run_delay_ns: 0, fd, class: watch.class as u8, pad: [0; 3] }),
            out,
        );
        if watch.class == Class::Accepted {
            self.conns.remove(&watch.conn);
        }
        if let Some(capture) = watch.capture.take() {
            self.snapshot(*capture, out);
        }
    }

    fn close_range(&mut self, call: &Call, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let bound = |i: usize| args.get(i).and_then(|arg| text::int(arg));
        // CLOSE_RANGE_CLOEXEC closes nothing now.
        let (Some(first), Some(last), false) = (bound(0), bound(1), call.args.contains("CLOEXEC")) else {
            return;
        };
        let mut fds: Vec<i32> =
            self.watches.keys().copied().filter(|fd| (first..=last).contains(&i64::from(*fd))).collect();
        fds.sort_unstable();
        for fd in fds {
            self.close(call.tid, fd, at, out);
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
