//! Sockets: accepted, made, connected, handed over.

use wrapwatch_common::records as abi;
use wrapwatch_common::records::Class;

use super::processes::Process;
use super::{Sink, Watch, World, descriptor};
use crate::decode::Event;
use crate::import::strace::{Call, KEPT_MAX, Out, address, head, text};
use crate::trace::encode::{AF_INET, AF_INET6, AF_UNIX, NO_ADDR, SOCK_DGRAM, SOCK_STREAM, addr};
use crate::trace::{Listener, Target};

impl World {
    pub(super) fn accept(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        let Some(fd) = descriptor(ret) else { return };
        let args = text::split(&call.args);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        if self.server.is_none() && !self.is_server(call.tid, process, arg(0), out) {
            return;
        }
        self.stats.accepts += 1;
        self.next_conn += 1;
        let conn = self.next_conn;
        if self.conns.len() < KEPT_MAX {
            self.conns.insert(conn, 0);
        } else {
            self.stats.overflow += 1;
        }
        self.work_for(call.tid, conn);
        self.watch(fd, Watch { conn, class: Class::Accepted, sock_type: SOCK_STREAM, capture: None });
        let peer = address::sockaddr(arg(1)).map(|(addr, _)| addr);
        // A server that did not ask is told of by -yy.
        let shown = || address::ends(&call.note).and_then(|(_, peer)| peer).map(addr);
        let peer = peer.or_else(shown).unwrap_or(NO_ADDR);
        let hdr = self.hdr(conn, call.tid, at);
        let listener = text::fd(arg(0)).unwrap_or(-1);
        self.put(&Event::Accept(abi::Accept { hdr, enter_ns: call.start, peer, fd, listener }), out);
    }

    /// The first accept: takes its process for the server, and tells of it. False where another one was asked for.
    fn is_server(&mut self, tid: u32, process: Process, listener: &str, out: Sink<'_>) -> bool {
        if process != 0 && self.pid.is_some_and(|pid| pid != process) {
            return false;
        }
        self.server = Some(process);
        let pid = *self.pid.get_or_insert(if process == 0 { tid } else { process });
        let address = address::ends(text::fd_note(listener)).map(|(local, _)| local.to_string());
        let listeners = address
            .map(|address| Listener { fd: text::fd(listener), address, queue_limit: None })
            .into_iter()
            .collect();
        let target = Target { pid, accept_threads: vec![tid], listeners, ..Target::default() };
        out(Out::Head(Box::new(head(self.begin.unwrap_or(0), target))));
        true
    }

    pub(super) fn socket(&mut self, call: &Call, ret: i64) {
        let (Some(conn), Some(fd)) = (self.current(call.tid), descriptor(ret)) else { return };
        let args = text::split(&call.args);
        let sock_type = args.get(1).map_or(0, |arg| sock_type(arg));
        self.watch(fd, Watch { conn, class: Class::Socket, sock_type, capture: None });
    }

    pub(super) fn connect(&mut self, call: &Call, ret: i64, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let Some(fd) = args.first().and_then(|arg| text::fd(arg)) else { return };
        let to = args.get(1).and_then(|arg| address::sockaddr(arg));
        let (addr, path) = to.unwrap_or((NO_ADDR, Vec::new()));
        self.classify(call, fd, addr, &path, ret, at, out);
    }

    /// Watches a socket for what it talks to, and writes [`abi::Connect`].
    #[expect(clippy::too_many_arguments, reason = "the record's fields")]
    pub(super) fn classify(
        &mut self,
        call: &Call,
        fd: i32,
        to: abi::Addr,
        path: &[u8],
        ret: i64,
        at: u64,
        out: Sink<'_>,
    ) {
        let (conn, sock_type, class) = match (self.watches.get(&fd), self.current(call.tid)) {
            (Some(watch), _) if watch.class == Class::Accepted => return,
            (Some(watch), _) => (self.conn_of(watch, call.tid), watch.sock_type, watch.class),
            (None, Some(conn)) => (conn, 0, Class::Socket),
            (None, None) => return,
        };
        let class = class_of(to, sock_type).unwrap_or(class);
        self.watch(fd, Watch { conn, class, sock_type, capture: None });
        let ret = i32::try_from(ret).unwrap_or(i32::MIN);
        let (class, enter_ns) = (class as u8, call.start);
        let hdr = self.hdr(conn, call.tid, at);
        let body = abi::Connect {
            hdr,
            enter_ns,
            run_delay_ns: 0,
            addr: to,
            fd,
            ret,
            class,
            sock_type,
            path_len: 0,
            pad: 0,
        };
        self.put(&Event::Connect(body, path), out);
    }

    pub(super) fn shutdown(&mut self, call: &Call, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let Some(fd) = args.first().and_then(|arg| text::fd(arg)) else { return };
        let Some(watch) = self.watches.get(&fd).filter(|watch| watch.class == Class::Accepted) else {
            return;
        };
        let conn = watch.conn;
        let how = match args.get(1).copied() {
            Some(how) if how.starts_with("SHUT_RDWR") => 2,
            Some(how) if how.starts_with("SHUT_WR") => 1,
            _ => 0,
        };
        let hdr = self.hdr(conn, call.tid, at);
        self.put(&Event::Shutdown(abi::Shutdown { hdr, fd, how }), out);
    }

    pub(super) fn get_peer_name(&mut self, call: &Call, ret: i64, at: u64, out: Sink<'_>) {
        let Some(fd) = text::fd(&call.args) else { return };
        let Some(watch) = self.watches.get(&fd).filter(|watch| watch.class == Class::Accepted) else {
            return;
        };
        let conn = watch.conn;
        let known = self.threads.get(&call.tid) == Some(&conn);
        if known && ret >= 0 {
            return;
        }
        self.work_for(call.tid, conn);
        let hdr = self.hdr(conn, call.tid, at);
        let ret = i32::try_from(ret).unwrap_or(i32::MIN);
        self.put(&Event::Peer(abi::Peer { hdr, fd, ret }), out);
    }
}

fn sock_type(text: &str) -> u8 {
    match text.split('|').next() {
        Some("SOCK_STREAM") => SOCK_STREAM,
        Some("SOCK_DGRAM") => SOCK_DGRAM,
        Some("SOCK_RAW") => 3,
        Some("SOCK_SEQPACKET") => 5,
        _ => 0,
    }
}

/// What a socket is for, by whom it talks to; `None` where it was disconnected.
const fn class_of(to: abi::Addr, sock_type: u8) -> Option<Class> {
    match (to.family, to.port) {
        (AF_UNIX, _) => Some(Class::Unix),
        (AF_INET | AF_INET6, 53) => Some(Class::Dns),
        (AF_INET | AF_INET6, 113) if sock_type != SOCK_DGRAM => Some(Class::Ident),
        (AF_INET | AF_INET6, _) => Some(Class::Other),
        _ => None,
    }
}
