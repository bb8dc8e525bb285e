//! A synthetic server: writes the records that the kernel side would write, as bytes, so that the decoder is exercised with them.
//!
//! Threads are scripts with their own clocks; [`Sim::records`] puts their records into one order by time and gives them the numbers that the
//! kernel side would have given.

use std::collections::HashMap;
use std::net::SocketAddr;

use wrapwatch_common::mysql::LoginEnd;
use wrapwatch_common::records::{self as abi, Addr, Class, Header, Kind};
use zerocopy::{Immutable, IntoBytes};

use crate::decode::addr::from_socket_addr;
use crate::decode::dns;

pub(crate) const TGID: u32 = 100;
pub(crate) const NETNS: u32 = 4242;
pub(crate) const LISTENER: i32 = 10;
/// Where the server listens.
const SERVER: &str = "10.77.0.2:3306";
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SEC: u64 = 1_000 * MS;
const NO_ADDR: Addr = Addr { ip: [0; 16], family: 0, port: 0, scope: 0 };
const UNIX_ADDR: Addr = Addr { family: 1, ..NO_ADDR };

/// One record and what the order needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Rec {
    pub ts: u64,
    pub tid: u32,
    pub conn: u64,
    pub kind: Kind,
    pub bytes: Vec<u8>,
}

/// Records in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sim {
    recs: Vec<Rec>,
}

/// What is special about a payload.
#[derive(Clone, Copy, Debug, Default)]
struct Payload {
    addr: Option<SocketAddr>,
    index: u16,
    stream: bool,
}

/// A thread that does things one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    pub tid: u32,
    pub conn: u64,
    /// Its clock.
    pub t: u64,
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Sim {
    /// All records by time, numbered as the kernel side numbers them.
    pub(crate) fn records(mut self) -> Vec<Rec> {
        self.recs.sort_by_key(|rec| rec.ts);
        let mut next: HashMap<u64, Option<u32>> = HashMap::new();
        for rec in &mut self.recs {
            if rec.conn == 0 {
                continue;
            }
            let seq = next.entry(rec.conn).or_insert(Some(0));
            *seq = seq.map(|seq| seq + 1);
            rec.bytes[24..28].copy_from_slice(&seq.unwrap_or(0).to_ne_bytes());
            let class = rec.bytes.get(36).copied();
            let over = rec.kind == Kind::FirstPacket
                || (rec.kind == Kind::Close && class == Some(Class::Accepted as u8));
            if over {
                *seq = None;
            }
        }
        self.recs
    }

    fn put<T: IntoBytes + Immutable>(&mut self, hdr: Header, body: &T, tail: &[u8]) {
        let mut bytes = body.as_bytes().to_vec();
        bytes.extend_from_slice(tail);
        let len = u16::try_from(bytes.len()).unwrap();
        bytes[30..32].copy_from_slice(&len.to_ne_bytes());
        let kind = Kind::from_raw(hdr.kind).unwrap();
        self.recs.push(Rec { ts: hdr.ts_ns, tid: hdr.tid, conn: hdr.conn, kind, bytes });
    }

    fn hdr(th: &Thread, kind: Kind) -> Header {
        Header { ts_ns: th.t, conn: th.conn, tgid: TGID, tid: th.tid, seq: 0, kind: kind as u16, len: 0 }
    }

    /// A TCP socket changed its state.
    pub(crate) fn state(&mut self, ts: u64, sk: u64, peer: SocketAddr, (old, new): (u8, u8), netns: u32) {
        let hdr =
            Header { ts_ns: ts, conn: 0, tgid: 0, tid: 0, seq: 0, kind: Kind::SockState as u16, len: 0 };
        let local = from_socket_addr(addr(SERVER));
        let peer = from_socket_addr(peer);
        self.put(hdr, &abi::SockState { hdr, sk, local, peer, netns, old, new, pad: 0 }, &[]);
    }

    pub(crate) fn established(&mut self, ts: u64, sk: u64, peer: SocketAddr) {
        self.state(ts, sk, peer, (3, 1), NETNS);
    }

    /// A client comes into the queue of a unix socket.
    pub(crate) fn queued_locally(&mut self, ts: u64, sk: u64) {
        let hdr =
            Header { ts_ns: ts, conn: 0, tgid: 0, tid: 0, seq: 0, kind: Kind::SockState as u16, len: 0 };
        let (local, peer) = (UNIX_ADDR, UNIX_ADDR);
        self.put(hdr, &abi::SockState { hdr, sk, local, peer, netns: 0, old: 3, new: 1, pad: 0 }, &[]);
    }

    pub(crate) fn sock_error(&mut self, ts: u64, server: SocketAddr) {
        let hdr =
            Header { ts_ns: ts, conn: 0, tgid: 0, tid: 0, seq: 0, kind: Kind::SockError as u16, len: 0 };
        let peer = from_socket_addr(server);
        self.put(hdr, &abi::SockError { hdr, local: NO_ADDR, peer, error: 113, protocol: 17 }, &[]);
    }

    /// `accept` returns at the thread's time; the thread works for `conn` from now on.
    pub(crate) fn accept(&mut self, th: &mut Thread, conn: u64, fd: i32, peer: Option<SocketAddr>) {
        th.conn = conn;
        let hdr = Self::hdr(th, Kind::Accept);
        let peer = peer.map_or(UNIX_ADDR, from_socket_addr);
        self.put(hdr, &abi::Accept { hdr, enter_ns: th.t - 1_000, peer, fd, listener: LISTENER }, &[]);
    }

    /// As [`Self::accept`], where the kernel side has the socket.
    pub(crate) fn accept_socket(&mut self, th: &mut Thread, conn: u64, fd: i32, sk: u64, peer: SocketAddr) {
        self.accept_at(th, conn, fd, sk, peer, SERVER);
    }

    /// As [`Self::accept_socket`], at another of the server's addresses.
    pub(crate) fn accept_at(
        &mut self,
        th: &mut Thread,
        conn: u64,
        fd: i32,
        sk: u64,
        peer: SocketAddr,
        local: &str,
    ) {
        let ends = (from_socket_addr(addr(local)), from_socket_addr(peer));
        self.accept_as(th, conn, fd, sk, ends, TGID);
    }

    /// As [`Self::accept_socket`], of a unix socket.
    pub(crate) fn accept_locally(&mut self, th: &mut Thread, conn: u64, fd: i32, sk: u64) {
        self.accept_as(th, conn, fd, sk, (UNIX_ADDR, UNIX_ADDR), TGID);
    }

    /// As [`Self::accept_socket`], in a process that the server had made before the trace.
    pub(crate) fn accept_in_worker(
        &mut self,
        th: &mut Thread,
        conn: u64,
        fd: i32,
        sk: u64,
        peer: SocketAddr,
    ) {
        let ends = (from_socket_addr(addr(SERVER)), from_socket_addr(peer));
        self.accept_as(th, conn, fd, sk, ends, th.tid);
    }

    fn accept_as(
        &mut self,
        th: &mut Thread,
        conn: u64,
        fd: i32,
        sk: u64,
        (local, peer): (Addr, Addr),
        process: u32,
    ) {
        th.conn = conn;
        let hdr = Self::hdr(th, Kind::AcceptSocket);
        let (enter_ns, netns, listener) = (th.t - 1_000, NETNS, LISTENER);
        self.put(
            hdr,
            &abi::AcceptSocket { hdr, enter_ns, sk, local, peer, netns, fd, listener, process },
            &[],
        );
    }

    /// The thread makes a process for its connection.
    pub(crate) fn fork(&mut self, th: &mut Thread, child: u32) -> Thread {
        self.fork_to(th, child, 1)
    }

    /// As [`Self::fork`]; `followed` as in the record.
    pub(crate) fn fork_to(&mut self, th: &mut Thread, child: u32, followed: u32) -> Thread {
        let hdr = Self::hdr(th, Kind::Fork);
        self.put(hdr, &abi::Fork { hdr, child, followed }, &[]);
        th.t += 50_000;
        Thread { tid: child, conn: th.conn, t: th.t }
    }

    /// A request begins; `own`: the server looks its client up.
    pub(crate) fn subject(
        &mut self,
        th: &mut Thread,
        conn: u64,
        peer: Option<SocketAddr>,
        within: u64,
        own: bool,
    ) {
        th.conn = conn;
        let hdr = Self::hdr(th, Kind::Subject);
        let peer = peer.map_or(NO_ADDR, from_socket_addr);
        let why = if own { abi::SUBJECT_LOOKED_UP } else { abi::SUBJECT_ASKED };
        self.put(hdr, &abi::Subject { hdr, peer, within, why, pad: 0 }, &[]);
    }

    /// A client that was greeted logs in.
    pub(crate) fn logs_in(&mut self, th: &mut Thread, conn: u64, within: u64) {
        th.conn = conn;
        let hdr = Self::hdr(th, Kind::Subject);
        self.put(hdr, &abi::Subject { hdr, peer: NO_ADDR, within, why: abi::SUBJECT_LOGS_IN, pad: 0 }, &[]);
    }

    /// Its login ends.
    pub(crate) fn login(&mut self, th: &mut Thread, end: LoginEnd, client_ns: u64, bytes: [u8; 7]) {
        let hdr = Self::hdr(th, Kind::Login);
        let record = abi::Login { hdr, client_ns, packets: 1, bytes, end: end as u8, pad: 0 };
        self.put(hdr, &record, &[]);
    }

    /// libwrap is asked.
    pub(crate) fn request(&mut self, th: &mut Thread, fd: i32, daemon: &str) {
        let hdr = Self::hdr(th, Kind::Request);
        let daemon_len = u16::try_from(daemon.len()).unwrap();
        let what = abi::WHAT_HOSTS_ACCESS;
        self.put(hdr, &abi::Request { hdr, fd, daemon_len, what, pad: 0 }, daemon.as_bytes());
        self.check(th, what, 0, 0);
    }

    pub(crate) fn open(&mut self, th: &mut Thread, path: &str, ret: i32) {
        let enter_ns = th.t;
        th.t += 5_000;
        let hdr = Self::hdr(th, Kind::Open);
        let path_len = u16::try_from(path.len()).unwrap();
        self.put(hdr, &abi::Open { hdr, enter_ns, ret, path_len, pad: 0 }, path.as_bytes());
        th.t += 1_000;
    }

    pub(crate) fn io(&mut self, th: &mut Thread, fd: i32, class: Class, op: u8, ret: i64, ns: u64) {
        let enter_ns = th.t;
        th.t += ns;
        let hdr = Self::hdr(th, Kind::Io);
        self.put(hdr, &abi::Io { hdr, enter_ns, ret, fd, op, class: class as u8, pad: 0 }, &[]);
        th.t += 1_000;
    }

    pub(crate) fn read(&mut self, th: &mut Thread, fd: i32, ret: i64) {
        self.io(th, fd, Class::File, abi::OP_READ, ret, 3_000);
    }

    pub(crate) fn close(&mut self, th: &mut Thread, fd: i32, class: Class) {
        self.closes(th, fd, class, 0);
    }

    /// Of a file of which a read has just found the end, at once.
    pub(crate) fn close_at_end(&mut self, th: &mut Thread, fd: i32) {
        self.closes(th, fd, Class::File, 1);
    }

    fn closes(&mut self, th: &mut Thread, fd: i32, class: Class, read_to_end: u8) {
        let hdr = Self::hdr(th, Kind::Close);
        let class = class as u8;
        self.put(hdr, &abi::Close { hdr, run_delay_ns: 0, fd, class, read_to_end, pad: [0; 2] }, &[]);
        th.t += 3_000;
    }

    pub(crate) fn rule(&mut self, th: &mut Thread, file: &str, line: i32) {
        let hdr = Self::hdr(th, Kind::Rule);
        let file_len = u16::try_from(file.len()).unwrap();
        self.put(hdr, &abi::Rule { hdr, line, file_len, pad: 0 }, file.as_bytes());
        th.t += 200;
    }

    #[expect(clippy::too_many_arguments, reason = "as many as the record has fields")]
    pub(crate) fn connect(
        &mut self,
        th: &mut Thread,
        fd: i32,
        server: SocketAddr,
        class: Class,
        stream: bool,
        ret: i32,
        ns: u64,
    ) {
        let enter_ns = th.t;
        th.t += ns;
        let hdr = Self::hdr(th, Kind::Connect);
        let addr = from_socket_addr(server);
        let sock_type = if stream { 1 } else { 2 };
        let body = abi::Connect {
            hdr,
            enter_ns,
            run_delay_ns: 0,
            addr,
            fd,
            ret,
            class: class as u8,
            sock_type,
            path_len: 0,
            pad: 0,
        };
        self.put(hdr, &body, &[]);
        th.t += 1_000;
    }

    pub(crate) fn connect_unix(&mut self, th: &mut Thread, fd: i32, path: &str, ret: i32, ns: u64) {
        let enter_ns = th.t;
        th.t += ns;
        let hdr = Self::hdr(th, Kind::Connect);
        let addr = Addr { family: 1, ..NO_ADDR };
        let path_len = u16::try_from(path.len()).unwrap();
        let class = Class::Unix as u8;
        let body = abi::Connect {
            hdr,
            enter_ns,
            run_delay_ns: 0,
            addr,
            fd,
            ret,
            class,
            sock_type: 1,
            path_len,
            pad: 0,
        };
        self.put(hdr, &body, path.as_bytes());
        th.t += 1_000;
    }

    fn payload(&mut self, th: &mut Thread, kind: Kind, fd: i32, bytes: &[u8], how: Payload) {
        let hdr = Self::hdr(th, kind);
        let kept = &bytes[..bytes.len().min(512)];
        let body = abi::Payload {
            hdr,
            enter_ns: th.t,
            run_delay_ns: 0,
            addr: how.addr.map_or(NO_ADDR, from_socket_addr),
            fd,
            full_len: u32::try_from(bytes.len()).unwrap(),
            payload_len: u16::try_from(kept.len()).unwrap(),
            index: how.index,
            sock_type: if how.stream { 1 } else { 2 },
            pad: [0; 3],
        };
        self.put(hdr, &body, kept);
        th.t += 2_000;
    }

    pub(crate) fn send(&mut self, th: &mut Thread, fd: i32, bytes: &[u8]) {
        self.payload(th, Kind::Send, fd, bytes, Payload::default());
    }

    /// Two messages of one `sendmmsg`: both at one time.
    pub(crate) fn send_pair(&mut self, th: &mut Thread, fd: i32, first: &[u8], second: &[u8]) {
        let at = th.t;
        self.send(th, fd, first);
        th.t = at;
        self.payload(th, Kind::Send, fd, second, Payload { index: 1, ..Payload::default() });
    }

    pub(crate) fn send_to(&mut self, th: &mut Thread, fd: i32, bytes: &[u8], to: SocketAddr) {
        self.payload(th, Kind::Send, fd, bytes, Payload { addr: Some(to), ..Payload::default() });
    }

    pub(crate) fn recv(&mut self, th: &mut Thread, fd: i32, bytes: &[u8]) {
        self.payload(th, Kind::Recv, fd, bytes, Payload::default());
    }

    pub(crate) fn recv_from(&mut self, th: &mut Thread, fd: i32, bytes: &[u8], from: SocketAddr) {
        self.payload(th, Kind::Recv, fd, bytes, Payload { addr: Some(from), ..Payload::default() });
    }

    pub(crate) fn send_tcp(&mut self, th: &mut Thread, fd: i32, bytes: &[u8]) {
        self.payload(th, Kind::Send, fd, bytes, Payload { stream: true, ..Payload::default() });
    }

    pub(crate) fn recv_tcp(&mut self, th: &mut Thread, fd: i32, bytes: &[u8]) {
        self.payload(th, Kind::Recv, fd, bytes, Payload { stream: true, ..Payload::default() });
    }

    pub(crate) fn peer(&mut self, th: &mut Thread, fd: i32, ret: i32) {
        let hdr = Self::hdr(th, Kind::Peer);
        self.put(hdr, &abi::Peer { hdr, fd, ret }, &[]);
        th.t += 1_000;
    }

    pub(crate) fn shutdown(&mut self, th: &mut Thread, fd: i32) {
        let hdr = Self::hdr(th, Kind::Shutdown);
        self.put(hdr, &abi::Shutdown { hdr, fd, how: 2 }, &[]);
        th.t += 1_000;
    }

    pub(crate) fn first_packet(&mut self, th: &mut Thread, fd: i32, bytes: [u8; 7]) {
        let hdr = Self::hdr(th, Kind::FirstPacket);
        self.put(hdr, &abi::FirstPacket { hdr, fd, full_len: 78, bytes, n: 7 }, &[]);
        th.t += 1_000;
    }

    pub(crate) fn wait(&mut self, th: &mut Thread, ns: u64) {
        let enter_ns = th.t;
        th.t += ns;
        let hdr = Self::hdr(th, Kind::Wait);
        self.put(hdr, &abi::Wait { hdr, enter_ns, ret: 1234, pad: 0 }, &[]);
        th.t += 1_000;
    }

    pub(crate) fn check(&mut self, th: &mut Thread, what: u8, returned: u8, ret: i32) {
        let hdr = Self::hdr(th, Kind::Check);
        self.put(hdr, &abi::Check { hdr, ret, what, returned, pad: 0 }, &[]);
        th.t += 500;
    }

    pub(crate) fn exit(&mut self, th: &Thread, leader: u32) {
        let hdr = Self::hdr(th, Kind::Exit);
        self.put(hdr, &abi::Exit { hdr, leader, pad: 0 }, &[]);
    }

    pub(crate) fn exec(&mut self, th: &Thread) {
        let hdr = Self::hdr(th, Kind::Exec);
        self.put(hdr, &abi::Exec { hdr }, &[]);
    }
}

/// A greeting, and an error 1040.
pub(crate) const GREETING: [u8; 7] = [0x4a, 0, 0, 0, 0x0a, b'5', b'.'];
pub(crate) const TOO_MANY: [u8; 7] = [0x17, 0, 0, 0, 0xff, 0x10, 0x04];

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// A query.
pub(crate) fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend(labels(name));
    out.extend_from_slice(&qtype.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out
}

/// The answer to a query: `data` is a name for PTR, an IPv4 address for A; none for no data. `flags`: rcode, plus 0x200 for TC.
pub(crate) fn answer(query: &[u8], flags: u16, data: Option<&str>) -> Vec<u8> {
    let mut out = query.to_vec();
    out[2..4].copy_from_slice(&(0x8180 | flags).to_be_bytes());
    let qtype = u16::from_be_bytes([query[query.len() - 4], query[query.len() - 3]]);
    if let Some(data) = data {
        out[7] = 1;
        out.extend_from_slice(&[0xc0, 0x0c]);
        out.extend_from_slice(&qtype.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        let data = match qtype {
            dns::A => data.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec(),
            dns::AAAA => data.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
            _ => labels(data),
        };
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    out
}

/// With its length in front, as TCP carries it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(message);
    out
}
