//! Sockets: accepted, made, connected, handed over.

use wrapwatch_common::abi::{AF_UNIX, SOCK_DGRAM, SOCK_STREAM};
use wrapwatch_common::records as abi;
use wrapwatch_common::records::Class;

use super::{KernelModel, Sink, Watch, descriptor};
use crate::decode::Event;
use crate::import::strace::address::Named;
use crate::import::strace::processes::Process;
use crate::import::strace::{Call, address, head, text};
use crate::model::{KtimeNs, errno_name};
use crate::trace::encode::{self, addr};
use crate::trace::{AcceptErrorSample, Input, Listener, Sample, Target};

impl KernelModel {
    pub(super) fn accept(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        let Some(fd) = descriptor(ret) else {
            self.accept_failed(ret, at);
            return;
        };
        let args = text::split(&call.args);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        if self.server.is_none() && !self.is_server(call.tid, process, arg(0), out) {
            return;
        }
        self.stats.accepts += 1;
        let conn = self.connection(call.tid);
        self.watch(
            process,
            fd,
            Watch { conn, class: Class::Accepted, sock_type: SOCK_STREAM, capture: None },
        );
        let peer = address::sockaddr(arg(1)).and_then(|named| named.addr);
        // A server that did not ask is told of by -yy.
        let shown = || address::ends(&call.note).and_then(|(_, peer)| peer).map(addr);
        let peer = peer.or_else(shown).unwrap_or(encode::NO_ADDR);
        let hdr = self.hdr(conn, call.tid, at);
        let (enter_ns, listener) = (call.start, text::fd(arg(0)).unwrap_or(-1));
        if self.is_worker(process) {
            // The number is of this process' descriptors.
            let (local, sk, netns) = (encode::NO_ADDR, 0, 0);
            let rec = abi::AcceptSocket { hdr, enter_ns, sk, local, peer, netns, fd, listener, process };
            self.put(&Event::AcceptSocket(rec), out);
        } else {
            self.put(&Event::Accept(abi::Accept { hdr, enter_ns, peer, fd, listener }), out);
        }
    }

    /// An accept failed. That nobody was there, or that it was interrupted, is no failure.
    fn accept_failed(&mut self, ret: i64, at: u64) {
        let error = i32::try_from(ret.saturating_neg()).unwrap_or(0);
        if matches!(error, libc::EAGAIN | libc::EINTR) {
            return;
        }
        self.stats.failed_accepts += 1;
        let at = Some(KtimeNs(at));
        let sample = self.accept_errors.entry(ret).or_insert_with(|| AcceptErrorSample {
            errno: errno_name(error),
            first: at,
            ..AcceptErrorSample::default()
        });
        sample.count += 1;
        sample.last = at;
    }

    /// Which accepts failed, how often, and when.
    pub(super) fn tell_accept_errors(&mut self, at: u64, out: Sink<'_>) {
        let pid = self.pid.unwrap_or(0);
        let errors = std::mem::take(&mut self.accept_errors).into_values();
        let accept_errors: Vec<_> = errors.map(|error| AcceptErrorSample { pid, ..error }).collect();
        if !accept_errors.is_empty() {
            out(Input::from(Sample { at: KtimeNs(at), accept_errors, ..Sample::default() }));
        }
    }

    /// The first accept: takes its process for the server, and tells of it. False where another one was asked for.
    fn is_server(&mut self, tid: u32, process: Process, listener: &str, out: Sink<'_>) -> bool {
        let wanted = self.was_there(process) || self.pid.is_none_or(|pid| pid == process);
        if !wanted || (self.workers.is_some() && !self.is_worker(process)) {
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
        out(Input::from(head(self.begin.unwrap_or(0), target, &self.survey)));
        true
    }

    pub(super) fn socket(&mut self, call: &Call, process: Process, ret: i64) {
        let (Some(conn), Some(fd)) = (self.current(call.tid), descriptor(ret)) else { return };
        let args = text::split(&call.args);
        let sock_type = args.get(1).map_or(0, |arg| sock_type(arg));
        self.watch(process, fd, Watch { conn, class: Class::Socket, sock_type, capture: None });
    }

    pub(super) fn connect(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let Some(fd) = args.first().and_then(|arg| text::fd(arg)) else { return };
        let to = args.get(1).and_then(|arg| address::sockaddr(arg)).unwrap_or_default();
        self.classify(call, (process, fd), &to, ret, at, out);
    }

    /// Watches a socket for what it talks to, and writes [`abi::Connect`].
    pub(super) fn classify(
        &mut self,
        call: &Call,
        (process, fd): (Process, i32),
        to: &Named,
        ret: i64,
        at: u64,
        out: Sink<'_>,
    ) {
        let (conn, sock_type, class) = match (self.fds.get(process, fd), self.current(call.tid)) {
            (Some(watch), _) if watch.class == Class::Accepted => return,
            (Some(watch), _) => (self.conn_of(watch, call.tid), watch.sock_type, watch.class),
            (None, Some(conn)) => (conn, 0, Class::Socket),
            (None, None) => return,
        };
        let class = class_of(to, sock_type).unwrap_or(class);
        self.watch(process, fd, Watch { conn, class, sock_type, capture: None });
        let ret = i32::try_from(ret).unwrap_or(i32::MIN);
        let (class, enter_ns) = (class as u8, call.start);
        let hdr = self.hdr(conn, call.tid, at);
        let addr = to.addr_or_none();
        let body = abi::Connect {
            hdr,
            enter_ns,
            run_delay_ns: 0,
            addr,
            fd,
            ret,
            class,
            sock_type,
            path_len: 0,
            pad: 0,
        };
        self.put(&Event::Connect(body, &to.path), out);
    }

    pub(super) fn shutdown(&mut self, call: &Call, process: Process, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let Some(fd) = args.first().and_then(|arg| text::fd(arg)) else { return };
        let Some(watch) = self.fds.get(process, fd).filter(|watch| watch.class == Class::Accepted) else {
            return;
        };
        let conn = watch.conn;
        let how = match args.get(1).map(|how| text::meaning(how)) {
            Some("SHUT_RDWR" | "0x2" | "2") => 2,
            Some("SHUT_WR" | "0x1" | "1") => 1,
            _ => 0,
        };
        let hdr = self.hdr(conn, call.tid, at);
        self.put(&Event::Shutdown(abi::Shutdown { hdr, fd, how }), out);
    }

    pub(super) fn get_peer_name(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        let Some(fd) = text::fd(&call.args) else { return };
        let Some(watch) = self.fds.get(process, fd).filter(|watch| watch.class == Class::Accepted) else {
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
    match text::flags(text).next() {
        Some("SOCK_STREAM" | "0x1") => SOCK_STREAM,
        Some("SOCK_DGRAM" | "0x2") => SOCK_DGRAM,
        Some("SOCK_RAW" | "0x3") => 3,
        Some("SOCK_SEQPACKET" | "0x5") => 5,
        _ => 0,
    }
}

/// What a socket is for, by whom it talks to; `None` where it was disconnected, or where nothing of the address can be read.
fn class_of(to: &Named, sock_type: u8) -> Option<Class> {
    match (to.addr.map(|addr| addr.family), to.port) {
        (Some(AF_UNIX), _) => Some(Class::Unix),
        (_, Some(53)) => Some(Class::Dns),
        (_, Some(113)) if sock_type != SOCK_DGRAM => Some(Class::Ident),
        (_, Some(_)) => Some(Class::Other),
        (_, None) => None,
    }
}
