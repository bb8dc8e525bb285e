//! What goes through watched descriptors: DNS messages, first packets, and calls of which only the time matters.

use wrapwatch_common::records as abi;
use wrapwatch_common::records::Class;

use super::{KernelModel, Sink, begin};
use crate::decode::Event;
use crate::import::strace::address::{Named, Shown};
use crate::import::strace::processes::Process;
use crate::import::strace::{Call, Name, address, text};
use crate::trace::encode::addr;

impl KernelModel {
    pub(super) fn send_enter(&mut self, call: &Call, process: Process, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        let Some(fd) = text::fd(arg(0)) else { return };
        let class = self.fds.get(process, fd).map(|watch| watch.class);
        if !matches!(class, None | Some(Class::Accepted | Class::Socket | Class::Dns)) {
            return;
        }
        let messages = outgoing(call, &args);
        let Some(first) = messages.first() else {
            // sendmmsg of old straces is printed at its return only.
            return;
        };
        let to = if call.name == Name::Send {
            address::sockaddr(arg(4))
        } else {
            text::field(arg(1), "msg_name").and_then(address::sockaddr)
        };
        let asks = matches!(class, None | Some(Class::Socket))
            && self.is_nameserver(call, (process, fd), to.as_ref(), &first.bytes, at, out);
        if class.is_none() && !asks {
            self.unknown_socket(call, fd, &messages, at, out);
            return;
        }
        self.told_send.insert(call.tid);
        if class == Some(Class::Accepted) {
            self.first_packet(call, process, fd, &messages, at, out);
            return;
        }
        if let (Some(Class::Socket), Some(to), false) = (class, &to, asks) {
            self.classify(call, (process, fd), to, 0, at, out);
        }
        self.send(call, process, fd, &messages, &to.unwrap_or_default(), at, out);
    }

    /// Watches a descriptor whose connect is not in the log, or has an address that cannot be read, where it is a nameserver's: by who is named, by what
    /// `-yy` says, or by the message.
    fn is_nameserver(
        &mut self,
        call: &Call,
        (process, fd): (Process, i32),
        named: Option<&Named>,
        message: &[u8],
        at: u64,
        out: Sink<'_>,
    ) -> bool {
        let shown = address::ends(text::fd_note(&call.args)).and_then(|(_, peer)| peer);
        let port = named.and_then(|named| named.port).or_else(|| shown.map(|shown| shown.port()));
        let is = port.map_or_else(|| begin::is_dns(message), |port| port == 53);
        let watched = is && (self.fds.get(process, fd).is_some() || self.current(call.tid).is_some());
        if watched {
            let addr = named.and_then(|named| named.addr).or_else(|| shown.map(addr));
            self.classify(call, (process, fd), &Named { addr, port: Some(53), path: Vec::new() }, 0, at, out);
        }
        watched
    }

    /// Something is sent on a descriptor that nothing is known of: where the log begins within a check, it may be the client's.
    fn unknown_socket(&mut self, call: &Call, fd: i32, messages: &[Shown], at: u64, out: Sink<'_>) {
        let Some(conn) = self.midway.unknown_socket.filter(|conn| self.conns.contains_key(conn)) else {
            return;
        };
        if messages.first().is_some_and(|first| begin::is_greeting(&first.bytes)) {
            self.midway.unknown_socket = None;
            self.told_send.insert(call.tid);
            self.greet(call, conn, fd, messages, at, out);
        }
    }

    fn first_packet(
        &mut self,
        call: &Call,
        process: Process,
        fd: i32,
        messages: &[Shown],
        at: u64,
        out: Sink<'_>,
    ) {
        if let Some(watch) = self.fds.remove(process, fd) {
            self.greet(call, watch.conn, fd, messages, at, out);
        }
    }

    fn greet(&mut self, call: &Call, conn: u64, fd: i32, messages: &[Shown], at: u64, out: Sink<'_>) {
        let full_len = messages.iter().fold(0_u32, |sum, shown| sum.saturating_add(sent_len(shown)));
        let mut bytes = [0; abi::FIRST_PACKET_MAX];
        let mut n = 0;
        for (to, from) in bytes.iter_mut().zip(messages.iter().flat_map(|shown| &shown.bytes)) {
            *to = *from;
            n += 1;
        }
        let hdr = self.hdr(conn, call.tid, at);
        self.put(&Event::FirstPacket(abi::FirstPacket { hdr, fd, full_len, bytes, n }), out);
        self.fds.forget_accepted(conn);
        self.conns.remove(&conn);
    }

    #[expect(clippy::too_many_arguments, reason = "the record's fields")]
    fn send(
        &mut self,
        call: &Call,
        process: Process,
        fd: i32,
        messages: &[Shown],
        to: &Named,
        at: u64,
        out: Sink<'_>,
    ) {
        let watch = self.fds.get(process, fd).filter(|watch| watch.class == Class::Dns);
        let Some(watch) = watch else { return };
        let (conn, sock_type) = (self.conn_of(watch, call.tid), watch.sock_type);
        for (index, shown) in (0..).zip(messages) {
            self.note_cut(shown.cut, out);
            let hdr = self.hdr(conn, call.tid, at);
            let body = payload(hdr, at, to, fd, sent_len(shown), index, sock_type);
            self.put(&Event::Send(body, &shown.bytes), out);
        }
    }

    pub(super) fn send_exit(
        &mut self,
        call: &Call,
        process: Process,
        ret: i64,
        told: bool,
        at: u64,
        out: Sink<'_>,
    ) {
        if !told {
            self.send_enter(call, process, call.start.max(1), out);
            self.told_send.remove(&call.tid);
        }
        let Some(fd) = text::fd(&call.args) else { return };
        let Some(watch) = self.fds.get(process, fd) else { return };
        if matches!(watch.class, Class::Accepted) || (watch.class == Class::Dns && ret >= 0) {
            return;
        }
        self.io(call, process, fd, abi::OP_WRITE, ret, at, out);
    }

    #[expect(clippy::too_many_arguments, reason = "the record's fields")]
    fn io(&mut self, call: &Call, process: Process, fd: i32, op: u8, ret: i64, at: u64, out: Sink<'_>) {
        let Some(watch) = self.fds.get(process, fd) else { return };
        let (conn, class) = (self.conn_of(watch, call.tid), watch.class as u8);
        let hdr = self.hdr(conn, call.tid, at);
        self.put(&Event::Io(abi::Io { hdr, enter_ns: call.start, ret, fd, op, class, pad: 0 }), out);
    }

    /// A message is cut: how many are is counted, and that some are is said.
    fn note_cut(&mut self, cut: bool, out: Sink<'_>) {
        if cut {
            self.stats.cut_messages += 1;
            self.say_cut(out);
        }
    }

    /// `poll` says itself that nothing came: that is a receive that took too long. Or that there is an error: that is a receive that failed, with
    /// whichever error.
    pub(super) fn poll(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        if ret != 0 {
            self.poll_failed(call, process, at, out);
            return;
        }
        let args = text::split(&call.args);
        // A poll that does not wait says only that nothing is there yet; so does one for room to send.
        let waits = args.get(2).is_none_or(|timeout| !matches!(*timeout, "0" | "{tv_sec=0, tv_nsec=0}"));
        let entries = args.first().map(|arg| text::members(arg)).unwrap_or_default();
        for entry in entries.into_iter().filter(|_| waits) {
            let events = text::field(entry, "events").unwrap_or_default();
            let reads = text::flags(events).any(|flag| flag == "POLLIN")
                || text::bits(events).is_some_and(|n| n & 1 == 1);
            let Some(fd) = text::field(entry, "fd").and_then(text::fd).filter(|_| reads) else { continue };
            let class = self.fds.get(process, fd).map(|watch| watch.class);
            if matches!(class, Some(Class::Dns | Class::Ident)) {
                self.io(call, process, fd, abi::OP_READ, -i64::from(libc::ETIMEDOUT), at, out);
            }
        }
    }

    fn poll_failed(&mut self, call: &Call, process: Process, at: u64, out: Sink<'_>) {
        let entries = text::members(&call.note);
        for entry in entries {
            let failed = text::field(entry, "revents").is_some_and(|revents| {
                text::flags(revents).any(|flag| flag == "POLLERR")
                    || text::bits(revents).is_some_and(|n| n & 8 == 8)
            });
            let Some(fd) = text::field(entry, "fd").and_then(text::fd).filter(|_| failed) else { continue };
            if self.fds.get(process, fd).is_some_and(|watch| watch.class == Class::Dns) {
                self.io(call, process, fd, abi::OP_READ, -i64::from(libc::ECONNREFUSED), at, out);
            }
        }
    }

    pub(super) fn recv(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        let Some(fd) = text::fd(arg(0)) else { return };
        match self.fds.get_mut(process, fd) {
            None => {
                let from = address::sockaddr(arg(4));
                let (bytes, _) = text::string(arg(1), abi::PAYLOAD_MAX).unwrap_or_default();
                if ret > 0 && self.is_nameserver(call, (process, fd), from.as_ref(), &bytes, at, out) {
                    self.message(call, process, fd, &args, ret, at, out);
                }
                return;
            }
            Some(watch) if watch.class == Class::Accepted => return,
            Some(watch) if watch.class == Class::Dns => {
                if ret >= 0 {
                    self.message(call, process, fd, &args, ret, at, out);
                } else if ret != -i64::from(libc::EAGAIN) {
                    self.io(call, process, fd, abi::OP_READ, ret, at, out);
                }
                return;
            }
            Some(watch) => {
                if let Some(capture) = &mut watch.capture {
                    capture.read(arg(1), arg(2), ret);
                }
            }
        }
        self.io(call, process, fd, abi::OP_READ, ret, at, out);
    }

    #[expect(clippy::too_many_arguments, reason = "the record's fields")]
    fn message(
        &mut self,
        call: &Call,
        process: Process,
        fd: i32,
        args: &[&str],
        ret: i64,
        at: u64,
        out: Sink<'_>,
    ) {
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        let Some(watch) = self.fds.get(process, fd) else { return };
        let (conn, sock_type) = (self.conn_of(watch, call.tid), watch.sock_type);
        let full = u32::try_from(ret).unwrap_or(u32::MAX);
        let (messages, from) = if call.name == Name::RecvMsg {
            let messages = address::messages(arg(1));
            (messages, text::field(arg(1), "msg_name").and_then(address::sockaddr))
        } else {
            let (bytes, cut) = text::string(arg(1), abi::PAYLOAD_MAX).unwrap_or_default();
            (vec![Shown { bytes, cut, ..Shown::default() }], address::sockaddr(arg(4)))
        };
        // What a call with several messages returns is their number.
        let several = arg(1).starts_with("[{msg_hdr");
        let from = from.unwrap_or_default();
        for (index, shown) in (0..).zip(&messages) {
            self.note_cut(shown.cut, out);
            let hdr = self.hdr(conn, call.tid, at);
            let full_len = shown.msg_len.unwrap_or(if several { 0 } else { full });
            // strace shows the buffer, which may hold more than was received.
            let bytes = shown.bytes.get(..full_len as usize).unwrap_or(&shown.bytes);
            let body = payload(hdr, call.start, &from, fd, full_len, index, sock_type);
            self.put(&Event::Recv(body, bytes), out);
        }
    }
}

/// The messages of a send, as far as they are shown.
fn outgoing(call: &Call, args: &[&str]) -> Vec<Shown> {
    let arg = |i: usize| args.get(i).copied().unwrap_or_default();
    if call.name == Name::SendMsg {
        let mut messages = address::messages(arg(1));
        messages.retain(|shown| !shown.bytes.is_empty());
        return messages;
    }
    let Some((bytes, cut)) = text::string(arg(1), abi::PAYLOAD_MAX) else { return Vec::new() };
    let msg_len = text::int(arg(2)).and_then(|n| u32::try_from(n).ok());
    vec![Shown { bytes, cut, msg_len, iov_len: None }]
}

fn payload(
    hdr: abi::Header,
    enter_ns: u64,
    named: &Named,
    fd: i32,
    full_len: u32,
    index: u16,
    sock_type: u8,
) -> abi::Payload {
    abi::Payload {
        hdr,
        enter_ns,
        run_delay_ns: 0,
        addr: named.addr_or_none(),
        fd,
        full_len,
        payload_len: 0,
        index,
        sock_type,
        pad: [0; 3],
    }
}

/// How long a message was that was sent.
fn sent_len(shown: &Shown) -> u32 {
    let bytes = || u32::try_from(shown.bytes.len()).unwrap_or(u32::MAX);
    shown.msg_len.or(shown.iov_len).unwrap_or_else(bytes)
}
