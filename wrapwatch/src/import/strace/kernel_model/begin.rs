//! Where a log begins: in the middle of a check, or with calls that show no client.

use std::collections::HashMap;

use wrapwatch_common::records as abi;

use super::{KernelModel, Sink, files};
use crate::decode::dns;
use crate::import::strace::call::CallKind;
use crate::import::strace::processes::Process;
use crate::import::strace::{Call, KEPT_MAX, Name, address, head, text};
use crate::model::KtimeNs;
use crate::trace::{InCheck, InCheckSocket, Input, Target};

/// Ports of nameservers and of ident.
const LOOKUP_PORTS: [u16; 2] = [53, 113];

/// What is known before a server is.
#[derive(Debug, Default)]
pub(super) struct Midway {
    /// The program was started under strace: what it looks up before it accepts is for itself.
    started: bool,
    /// What each thread was waiting in when the log began, and whether in vain; none once it did something else that matters.
    waited: HashMap<u32, bool>,
    /// The thread that was the first to open a table, or to call `accept`.
    first: Option<u32>,
    /// A connection whose socket's number is not known.
    pub(super) unknown_socket: Option<u64>,
}

impl KernelModel {
    /// Before the first accept: finds a check that was going on when strace was attached.
    pub(super) fn begin_midway(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        let midway = &mut self.midway;
        if call.name == Name::Accept || files::is_table(call) {
            midway.first.get_or_insert(call.tid);
        }
        midway.started |= call.name == Name::Exec || files::is_loader(call);
        let known = midway.waited.len() >= KEPT_MAX || midway.waited.contains_key(&call.tid);
        let went_on = call.name == Name::Restart || (call.name == Name::Poll && call.start == 0);
        if went_on && !known {
            midway.waited.insert(call.tid, ret == 0);
            return;
        }
        if self.midway.started
            || !self.was_there(process)
            || !self.may_check(call.tid)
            || !self.is_of_a_check(call, process)
        {
            if matches!(call.name, Name::Accept | Name::Poll) {
                self.midway.waited.insert(call.tid, false);
            }
            return;
        }
        self.seed(call.tid, process, at, out);
    }

    /// A check is the accept thread's: it accepts later on, or makes threads.
    fn may_check(&self, tid: u32) -> bool {
        let survey = &self.survey;
        if survey.has(CallKind::Accept) {
            survey.accepting.contains(&tid)
        } else {
            survey.making.contains(&tid)
        }
    }

    /// Whether a call is one that a check makes: a table, a nameserver, ident.
    fn is_of_a_check(&self, call: &Call, process: Process) -> bool {
        let args = text::split(&call.args);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        match call.name {
            Name::Open | Name::OpenAt => files::is_table(call),
            Name::Connect => {
                let port = address::sockaddr(arg(1)).and_then(|named| named.port);
                port.is_some_and(|port| LOOKUP_PORTS.contains(&port))
            }
            Name::Recv | Name::Send if self.fds.get(process, text::fd(arg(0)).unwrap_or(-1)).is_none() => {
                let port = address::sockaddr(arg(4)).and_then(|named| named.port);
                let bytes = || text::string(arg(1), abi::PAYLOAD_MAX).map(|(bytes, _)| bytes);
                port == Some(53) || bytes().is_some_and(|bytes| is_dns(&bytes))
            }
            _ => false,
        }
    }

    /// Begins with a check that was going on.
    fn seed(&mut self, tid: u32, process: Process, at: u64, out: Sink<'_>) {
        self.server = Some(process);
        let pid = *self.pid.get_or_insert(tid);
        let conn = self.connection(tid);
        self.stats.began_before += 1;
        self.midway.unknown_socket = Some(conn);
        let waited = self.midway.waited.get(&tid).copied().unwrap_or(false);
        let since = if waited { self.begin.unwrap_or(at) } else { at };
        // Waiting in vain, and then asking a nameserver: it had asked one before. Which one the log does not say.
        let sockets =
            waited.then(|| InCheckSocket { fd: -1, ..InCheckSocket::default() }).into_iter().collect();
        let check = InCheck {
            conn,
            tid,
            at: KtimeNs(since.saturating_sub(1)),
            fd: -1,
            sockets,
            ..InCheck::default()
        };
        let target =
            Target { pid, accept_threads: vec![tid], in_check: Some(Box::new(check)), ..Target::default() };
        out(Input::from(head(self.begin.unwrap_or(0), target, &self.survey)));
    }

    /// The log is over, and nobody was accepted: where tables were read, or accepts failed, there is something to say all the same.
    pub(super) fn nobody_accepted(&mut self, out: Sink<'_>) {
        let Some(tid) = self.midway.first else { return };
        self.server = Some(0);
        let pid = *self.pid.get_or_insert(tid);
        let target = Target { pid, ..Target::default() };
        out(Input::from(head(self.begin.unwrap_or(0), target, &self.survey)));
    }
}

/// Whether bytes are a DNS message with a question, as far as they are there.
pub(super) fn is_dns(bytes: &[u8]) -> bool {
    let [_, _, flags, _, 0, 1, ..] = bytes else { return false };
    // Opcode 0 (a query), and a question that can be read.
    flags & 0x78 == 0 && dns::parse(bytes).is_some_and(|message| message.question.is_some())
}

/// Whether bytes are what a server says first: MySQL's greeting or error (a packet with number 0), the banners of ssh, smtp, ftp.
pub(super) fn is_greeting(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, 0, 0x0a | 0xff, ..]) || bytes.starts_with(b"SSH-") || bytes.starts_with(b"220")
}
