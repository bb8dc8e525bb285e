//! What each record says to the connection it belongs to.

use std::net::SocketAddr;

use wrapwatch_common::records as abi;

use crate::decode::Event;
use crate::decode::addr::socket_addr;
use crate::model::{KtimeNs, LeaveKind, Missing, StallCause};

use super::check::{Asking, FdKind, FdUse, PathKind, RuleAt};
use super::open_connection::{Birth, OpenConnection};
use super::parts::Span;
use super::resolver::{EINPROGRESS, Moment, Service};
use super::servers::{ServerId, Servers, path_text};
use super::shared::Shared;

const ENOTCONN: i32 = 107;
const SHUT_RD: i32 = 0;
/// A connect that took longer than this is worth naming though nothing was sent.
const CONNECT_MATTERS_NS: u64 = 1_000_000;

impl OpenConnection {
    /// Takes a record of this connection. The registry has looked after accept.
    pub(super) fn take(&mut self, event: &Event<'_>, shared: &mut Shared) {
        let hdr = event.header();
        self.answered(event);
        self.seqs.insert(hdr.seq);
        let at = KtimeNs(hdr.ts_ns);
        self.find_checker(event, shared);
        if hdr.tid != self.checker {
            if hdr.tid != self.tid && self.handover.is_none_or(|known| at < known) {
                (self.handover, self.worker) = (Some(at), Some(hdr.tid));
            }
        } else if !matches!(event, Event::FirstPacket(_) | Event::Exit(_) | Event::Exec(_)) {
            let closing = matches!(event, Event::Close(r) if r.class == abi::Class::Accepted as u8);
            if !closing && !matches!(event, Event::Shutdown(_)) {
                self.last_step = self.last_step.max(at);
            }
        }
        match event {
            Event::Open(rec, path) => self.open(rec, path, shared),
            Event::Connect(rec, path) => self.connect(rec, path, shared),
            Event::Send(rec, bytes) => self.resolver.send(rec, bytes, shared),
            Event::Recv(rec, bytes) => self.resolver.recv(rec, bytes, shared),
            Event::Io(rec) => self.io(rec, shared),
            Event::Close(rec) => self.close(rec, shared),
            Event::Shutdown(rec) => {
                self.step(Moment::of(hdr, 0));
                if rec.how != SHUT_RD {
                    self.shutdown.get_or_insert((hdr.tid, at));
                }
            }
            Event::FirstPacket(rec) => {
                self.step(Moment::of(hdr, 0));
                self.first_packet.get_or_insert((at, *rec));
                self.is_served(hdr.tid, shared);
            }
            Event::Peer(rec) if rec.ret == -ENOTCONN => self.note_left(LeaveKind::Rst, at),
            Event::Fork(rec) => self.forked(rec),
            Event::Request(rec, daemon) => self.requested(rec, daemon, shared),
            Event::Wait(rec) => self.wait(rec, shared),
            Event::Rule(rec, file) if hdr.tid == self.checker => self.rule(rec, file, shared),
            Event::Check(rec) if hdr.tid == self.checker => self.function(rec, shared),
            _ => {}
        }
    }

    /// A request is over with libwrap's answer, with what is looked up last, or with the login.
    fn answered(&mut self, event: &Event<'_>) {
        if self.birth != Birth::Request {
            return;
        }
        let over = match event {
            Event::Login(rec) => {
                self.login = Some(*rec);
                true
            }
            _ if self.logs_in => false,
            Event::Check(rec) => rec.what == abi::WHAT_HOSTS_ACCESS && rec.returned != 0,
            Event::Close(rec) => rec.class == abi::Class::Dns as u8 && self.check.asked.is_empty(),
            _ => false,
        };
        self.answered = over.then_some(KtimeNs(event.header().ts_ns));
    }

    /// The thread does something that is no waiting for a nameserver.
    fn step(&mut self, now: Moment) {
        self.resolver.went_on(now, None);
    }

    /// A process or a thread was made for it. One that is made within a check is a command, which serves nobody.
    fn forked(&mut self, rec: &abi::Fork) {
        if rec.followed == 0 {
            self.miss(Missing::NotFollowed);
        }
        let in_check =
            self.check.seen() && self.check.returned.is_none() && self.check.open_table().is_some();
        if self.given.is_none() && !in_check {
            let at = KtimeNs(rec.hdr.ts_ns);
            self.given = Some((at, rec.child));
            if self.handover.is_none_or(|known| at < known) {
                (self.handover, self.worker) = (Some(at), Some(rec.child));
            }
        }
    }

    /// It is checked or answered in this thread. A process that was made for it may also do something else, as write a log.
    fn is_served(&self, tid: u32, shared: &mut Shared) {
        if let Some(local) = self.local
            && self.given.is_some()
            && tid != self.tid
        {
            shared.targets.entry(self.tgid).or_default().gives.insert(local.port());
        }
    }

    fn requested(&mut self, rec: &abi::Request, daemon: &[u8], shared: &mut Shared) {
        if self.check.asked.len() >= shared.limits.uses {
            self.check.overflow = true;
            return;
        }
        self.may_begin(&rec.hdr);
        let daemon = shared.paths.share(daemon);
        let (tid, at) = (rec.hdr.tid, KtimeNs(rec.hdr.ts_ns));
        self.check.asked.push(Asking { what: rec.what, daemon, tid, at, end: None });
    }

    /// The accept thread asks libwrap, or reads a table, the first time.
    fn may_begin(&mut self, hdr: &abi::Header) {
        let first = !self.check.seen() && self.check.asked.is_empty();
        if first && hdr.tid == self.tid && self.checker == self.tid {
            self.begins = Some(KtimeNs(hdr.ts_ns));
        }
    }

    fn is_mine(&self, hdr: &abi::Header) -> bool {
        hdr.tid == self.checker
    }

    /// The check is whose who opens a table or enters `hosts_access`: a server may make a process or a thread for that, and then its accept thread is free.
    fn find_checker(&mut self, event: &Event<'_>, shared: &mut Shared) {
        let tid = event.header().tid;
        if tid == self.checker || self.checker != self.tid || self.check.seen() {
            return;
        }
        let checks = match event {
            Event::Open(_, path) => shared.path(self.tgid, path).1.is_table(),
            Event::Check(rec) => rec.what == abi::WHAT_HOSTS_ACCESS,
            Event::Request(..) => true,
            _ => false,
        };
        if checks {
            self.checker = tid;
            (self.handover, self.worker) = (None, None);
            self.last_step = self.accepted;
            self.is_served(tid, shared);
        }
    }

    fn open(&mut self, rec: &abi::Open, path: &[u8], shared: &mut Shared) {
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        self.step(now);
        let (path, kind) = shared.path(self.tgid, path);
        // What was asked before a check, libwrap asks anew.
        if kind == PathKind::Hosts || kind.is_table() {
            self.resolver.end_lookup(rec.hdr.tid);
        }
        let limit = shared.limits.uses;
        if kind.is_table() {
            self.may_begin(&rec.hdr);
        }
        if self.is_mine(&rec.hdr) {
            let call = call(&rec.hdr, rec.enter_ns, StallCause::File);
            self.check.span(call, shared.limits.spans);
            self.check.open(path, kind, call, rec.ret, limit);
        } else if rec.ret >= 0 {
            let what = FdKind::File(None, PathKind::Else);
            self.check.use_fd(FdUse { fd: rec.ret, what }, limit);
        }
    }

    fn connect(&mut self, rec: &abi::Connect, path: &[u8], shared: &mut Shared) {
        self.step(Moment::of(&rec.hdr, rec.enter_ns));
        let mine = self.is_mine(&rec.hdr);
        let addr = socket_addr(&rec.addr);
        let class = abi::Class::from_raw(rec.class);
        let failed = rec.ret < 0 && rec.ret != -EINPROGRESS;
        let mut call = call(&rec.hdr, rec.enter_ns, StallCause::Other);
        let service = match class {
            // Of an address that cannot be read (an import's) only the port is known.
            Some(abi::Class::Dns) => Some((Service::Dns, server(addr, shared))),
            Some(abi::Class::Ident) => Some((Service::Ident, server(addr, shared))),
            Some(abi::Class::Unix) if !failed => {
                Service::of_path(path).map(|service| (service, shared.servers.unix(path)))
            }
            _ => None,
        };
        if class == Some(abi::Class::Unix) && !failed {
            shared.unix.insert(self.tgid, rec.fd, path, shared.limits.unix_sockets);
        }
        if let Some((service, server)) = service {
            if mine {
                self.check.lookup_begins(matches!(service, Service::Dns | Service::Ident));
                let (cause, server) = match service {
                    Service::Ident => (StallCause::Ident, None),
                    _ => (StallCause::Dns, Some(server)),
                };
                call = Span { cause, server, ..call };
                self.check.span(call, shared.limits.spans);
            }
            self.check.fds.retain(|used| used.fd != rec.fd);
            self.resolver.connect(rec, service, server, shared);
            return;
        }
        self.resolver.close(rec.fd, call.to);
        if class == Some(abi::Class::Unix) && is_syslog(path) {
            self.syslog(rec.fd, rec.hdr.tid, Span { cause: StallCause::Syslog, ..call }, shared);
        } else if mine {
            let what = addr.map_or_else(|| path_text(path), |addr| addr.to_string());
            self.other(rec.fd, &what, call, failed || call.ns() >= CONNECT_MATTERS_NS, shared);
        }
    }

    fn syslog(&mut self, fd: i32, tid: u32, call: Span, shared: &mut Shared) {
        self.check.use_fd(FdUse { fd, what: FdKind::Syslog }, shared.limits.uses);
        if tid == self.checker {
            self.check.span(call, shared.limits.spans);
            self.check.syslog_end = self.check.syslog_end.max(Some(call.to));
        }
    }

    fn other(&mut self, fd: i32, what: &str, call: Span, matters: bool, shared: &mut Shared) {
        let Some(index) = self.check.other(what, call.from, shared.limits.uses) else { return };
        if let Some(other) = self.check.others.get_mut(index) {
            other.ns = other.ns.saturating_add(call.ns());
            other.matters |= matters;
        }
        self.check.use_fd(FdUse { fd, what: FdKind::Other(index) }, shared.limits.uses);
    }

    fn io(&mut self, rec: &abi::Io, shared: &mut Shared) {
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        self.resolver.went_on(now, Some(rec.fd));
        if self.resolver.io(rec, shared) {
            return;
        }
        let mine = self.is_mine(&rec.hdr);
        let call = call(&rec.hdr, rec.enter_ns, StallCause::Other);
        match self.check.fd(rec.fd).map(|used| used.what) {
            Some(FdKind::File(file, kind)) => {
                if mine {
                    self.check.span(Span { cause: StallCause::File, ..call }, shared.limits.spans);
                }
                self.check.file_io(file, kind, rec, call.ns());
            }
            Some(FdKind::Syslog) => {
                self.syslog(rec.fd, rec.hdr.tid, Span { cause: StallCause::Syslog, ..call }, shared);
            }
            Some(FdKind::Other(index)) if mine => {
                if let Some(other) = self.check.others.get_mut(index) {
                    other.ns = other.ns.saturating_add(call.ns());
                    other.matters = true;
                }
            }
            Some(FdKind::Other(_)) => {}
            None => self.io_elsewhere(rec, call, shared),
        }
    }

    /// On a descriptor that an earlier connection opened, or whose opening was lost.
    fn io_elsewhere(&mut self, rec: &abi::Io, call: Span, shared: &mut Shared) {
        let mine = self.is_mine(&rec.hdr);
        match abi::Class::from_raw(rec.class) {
            Some(abi::Class::Unix) => {
                let path = shared.unix.get(self.tgid, rec.fd);
                if path.is_some_and(is_syslog) {
                    self.syslog(rec.fd, rec.hdr.tid, Span { cause: StallCause::Syslog, ..call }, shared);
                } else if mine {
                    let what = path.map_or_else(|| "unix socket opened earlier".to_owned(), path_text);
                    self.other(rec.fd, &what, call, true, shared);
                }
            }
            Some(abi::Class::File) if mine => {
                self.check.span(Span { cause: StallCause::File, ..call }, shared.limits.spans);
            }
            Some(abi::Class::Ident) if mine => {
                self.check.span(Span { cause: StallCause::Ident, ..call }, shared.limits.spans);
            }
            Some(abi::Class::Dns) | None => {}
            Some(_) if mine => self.other(rec.fd, "socket opened earlier", call, true, shared),
            Some(_) => {}
        }
    }

    fn close(&mut self, rec: &abi::Close, shared: &mut Shared) {
        let at = KtimeNs(rec.hdr.ts_ns);
        self.step(Moment::of(&rec.hdr, 0));
        if rec.class == abi::Class::Accepted as u8 {
            if self.birth == Birth::Request {
                // Its thread went on otherwise than by returning from libwrap, or ended.
                self.miss(Missing::CheckEndUnseen);
            }
            self.closed.get_or_insert((rec.hdr.tid, at));
            return;
        }
        let mine = self.is_mine(&rec.hdr);
        if rec.class == abi::Class::Unix as u8 {
            shared.unix.remove(self.tgid, rec.fd);
        }
        if rec.read_to_end != 0 {
            self.check.read_to_end(rec.fd);
        }
        if !self.resolver.close(rec.fd, at) {
            let table = self.check.open_table().map(|table| table.fd);
            if self.check.close(rec.fd, at) && mine && table == Some(Some(rec.fd)) {
                self.resolver.end_lookup(rec.hdr.tid);
            }
        }
    }

    fn wait(&mut self, rec: &abi::Wait, shared: &mut Shared) {
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        self.step(now);
        if self.is_mine(&rec.hdr) && self.is_spawn(rec, shared.blind(self.tgid).checks) {
            let call = call(&rec.hdr, rec.enter_ns, StallCause::Spawn);
            self.check.span(call, shared.limits.spans);
            self.check.spawn_end = self.check.spawn_end.max(Some(call.to));
        }
    }

    /// Whether a rule's command was waited for. A server's own handler of SIGCHLD may run within a check, and collects children of other clients: where
    /// libwrap's functions are seen it is no wait of `shell_cmd`'s, and where they are not, it finds none or does not wait.
    fn is_spawn(&self, rec: &abi::Wait, checks_unseen: bool) -> bool {
        // The acceptor that has given the connection away collects a process.
        if self.given.is_some() && rec.hdr.tid == self.tid {
            return false;
        }
        if self.check.entered.is_some() {
            return matches!(self.check.inside, Some((StallCause::Spawn, _)));
        }
        // One that makes processes collects those of earlier clients.
        rec.ret > 0 && !checks_unseen
    }

    fn rule(&mut self, rec: &abi::Rule, file: &[u8], shared: &mut Shared) {
        let line = u32::try_from(rec.line).unwrap_or(0);
        let rule = (!file.is_empty() && line > 0).then(|| {
            let file = shared.table(self.tgid, file);
            let read = self.check.opened(&file).unwrap_or(KtimeNs(rec.hdr.ts_ns));
            let text = shared.rule_text(self.tgid, &file, line, read);
            RuleAt { file, line, text }
        });
        self.check.rule(rule);
    }

    fn function(&mut self, rec: &abi::Check, shared: &mut Shared) {
        let at = KtimeNs(rec.hdr.ts_ns);
        self.step(Moment::of(&rec.hdr, 0));
        let cause = match rec.what {
            abi::WHAT_HOSTS_ACCESS if rec.returned == 0 => {
                // A server may ask for several daemon names, one after another: the last call ends the check.
                self.check.entered.get_or_insert(at);
                self.check.returned = None;
                return;
            }
            abi::WHAT_HOSTS_ACCESS => {
                self.check.returned = Some((at, rec.ret));
                let asked = self.check.asked.iter_mut().rfind(|asked| asked.tid == rec.hdr.tid);
                if let Some(asked) = asked {
                    asked.end = Some((at, rec.ret));
                }
                self.check.inside = None;
                return;
            }
            abi::WHAT_RFC931 => StallCause::Ident,
            abi::WHAT_SHELL_CMD => StallCause::Spawn,
            _ => return,
        };
        if rec.returned == 0 {
            self.check.inside = Some((cause, at));
        } else if let Some((_, from)) = self.check.inside.take_if(|(inside, _)| *inside == cause) {
            self.check.span(Span { from, to: at, cause, server: None }, shared.limits.spans);
            self.check.spawn_end = self.check.spawn_end.max(Some(at));
        }
    }
}

fn server(addr: Option<SocketAddr>, shared: &mut Shared) -> ServerId {
    addr.map_or(Servers::UNKNOWN, |addr| shared.servers.ip(addr))
}

fn is_syslog(path: &[u8]) -> bool {
    let end = path.iter().position(|&b| b == 0).unwrap_or(path.len());
    matches!(&path[..end], b"/dev/log" | b"/run/systemd/journal/dev-log" | b"/run/systemd/journal/syslog")
}

/// The time inside a call.
fn call(hdr: &abi::Header, enter_ns: u64, cause: StallCause) -> Span {
    Span { from: Moment::of(hdr, enter_ns).at, to: KtimeNs(hdr.ts_ns), cause, server: None }
}
