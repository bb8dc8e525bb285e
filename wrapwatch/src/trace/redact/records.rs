//! Records → records about pseudonyms.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use wrapwatch_common::abi::{AF_INET, AF_INET6, SOCK_STREAM};
use wrapwatch_common::records as abi;

use super::dns;
use super::key::{Domain, Key};
use super::text::Text;
use crate::decode::dns::Framer;
use crate::decode::{Event, decode};
use crate::trace::encode::encode;

/// Most TCP connections to nameservers followed at once; what goes over is read from the beginning again.
const STREAMS_MAX: usize = 4096;
/// A message of no bytes over TCP (RFC 1035, 4.2.2): stands for a piece that completed none.
const NOTHING: [u8; 2] = [0, 0];

/// One TCP connection to a nameserver, both ways.
#[derive(Debug, Default)]
struct Stream {
    outgoing: Framer,
    incoming: Framer,
}

/// Maps records.
#[derive(Debug)]
pub(super) struct Records {
    key: Key,
    streams: HashMap<(u32, i32), Stream>,
    /// DNS messages that could not be read and were zeroed.
    pub(super) zeroed_messages: u64,
    /// Records of a kind that is not known, left out.
    pub(super) unknown: u64,
}

impl Records {
    pub(super) fn new(key: Key) -> Self {
        Self { key, streams: HashMap::new(), zeroed_messages: 0, unknown: 0 }
    }

    /// The record about pseudonyms, appended to `out`; nothing where it is of a kind that is not known.
    pub(super) fn map(&mut self, text: &Text, record: &[u8], out: &mut Vec<u8>) {
        let Ok(event) = decode(record) else {
            self.unknown += 1;
            return;
        };
        let addr = |addr: &abi::Addr| address(text, addr);
        match event {
            Event::Accept(r) => encode(&Event::Accept(abi::Accept { peer: addr(&r.peer), ..r }), out),
            Event::Open(r, path) => encode(&Event::Open(r, &text.path(path)), out),
            Event::Connect(r, path) => {
                // The descriptor may have been another socket before.
                self.streams.remove(&(r.hdr.tgid, r.fd));
                encode(&Event::Connect(abi::Connect { addr: addr(&r.addr), ..r }, &text.path(path)), out);
            }
            Event::Send(r, bytes) => {
                let (full_len, bytes) = self.payload(text, &r, bytes, true);
                encode(&Event::Send(abi::Payload { addr: addr(&r.addr), full_len, ..r }, &bytes), out);
            }
            Event::Recv(r, bytes) => {
                let (full_len, bytes) = self.payload(text, &r, bytes, false);
                encode(&Event::Recv(abi::Payload { addr: addr(&r.addr), full_len, ..r }, &bytes), out);
            }
            Event::Close(r) => {
                self.streams.remove(&(r.hdr.tgid, r.fd));
                encode(&Event::Close(r), out);
            }
            Event::SockState(r) => {
                // The same socket, but not where it was in the kernel.
                let sk = self.key.hash(Domain::Socket, &r.sk.to_le_bytes());
                let (local, peer) = (addr(&r.local), addr(&r.peer));
                encode(&Event::SockState(abi::SockState { sk, local, peer, ..r }), out);
            }
            Event::AcceptSocket(r) => {
                let sk = self.key.hash(Domain::Socket, &r.sk.to_le_bytes());
                let (local, peer) = (addr(&r.local), addr(&r.peer));
                encode(&Event::AcceptSocket(abi::AcceptSocket { sk, local, peer, ..r }), out);
            }
            Event::SockError(r) => {
                let (local, peer) = (addr(&r.local), addr(&r.peer));
                encode(&Event::SockError(abi::SockError { local, peer, ..r }), out);
            }
            Event::Subject(r) => encode(&Event::Subject(abi::Subject { peer: addr(&r.peer), ..r }), out),
            Event::Rule(r, file) => encode(&Event::Rule(r, &text.path(file)), out),
            Event::Io(_)
            | Event::Shutdown(_)
            | Event::FirstPacket(_)
            | Event::Peer(_)
            | Event::Wait(_)
            | Event::Check(_)
            | Event::Exit(_)
            | Event::Exec(_)
            | Event::AcceptFailed(_)
            | Event::Fork(_)
            | Event::Login(_)
            // What daemons are called stays.
            | Event::Request(..) => encode(&event, out),
        }
    }

    fn payload(&mut self, text: &Text, r: &abi::Payload, bytes: &[u8], outgoing: bool) -> (u32, Vec<u8>) {
        if r.sock_type == SOCK_STREAM {
            return self.stream(text, r, bytes, outgoing);
        }
        let cut = (r.full_len as usize).saturating_sub(bytes.len());
        let mapped = self.message(text, bytes);
        (length(mapped.len() + cut), mapped)
    }

    /// What the pieces of a TCP connection complete is put into the piece that completes it; the others become empty messages.
    fn stream(&mut self, text: &Text, r: &abi::Payload, bytes: &[u8], outgoing: bool) -> (u32, Vec<u8>) {
        if r.full_len == 0 {
            // The end of the connection.
            return (0, Vec::new());
        }
        let key = (r.hdr.tgid, r.fd);
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&key) {
            self.streams.clear();
        }
        let stream = self.streams.entry(key).or_default();
        let framer = if outgoing { &mut stream.outgoing } else { &mut stream.incoming };
        let mut messages = Vec::new();
        framer.push(bytes, r.full_len, |message| messages.push(message.to_vec()));
        let mut out = Vec::new();
        for message in messages {
            let mapped = self.message(text, &message);
            let len = u16::try_from(mapped.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&mapped);
        }
        if out.is_empty() {
            out.extend_from_slice(&NOTHING);
        }
        (length(out.len()), out)
    }

    fn message(&mut self, text: &Text, bytes: &[u8]) -> Vec<u8> {
        dns::message(&text.names, bytes).unwrap_or_else(|| {
            self.zeroed_messages += 1;
            vec![0; bytes.len()]
        })
    }
}

fn address(text: &Text, addr: &abi::Addr) -> abi::Addr {
    if !matches!(addr.family, AF_INET | AF_INET6) {
        // Nothing but the family means anything; whatever else is there goes.
        return abi::Addr { family: addr.family, ip: [0; 16], port: 0, scope: 0 };
    }
    let ip = text.names.addresses().v6(Ipv6Addr::from(addr.ip)).octets();
    abi::Addr { ip, ..*addr }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
