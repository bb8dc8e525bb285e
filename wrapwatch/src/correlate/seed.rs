//! Checks that began before the trace: what /proc/PID/fd showed at attach.

use std::net::SocketAddr;

use wrapwatch_common::maps::{thread_key, watch_key};

use crate::model::{Client, KtimeNs, Missing};

use super::Correlator;
use super::check::{FdKind, FdUse, TableUse};
use super::open_connection::{Birth, OpenConnection};
use super::resolver::{Moment, Service};
use super::servers::Servers;

/// A socket that a seeded check had open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeededSocket {
    /// Its number.
    pub fd: i32,
    /// Where it is connected to: port 53, or 113 for ident. `None`: to a nameserver that is not known.
    pub server: Option<SocketAddr>,
    /// A stream socket.
    pub stream: bool,
}

/// A check that was going on at attach. Its connection is told incomplete, its times count from the attach.
#[derive(Clone, Debug)]
pub struct SeededCheck {
    /// Number of the connection; also in the kernel side's maps, so that later records carry it.
    pub conn: u64,
    /// Process.
    pub tgid: u32,
    /// The accept thread.
    pub tid: u32,
    /// When it was found.
    pub at: KtimeNs,
    /// The accepted socket; -1 where not known.
    pub fd: i32,
    /// Its client.
    pub peer: Option<SocketAddr>,
    /// The server's side.
    pub local: Option<SocketAddr>,
    /// The open table: descriptor and path.
    pub table: Option<(i32, String)>,
    /// Sockets to nameservers, oldest first; the last one is taken to be waited for.
    pub sockets: Vec<SeededSocket>,
}

impl Correlator {
    /// Begins with a check that was going on at attach; before any event of its connection. What was seen of it before, if the hooks were attached again, has no end.
    pub fn seed(&mut self, seed: &SeededCheck) {
        let before = self.threads.get(&thread_key(seed.tgid, seed.tid)).and_then(|thread| thread.current);
        if let Some(before) = before {
            self.end_unseen(before, Missing::EndUnseen);
        }
        let mut ongoing =
            OpenConnection::new(seed.conn, seed.tgid, seed.tid, seed.fd, Birth::Seeded, seed.at);
        ongoing.client = seed.peer.map(Client::Ip);
        ongoing.local = seed.local;
        ongoing.miss(Missing::BeganBefore);
        if let Some((fd, path)) = &seed.table {
            let (path, kind) = self.path_kind(seed.tgid, path);
            let what = FdKind::File(None, kind);
            ongoing.check.use_fd(FdUse { fd: *fd, what }, self.shared.limits.uses);
            let fd = Some(*fd);
            ongoing.check.tables.push(TableUse {
                kind,
                path,
                from: seed.at,
                fd,
                done: None,
                opened: true,
                eof: false,
                rule: None,
            });
        }
        let moment = Moment { tid: seed.tid, at: seed.at, seq: 0 };
        for socket in &seed.sockets {
            let server = socket.server.map_or(Servers::UNKNOWN, |server| self.shared.servers.ip(server));
            let ident =
                socket.server.is_some_and(|server| server.port() == wrapwatch_common::abi::PORT_IDENT);
            let service = if ident { Service::Ident } else { Service::Dns };
            ongoing.resolver.open_sock(socket.fd, service, server, socket.stream, moment, &mut self.shared);
            ongoing.resolver.wait_seeded(socket.fd, moment, &mut self.shared);
        }
        self.now = self.now.max(seed.at);
        self.thread(thread_key(seed.tgid, seed.tid));
        let thread = self.threads.entry(thread_key(seed.tgid, seed.tid)).or_default();
        thread.current = Some(seed.conn);
        thread.turned = seed.at;
        self.fds.insert(watch_key(seed.tgid, seed.fd), seed.conn);
        self.open.insert(seed.conn, Box::new(ongoing));
    }

    /// A unix socket that the target had open at attach, by its path: syslog's, above all.
    pub fn seed_unix_socket(&mut self, tgid: u32, fd: i32, path: &str) {
        self.shared.unix.insert(tgid, fd, path.as_bytes(), self.shared.limits.unix_sockets);
    }
}
