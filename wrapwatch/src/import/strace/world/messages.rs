//! What goes through watched descriptors: DNS messages, first packets, and calls of which only the time matters.

use wrapwatch_common::records as abi;
use wrapwatch_common::records::Class;

use super::{Sink, World};
use crate::decode::Event;
use crate::import::strace::{Call, Name, address, text};
use crate::trace::encode::NO_ADDR;

impl World {
    pub(super) fn send_enter(&mut self, call: &Call, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        let Some(fd) = text::fd(arg(0)) else { return };
        let class = self.watches.get(&fd).map(|watch| watch.class);
        let messages = match class {
            Some(Class::Accepted | Class::Socket | Class::Dns) => self.outgoing(call, &args),
            _ => return,
        };
        if messages.is_empty() {
            // sendmmsg of old straces is printed at its return only.
            return;
        }
        self.told_send.insert(call.tid);
        if class == Some(Class::Accepted) {
            self.first_packet(call, fd, &messages, at, out);
            return;
        }
        let to = if call.name == Name::Send {
            address::sockaddr(arg(4))
        } else {
            text::field(arg(1), "msg_name").and_then(address::sockaddr)
        };
        let to = to.map(|(addr, _)| addr);
        if let (Some(Class::Socket), Some(addr)) = (class, to) {
            self.classify(call, fd, addr, &[], 0, at, out);
        }
        self.send(call, fd, &messages, to.unwrap_or(NO_ADDR), at, out);
    }

    /// The messages of a send: bytes as far as shown, and how many there were.
    pub(super) fn outgoing(&mut self, call: &Call, args: &[&str]) -> Vec<(Vec<u8>, u32)> {
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        if call.name == Name::SendMsg {
            let messages = address::messages(arg(1)).into_iter();
            return messages
                .filter(|(bytes, _)| !bytes.is_empty())
                .map(|(b, n)| {
                    let len = length(&b, n);
                    (b, len)
                })
                .collect();
        }
        let Some((bytes, cut)) = text::string(arg(1), abi::PAYLOAD_MAX) else { return Vec::new() };
        let full = text::int(arg(2)).and_then(|n| u32::try_from(n).ok());
        if cut && self.watches.get(&text::fd(arg(0)).unwrap_or(-1)).is_some_and(|w| w.class == Class::Dns) {
            self.stats.cut_messages += 1;
        }
        let len = length(&bytes, full);
        vec![(bytes, len)]
    }

    pub(super) fn first_packet(
        &mut self,
        call: &Call,
        fd: i32,
        messages: &[(Vec<u8>, u32)],
        at: u64,
        out: Sink<'_>,
    ) {
        let Some(watch) = self.watches.remove(&fd) else { return };
        let full_len = messages.iter().fold(0_u32, |sum, (_, len)| sum.saturating_add(*len));
        let mut bytes = [0; abi::FIRST_PACKET_MAX];
        let mut n = 0;
        for (to, from) in bytes.iter_mut().zip(messages.iter().flat_map(|(bytes, _)| bytes)) {
            *to = *from;
            n += 1;
        }
        let hdr = self.hdr(watch.conn, call.tid, at);
        self.put(&Event::FirstPacket(abi::FirstPacket { hdr, fd, full_len, bytes, n }), out);
        self.conns.remove(&watch.conn);
    }

    pub(super) fn send(
        &mut self,
        call: &Call,
        fd: i32,
        messages: &[(Vec<u8>, u32)],
        to: abi::Addr,
        at: u64,
        out: Sink<'_>,
    ) {
        let Some(watch) = self.watches.get(&fd).filter(|watch| watch.class == Class::Dns) else { return };
        let (conn, sock_type) = (self.conn_of(watch, call.tid), watch.sock_type);
        for (index, (bytes, full_len)) in (0..).zip(messages) {
            let hdr = self.hdr(conn, call.tid, at);
            let body = payload(hdr, at, to, fd, *full_len, index, sock_type);
            self.put(&Event::Send(body, bytes), out);
        }
    }

    pub(super) fn send_exit(&mut self, call: &Call, ret: i64, told: bool, at: u64, out: Sink<'_>) {
        if !told {
            self.send_enter(call, call.start.max(1), out);
            self.told_send.remove(&call.tid);
        }
        let Some(fd) = text::fd(&call.args) else { return };
        let Some(watch) = self.watches.get(&fd) else { return };
        if matches!(watch.class, Class::Accepted) || (watch.class == Class::Dns && ret >= 0) {
            return;
        }
        self.io(call, fd, abi::OP_WRITE, ret, at, out);
    }

    pub(super) fn io(&mut self, call: &Call, fd: i32, op: u8, ret: i64, at: u64, out: Sink<'_>) {
        let Some(watch) = self.watches.get(&fd) else { return };
        let (conn, class) = (self.conn_of(watch, call.tid), watch.class as u8);
        let hdr = self.hdr(conn, call.tid, at);
        self.put(&Event::Io(abi::Io { hdr, enter_ns: call.start, ret, fd, op, class, pad: 0 }), out);
    }

    pub(super) fn recv(&mut self, call: &Call, ret: i64, at: u64, out: Sink<'_>) {
        let args = text::split(&call.args);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        let Some(fd) = text::fd(arg(0)) else { return };
        match self.watches.get_mut(&fd) {
            None => return,
            Some(watch) if watch.class == Class::Accepted => return,
            Some(watch) if watch.class == Class::Dns => {
                if ret >= 0 {
                    self.message(call, fd, &args, ret, at, out);
                } else if ret != -i64::from(libc::EAGAIN) {
                    self.io(call, fd, abi::OP_READ, ret, at, out);
                }
                return;
            }
            Some(watch) => {
                if let Some(capture) = &mut watch.capture {
                    capture.read(arg(1), arg(2), ret);
                }
            }
        }
        self.io(call, fd, abi::OP_READ, ret, at, out);
    }

    pub(super) fn message(&mut self, call: &Call, fd: i32, args: &[&str], ret: i64, at: u64, out: Sink<'_>) {
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        let Some(watch) = self.watches.get(&fd) else { return };
        let (conn, sock_type) = (self.conn_of(watch, call.tid), watch.sock_type);
        let full = u32::try_from(ret).unwrap_or(u32::MAX);
        let (messages, from) = if call.name == Name::RecvMsg {
            let several = arg(1).starts_with("[{msg_hdr");
            let messages = address::messages(arg(1)).into_iter();
            let messages: Vec<_> = messages
                .map(|(b, n)| {
                    let len = n.unwrap_or(if several { 0 } else { full });
                    (b, len)
                })
                .collect();
            (messages, text::field(arg(1), "msg_name").and_then(address::sockaddr))
        } else {
            let (bytes, cut) = text::string(arg(1), abi::PAYLOAD_MAX).unwrap_or_default();
            self.stats.cut_messages += u64::from(cut);
            (vec![(bytes, full)], address::sockaddr(arg(4)))
        };
        let from = from.map_or(NO_ADDR, |(addr, _)| addr);
        for (index, (bytes, full_len)) in (0..).zip(&messages) {
            let hdr = self.hdr(conn, call.tid, at);
            // strace shows the buffer, which may hold more than was received.
            let bytes = bytes.get(..*full_len as usize).unwrap_or(bytes);
            let body = payload(hdr, call.start, from, fd, *full_len, index, sock_type);
            self.put(&Event::Recv(body, bytes), out);
        }
    }
}

fn payload(
    hdr: abi::Header,
    enter_ns: u64,
    addr: abi::Addr,
    fd: i32,
    full_len: u32,
    index: u16,
    sock_type: u8,
) -> abi::Payload {
    abi::Payload {
        hdr,
        enter_ns,
        run_delay_ns: 0,
        addr,
        fd,
        full_len,
        payload_len: 0,
        index,
        sock_type,
        pad: [0; 3],
    }
}

fn length(bytes: &[u8], shown: Option<u32>) -> u32 {
    shown.unwrap_or_else(|| u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}
