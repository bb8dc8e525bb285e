//! One connection in the making: what its records have said so far.

use std::net::SocketAddr;
use std::sync::Arc;

use wrapwatch_common::records as abi;

use crate::decode::Event;
use crate::decode::addr::socket_addr;
use crate::model::{KtimeNs, LeaveKind, StallCause};

use super::Ctx;
use super::asked::End;
use super::check::{Check, FdKind, FdUse, PathKind, RuleAt};
use super::parts::Span;
use super::queue::Behind;
use super::resolver::{Moment, Resolver, Service};
use super::seqs::Seqs;
use super::servers::path_text;

const ENOTCONN: i32 = 107;
const SHUT_RD: i32 = 0;
/// A connect that took longer than this is worth naming though nothing was sent.
const CONNECT_MATTERS_NS: u64 = 1_000_000;

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Unknown,
    Unix,
    Ip(SocketAddr),
}

/// How a story began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Birth {
    /// With its accept.
    Accept,
    /// In the middle, when the trace began.
    Seeded,
    /// Its accept record was lost: it is followed because it holds its accept thread, and never told as a connection
    /// (the kernel side counts lost accepts).
    Orphan,
}

/// A connection in the making.
#[derive(Debug)]
pub(super) struct Story {
    pub conn: u64,
    pub tgid: u32,
    /// The accept thread.
    pub tid: u32,
    /// The accepted socket; -1 where not known.
    pub fd: i32,
    pub birth: Birth,
    pub client: Client,
    pub local: Option<SocketAddr>,
    /// Socket whose states are followed; 0 for none.
    pub sk: u64,
    pub established: Option<KtimeNs>,
    pub accepted: KtimeNs,
    pub seqs: Seqs,
    pub check: Check,
    pub resolver: Resolver,
    /// A thread other than the accept thread took over.
    pub handover: Option<KtimeNs>,
    pub first_packet: Option<(KtimeNs, abi::FirstPacket)>,
    /// Thread that shut it down, when.
    pub shutdown: Option<(u32, KtimeNs)>,
    pub closed: Option<(u32, KtimeNs)>,
    pub left: Option<(LeaveKind, KtimeNs)>,
    /// The accept thread's next accept, and whether that client was queued before this check's end.
    pub next_accept: Option<(KtimeNs, bool)>,
    /// Last record of the accept thread but the end.
    pub last_step: KtimeNs,
    pub behind: Behind,
    /// The check's end and what it was spent on, once it is over and its hold is in the accept thread's history.
    pub over: Option<(KtimeNs, Arc<[Span]>)>,
    /// What was not seen, and why.
    pub missing: Vec<&'static str>,
    /// Key in the list of what is due.
    pub due: Option<KtimeNs>,
}

impl Story {
    pub(super) fn new(conn: u64, tgid: u32, tid: u32, fd: i32, birth: Birth, accepted: KtimeNs) -> Self {
        Self {
            conn,
            tgid,
            tid,
            fd,
            birth,
            client: Client::Unknown,
            local: None,
            sk: 0,
            established: None,
            accepted,
            seqs: Seqs::default(),
            check: Check::default(),
            resolver: Resolver::default(),
            handover: None,
            first_packet: None,
            shutdown: None,
            closed: None,
            left: None,
            next_accept: None,
            last_step: accepted,
            behind: Behind::default(),
            over: None,
            missing: Vec::new(),
            due: None,
        }
    }

    /// Notes a reason, once.
    pub(super) fn miss(&mut self, why: &'static str) {
        if !self.missing.contains(&why) {
            self.missing.push(why);
        }
    }

    /// Whether all its records since its beginning are there, as far as can be said now.
    fn sure(&self) -> bool {
        self.birth == Birth::Accept && self.seqs.missing() == 0
    }

    /// When its story ended: first packet, shutdown or close.
    pub(super) fn ended(&self) -> Option<KtimeNs> {
        let close = [self.shutdown, self.closed].into_iter().flatten().map(|(_, at)| at).min();
        self.first_packet.map(|(at, _)| at).or(close)
    }

    /// Whether nothing more of it is to come.
    pub(super) fn is_told(&self) -> bool {
        let by_shutdown = self.shutdown.is_some() && self.next_accept.is_some();
        self.first_packet.is_some() || self.closed.is_some() || by_shutdown
    }

    /// Whether it takes part in a wrapper check: tables or libwrap's functions were seen, or records that would have shown them are missing.
    pub(super) fn is_checked(&self) -> bool {
        let lookups = || self.resolver.lookups.iter().any(|looking| looking.tid == self.tid);
        self.check.seen() || (!self.sure() && lookups())
    }

    /// When the check ended, as far as was seen; accept's return where there was none.
    pub(super) fn check_end(&self) -> KtimeNs {
        if !self.is_checked() {
            return self.accepted;
        }
        let mut end = self.accepted.max(self.check.syslog_end.unwrap_or_default());
        if let Some((at, _)) = self.check.returned {
            return end.max(at);
        }
        if self.check.open_table().is_some() || self.check.tables.is_empty() {
            end = end.max(self.last_step);
        }
        end = end.max(self.check.tables_end().unwrap_or_default());
        end = end.max(self.check.spawn_end.unwrap_or_default());
        let lookups = self.resolver.lookups.iter().filter(|looking| looking.tid == self.tid);
        lookups.fold(end, |end, looking| end.max(looking.last))
    }

    /// Whether the accept thread is still in the check; `None` where it may or may not be: the tables are closed, and only a spawned command or
    /// syslog could hold it.
    pub(super) fn in_check(&self) -> Option<bool> {
        let over = self.over.is_some() || self.ended().is_some() || self.handover.is_some();
        if over || !self.is_checked() {
            return Some(false);
        }
        match self.check.returned {
            // The refusal's syslog comes after it; an admitted connection is handed over at once.
            Some((_, ret)) => (ret == 0).then_some(true).or(Some(false)),
            None if self.check.entered.is_some() || self.check.inside.is_some() => Some(true),
            None if self.check.open_table().is_some() || self.resolver.pending(self.tid).is_some() => {
                Some(true)
            }
            // hosts.allow closed: either it matched, or hosts.deny is about to be opened.
            None => None,
        }
    }

    /// What the check's time up to `end` was spent on; waits that are still going on last until `end`.
    pub(super) fn spans(
        &self,
        end: KtimeNs,
        longest_wait_ns: Option<u64>,
        stopped: &[(KtimeNs, KtimeNs)],
    ) -> Vec<Span> {
        let mut spans = self.check.spans.clone();
        for asked in self.resolver.queries.iter().filter(|asked| asked.tid == self.tid) {
            let ident = self
                .resolver
                .lookups
                .get(asked.lookup)
                .is_some_and(|l| l.kind == crate::model::LookupKind::Ident);
            let (cause, server) =
                if ident { (StallCause::Ident, None) } else { (StallCause::Dns, Some(asked.server)) };
            let from = asked.began();
            let mut to = asked.end.at().unwrap_or(end);
            if let (StallCause::Dns, Some(longest)) = (cause, longest_wait_ns) {
                to = to.min(from.plus(longest.saturating_add(LATE_NS)));
            }
            if asked.end != End::Pending || from <= end {
                spans.push(Span { from, to, cause, server });
            }
        }
        if let Some((cause, from)) = self.check.inside {
            spans.push(Span { from, to: end, cause, server: None });
        }
        let stops =
            stopped.iter().map(|&(from, to)| Span { from, to, cause: StallCause::OffCpu, server: None });
        spans.extend(stops);
        spans
    }

    /// Takes a record of this connection. The registry has looked after accept.
    pub(super) fn take(&mut self, event: &Event<'_>, ctx: &mut Ctx<'_>) {
        let hdr = event.header();
        self.seqs.insert(hdr.seq);
        let at = KtimeNs(hdr.ts_ns);
        if hdr.tid != self.tid {
            self.handover = Some(self.handover.map_or(at, |known| known.min(at)));
        } else if !matches!(event, Event::FirstPacket(_) | Event::Exit(_) | Event::Exec(_)) {
            let closing = matches!(event, Event::Close(r) if r.class == abi::Class::Accepted as u8);
            if !closing && !matches!(event, Event::Shutdown(_)) {
                self.last_step = self.last_step.max(at);
            }
        }
        match event {
            Event::Open(rec, path) => self.open(rec, path, ctx),
            Event::Connect(rec, path) => self.connect(rec, path, ctx),
            Event::Send(rec, bytes) => self.resolver.send(rec, bytes, ctx),
            Event::Recv(rec, bytes) => {
                let sure = self.sure();
                self.resolver.recv(rec, bytes, sure, ctx);
            }
            Event::Io(rec) => self.io(rec, ctx),
            Event::Close(rec) => self.close(rec, ctx),
            Event::Shutdown(rec) => {
                self.step(Moment::of(hdr, 0), ctx);
                if rec.how != SHUT_RD {
                    self.shutdown.get_or_insert((hdr.tid, at));
                }
            }
            Event::FirstPacket(rec) => {
                self.step(Moment::of(hdr, 0), ctx);
                self.first_packet.get_or_insert((at, *rec));
            }
            Event::Peer(rec) if rec.ret == -ENOTCONN => self.note_left(LeaveKind::Rst, at),
            Event::Wait(rec) => self.wait(rec, ctx),
            Event::Rule(rec, file) if hdr.tid == self.tid => self.rule(rec, file, ctx),
            Event::Check(rec) if hdr.tid == self.tid => self.function(rec, ctx),
            _ => {}
        }
    }

    /// The client left; the earliest sign counts.
    pub(super) fn note_left(&mut self, how: LeaveKind, at: KtimeNs) {
        if self.left.is_none_or(|(_, known)| at < known) {
            self.left = Some((how, at));
        }
    }

    /// The thread does something that is no waiting for a nameserver.
    fn step(&mut self, now: Moment, ctx: &Ctx<'_>) {
        self.resolver.went_on(now, None, ctx);
    }

    fn is_mine(&self, hdr: &abi::Header) -> bool {
        hdr.tid == self.tid
    }

    fn call(&self, hdr: &abi::Header, enter_ns: u64, cause: StallCause) -> Span {
        Span { from: Moment::of(hdr, enter_ns).at, to: KtimeNs(hdr.ts_ns), cause, server: None }
    }

    fn open(&mut self, rec: &abi::Open, path: &[u8], ctx: &mut Ctx<'_>) {
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        self.step(now, ctx);
        let (path, kind) = ctx.path(self.tgid, path);
        if kind == PathKind::Hosts {
            self.resolver.end_lookup(rec.hdr.tid);
        }
        let limit = ctx.limits.uses;
        if self.is_mine(&rec.hdr) {
            let call = self.call(&rec.hdr, rec.enter_ns, StallCause::File);
            self.check.span(call, ctx.limits.spans);
            self.check.open(path, kind, call, rec.ret, limit);
        } else if rec.ret >= 0 {
            let what = FdKind::File(None, PathKind::Else);
            self.check.use_fd(FdUse { fd: rec.ret, what }, limit);
        }
    }

    fn connect(&mut self, rec: &abi::Connect, path: &[u8], ctx: &mut Ctx<'_>) {
        self.step(Moment::of(&rec.hdr, rec.enter_ns), ctx);
        let mine = self.is_mine(&rec.hdr);
        let addr = socket_addr(&rec.addr);
        let class = abi::Class::from_raw(rec.class);
        let failed = rec.ret < 0 && rec.ret != -super::resolver::EINPROGRESS;
        let mut call = self.call(&rec.hdr, rec.enter_ns, StallCause::Other);
        let service = match class {
            Some(abi::Class::Dns) => addr.map(|addr| (Service::Dns, ctx.servers.ip(addr))),
            Some(abi::Class::Ident) => addr.map(|addr| (Service::Ident, ctx.servers.ip(addr))),
            Some(abi::Class::Unix) if !failed => {
                Service::of_path(path).map(|service| (service, ctx.servers.unix(path)))
            }
            _ => None,
        };
        if class == Some(abi::Class::Unix) && !failed {
            ctx.unix.insert(self.tgid, rec.fd, path, ctx.limits.unix_sockets);
        }
        if let Some((service, server)) = service {
            if mine {
                self.check.lookup_begins(matches!(service, Service::Dns | Service::Ident));
                let (cause, server) = match service {
                    Service::Ident => (StallCause::Ident, None),
                    _ => (StallCause::Dns, Some(server)),
                };
                call = Span { cause, server, ..call };
                self.check.span(call, ctx.limits.spans);
            }
            self.check.fds.retain(|used| used.fd != rec.fd);
            self.resolver.connect(rec, service, server, ctx);
            return;
        }
        self.resolver.close(rec.fd, call.to);
        if class == Some(abi::Class::Unix) && is_syslog(path) {
            self.syslog(rec.fd, rec.hdr.tid, Span { cause: StallCause::Syslog, ..call }, ctx);
        } else if mine {
            let what = addr.map_or_else(|| path_text(path), |addr| addr.to_string());
            self.other(rec.fd, &what, call, failed || call.ns() >= CONNECT_MATTERS_NS, ctx);
        }
    }

    fn syslog(&mut self, fd: i32, tid: u32, call: Span, ctx: &Ctx<'_>) {
        self.check.use_fd(FdUse { fd, what: FdKind::Syslog }, ctx.limits.uses);
        if tid == self.tid {
            self.check.span(call, ctx.limits.spans);
            self.check.syslog_end = self.check.syslog_end.max(Some(call.to));
        }
    }

    fn other(&mut self, fd: i32, what: &str, call: Span, matters: bool, ctx: &Ctx<'_>) {
        let Some(index) = self.check.other(what, call.from, ctx.limits.uses) else { return };
        if let Some(other) = self.check.others.get_mut(index) {
            other.ns = other.ns.saturating_add(call.ns());
            other.matters |= matters;
        }
        self.check.use_fd(FdUse { fd, what: FdKind::Other(index) }, ctx.limits.uses);
    }

    fn io(&mut self, rec: &abi::Io, ctx: &mut Ctx<'_>) {
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        self.resolver.went_on(now, Some(rec.fd), ctx);
        if self.resolver.io(rec, ctx) {
            return;
        }
        let mine = self.is_mine(&rec.hdr);
        let call = self.call(&rec.hdr, rec.enter_ns, StallCause::Other);
        match self.check.fd(rec.fd).map(|used| used.what) {
            Some(FdKind::File(file, kind)) => {
                if mine {
                    self.check.span(Span { cause: StallCause::File, ..call }, ctx.limits.spans);
                }
                self.check.file_io(file, kind, rec, call.ns());
            }
            Some(FdKind::Syslog) => {
                self.syslog(rec.fd, rec.hdr.tid, Span { cause: StallCause::Syslog, ..call }, ctx);
            }
            Some(FdKind::Other(index)) if mine => {
                if let Some(other) = self.check.others.get_mut(index) {
                    other.ns = other.ns.saturating_add(call.ns());
                    other.matters = true;
                }
            }
            Some(FdKind::Other(_)) => {}
            None => self.io_elsewhere(rec, call, ctx),
        }
    }

    /// On a descriptor that an earlier connection opened, or whose opening was lost.
    fn io_elsewhere(&mut self, rec: &abi::Io, call: Span, ctx: &mut Ctx<'_>) {
        let mine = self.is_mine(&rec.hdr);
        match abi::Class::from_raw(rec.class) {
            Some(abi::Class::Unix) => {
                let path = ctx.unix.get(self.tgid, rec.fd);
                if path.is_some_and(is_syslog) {
                    self.syslog(rec.fd, rec.hdr.tid, Span { cause: StallCause::Syslog, ..call }, ctx);
                } else if mine {
                    let what = path.map_or_else(|| "unix socket opened earlier".to_owned(), path_text);
                    self.other(rec.fd, &what, call, true, ctx);
                }
            }
            Some(abi::Class::File) if mine => {
                self.check.span(Span { cause: StallCause::File, ..call }, ctx.limits.spans);
            }
            Some(abi::Class::Ident) if mine => {
                self.check.span(Span { cause: StallCause::Ident, ..call }, ctx.limits.spans);
            }
            Some(abi::Class::Dns) | None => {}
            Some(_) if mine => self.other(rec.fd, "socket opened earlier", call, true, ctx),
            Some(_) => {}
        }
    }

    fn close(&mut self, rec: &abi::Close, ctx: &mut Ctx<'_>) {
        let at = KtimeNs(rec.hdr.ts_ns);
        self.step(Moment::of(&rec.hdr, 0), ctx);
        if rec.class == abi::Class::Accepted as u8 {
            self.closed.get_or_insert((rec.hdr.tid, at));
            return;
        }
        let mine = self.is_mine(&rec.hdr);
        if rec.class == abi::Class::Unix as u8 {
            ctx.unix.remove(self.tgid, rec.fd);
        }
        if !self.resolver.close(rec.fd, at) {
            let table = self.check.open_table().map(|table| table.fd);
            if self.check.close(rec.fd, at) && mine && table == Some(Some(rec.fd)) {
                self.resolver.end_lookup(rec.hdr.tid);
            }
        }
    }

    fn wait(&mut self, rec: &abi::Wait, ctx: &Ctx<'_>) {
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        self.step(now, ctx);
        if self.is_mine(&rec.hdr) {
            let call = self.call(&rec.hdr, rec.enter_ns, StallCause::Spawn);
            self.check.span(call, ctx.limits.spans);
            self.check.spawn_end = self.check.spawn_end.max(Some(call.to));
        }
    }

    fn rule(&mut self, rec: &abi::Rule, file: &[u8], ctx: &mut Ctx<'_>) {
        let line = u32::try_from(rec.line).unwrap_or(0);
        let rule = (!file.is_empty() && line > 0).then(|| {
            let (file, _) = ctx.path(self.tgid, file);
            let text = ctx.rule_text(self.tgid, &file, line);
            RuleAt { file, line, text }
        });
        self.check.rule(rule);
    }

    fn function(&mut self, rec: &abi::Check, ctx: &Ctx<'_>) {
        let at = KtimeNs(rec.hdr.ts_ns);
        self.step(Moment::of(&rec.hdr, 0), ctx);
        let cause = match rec.what {
            abi::WHAT_HOSTS_ACCESS if rec.returned == 0 => {
                self.check.entered.get_or_insert(at);
                return;
            }
            abi::WHAT_HOSTS_ACCESS => {
                self.check.returned = Some((at, rec.ret));
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
            self.check.span(Span { from, to: at, cause, server: None }, ctx.limits.spans);
            self.check.spawn_end = self.check.spawn_end.max(Some(at));
        }
    }
}

/// How late a thread may be woken before the delay is not the nameserver's any more.
const LATE_NS: u64 = 100_000_000;

fn is_syslog(path: &[u8]) -> bool {
    let end = path.iter().position(|&b| b == 0).unwrap_or(path.len());
    matches!(&path[..end], b"/dev/log" | b"/run/systemd/journal/dev-log" | b"/run/systemd/journal/syslog")
}
