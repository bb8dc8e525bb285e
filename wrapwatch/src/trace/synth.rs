//! Made-up records: the story of connections with two lookups each, distinct clients and names, for measuring the size of traces
//! and the speed of what reads them. Deterministic: the same seed gives the same bytes.
//!
//! Modelled on straces of a mysqld 5.5.62 with libwrap: a table opened and read, `/etc/hosts` read before each lookup, a PTR
//! and an A query over sockets of their own, a rule, the check's uprobes, a hand-over, a greeting. Durations jitter
//! log-uniformly over a factor of four, so that times do not compress better than real ones.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wrapwatch_common::abi::SOCK_DGRAM;
use wrapwatch_common::records as abi;

use super::encode::{NO_ADDR, addr, encode};
use crate::decode::Event;

/// Makes connections one after another, each with its lookups, into records in the order the kernel would write them.
#[derive(Debug)]
pub struct Synth {
    rng: SplitMix,
    now: u64,
    /// The accept thread waited that long for a CPU: a little after each sleep.
    run_delay: u64,
    gap_ns: u64,
    conn: u64,
    seq: u32,
    tid: u32,
    lookups: bool,
}

const TGID: u32 = 24_516;
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), 3306);
const NAMESERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 53, 2)), 53);

/// Deterministic random numbers (`SplitMix64`, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n` (0 where `n` is 0).
    pub const fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }
}

impl Synth {
    /// `per_s` connections a second (0: each as soon as the one before is done), beginning at `start_ns`.
    pub const fn new(seed: u64, start_ns: u64, per_s: u64) -> Self {
        let gap_ns = match 1_000_000_000_u64.checked_div(per_s) {
            Some(gap) => gap,
            None => 0,
        };
        Self {
            rng: SplitMix(seed),
            now: start_ns,
            run_delay: 0,
            gap_ns,
            conn: 0,
            seq: 0,
            tid: TGID,
            lookups: true,
        }
    }

    /// As it is, but no rule asks for a name.
    #[must_use]
    pub const fn without_lookups(self) -> Self {
        Self { lookups: false, ..self }
    }

    /// Connections made so far.
    pub const fn connections(&self) -> u64 {
        self.conn
    }

    /// Monotonic time of the last record made.
    pub const fn now_ns(&self) -> u64 {
        self.now
    }

    /// Makes one connection: calls `out` with each of its records.
    pub fn connection(&mut self, out: &mut impl FnMut(&[u8])) {
        let begin = self.now;
        self.conn += 1;
        self.seq = 0;
        self.tid = TGID;
        let n = self.conn;
        let bits = self.rng.next();
        let client_ip = Ipv4Addr::from(0x0a00_0000 | u32::try_from(bits & 0x00ff_ffff).unwrap_or(1));
        let client =
            SocketAddr::from((client_ip, u16::try_from(32_768 + ((bits >> 24) % 28_232)).unwrap_or(40_000)));
        let name = format!("web-{:x}.dc{}.corp.example", bits >> 44, n % 7);
        let sk = 0xffff_8881_0000_0000 | ((bits >> 20) & 0xffff_ffc0);
        let mut w = Emit { s: self, out, bytes: Vec::with_capacity(640) };

        w.state(sk, client, 3, 1);
        w.accept(client);
        w.check(0, 0);
        w.open(b"/etc/hosts.allow", 33);
        w.io(33, 161);
        if w.s.lookups {
            w.hosts();
            w.query(&ptr_question(client_ip), &ptr_answer(&name), true);
            w.hosts();
            w.query(&a_question(&name), &a_answer(client_ip), false);
        }
        w.rule(4);
        w.close(33, abi::Class::File);
        w.check(1, 1);
        w.s.tid = 27_338 + u32::try_from(n % 8).unwrap_or(0);
        w.peer();
        w.first_packet();
        w.s.tid = 0;
        w.state(sk, client, 1, 8);
        w.state(sk, client, 8, 9);
        w.state(sk, client, 9, 7);
        self.now = self.now.max(begin + self.gap_ns);
    }
}

struct Emit<'a, F> {
    s: &'a mut Synth,
    out: &'a mut F,
    bytes: Vec<u8>,
}

impl<F: FnMut(&[u8])> Emit<'_, F> {
    /// Lets between half and twice `typical_ns` pass.
    fn pass(&mut self, typical_ns: u64) -> u64 {
        let ns = typical_ns / 2 + self.s.rng.below(typical_ns * 3 / 2);
        self.s.now += ns;
        self.s.now
    }

    fn hdr(&mut self) -> abi::Header {
        self.s.seq += 1;
        let s = &self.s;
        abi::Header { ts_ns: s.now, conn: s.conn, tgid: TGID, tid: s.tid, seq: s.seq, kind: 0, len: 0 }
    }

    fn put(&mut self, event: &Event<'_>) {
        self.bytes.clear();
        encode(event, &mut self.bytes);
        (self.out)(&self.bytes);
    }

    fn state(&mut self, sk: u64, peer: SocketAddr, old: u8, new: u8) {
        self.pass(20_000);
        let hdr = abi::Header { ts_ns: self.s.now, conn: 0, tgid: 0, tid: 0, seq: 0, kind: 0, len: 0 };
        let (local, peer) = (addr(SERVER), addr(peer));
        self.put(&Event::SockState(abi::SockState {
            hdr,
            sk,
            local,
            peer,
            netns: 4_026_531_840,
            old,
            new,
            pad: 0,
        }));
    }

    fn accept(&mut self, peer: SocketAddr) {
        let enter_ns = self.pass(10_000);
        self.pass(4_000);
        let hdr = self.hdr();
        self.put(&Event::Accept(abi::Accept { hdr, enter_ns, peer: addr(peer), fd: 31, listener: 10 }));
    }

    fn check(&mut self, returned: u8, ret: i32) {
        self.pass(3_000);
        let hdr = self.hdr();
        self.put(&Event::Check(abi::Check { hdr, ret, what: abi::WHAT_HOSTS_ACCESS, returned, pad: 0 }));
    }

    fn open(&mut self, path: &[u8], fd: i32) {
        let enter_ns = self.pass(8_000);
        self.pass(5_000);
        let hdr = self.hdr();
        self.put(&Event::Open(abi::Open { hdr, enter_ns, ret: fd, path_len: 0, pad: 0 }, path));
    }

    fn io(&mut self, fd: i32, ret: i64) {
        let enter_ns = self.pass(6_000);
        self.pass(2_000);
        let hdr = self.hdr();
        self.put(&Event::Io(abi::Io {
            hdr,
            enter_ns,
            ret,
            fd,
            op: abi::OP_READ,
            class: abi::Class::File as u8,
            pad: 0,
        }));
    }

    fn close(&mut self, fd: i32, class: abi::Class) {
        self.pass(3_000);
        let hdr = self.hdr();
        self.put(&Event::Close(abi::Close {
            hdr,
            run_delay_ns: self.s.run_delay,
            fd,
            class: class as u8,
            read_to_end: 0,
            pad: [0; 2],
        }));
    }

    fn hosts(&mut self) {
        self.open(b"/etc/hosts", 34);
        self.io(34, 37);
        self.io(34, 0);
        self.close(34, abi::Class::File);
    }

    fn rule(&mut self, line: i32) {
        let hdr = self.hdr();
        self.put(&Event::Rule(abi::Rule { hdr, line, file_len: 0, pad: 0 }, b"/etc/hosts.allow"));
    }

    fn query(&mut self, question: &[u8], answer: &[u8], rule: bool) {
        let id = u16::try_from(self.s.rng.below(65_536)).unwrap_or(0).to_be_bytes();
        let enter_ns = self.pass(10_000);
        self.pass(7_000);
        let hdr = self.hdr();
        let addr = addr(NAMESERVER);
        let class = abi::Class::Dns as u8;
        self.put(&Event::Connect(
            abi::Connect {
                hdr,
                enter_ns,
                run_delay_ns: self.s.run_delay,
                addr,
                fd: 34,
                ret: 0,
                class,
                sock_type: SOCK_DGRAM,
                path_len: 0,
                pad: 0,
            },
            &[],
        ));
        if rule {
            self.rule(2);
        }
        let query: Vec<u8> = id
            .iter()
            .copied()
            .chain([1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .chain(question.iter().copied())
            .collect();
        self.pass(15_000);
        self.message(&query, true, self.s.now, NO_ADDR);
        let reply: Vec<u8> = id
            .iter()
            .copied()
            .chain([0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
            .chain(question.iter().copied())
            .chain(answer.iter().copied())
            .collect();
        let enter_ns = self.pass(400_000);
        self.s.run_delay += self.s.rng.below(20_000);
        self.pass(3_000);
        self.message(&reply, false, enter_ns, addr);
        self.close(34, abi::Class::Dns);
    }

    fn message(&mut self, bytes: &[u8], out: bool, enter_ns: u64, addr: abi::Addr) {
        let hdr = self.hdr();
        let full_len = u32::try_from(bytes.len()).unwrap_or(0);
        let body = abi::Payload {
            hdr,
            enter_ns,
            run_delay_ns: self.s.run_delay,
            addr,
            fd: 34,
            full_len,
            payload_len: 0,
            index: 0,
            sock_type: SOCK_DGRAM,
            pad: [0; 3],
        };
        self.put(&if out { Event::Send(body, bytes) } else { Event::Recv(body, bytes) });
    }

    fn peer(&mut self) {
        self.pass(60_000);
        let hdr = self.hdr();
        self.put(&Event::Peer(abi::Peer { hdr, fd: 31, ret: 0 }));
    }

    fn first_packet(&mut self) {
        self.pass(100_000);
        let hdr = self.hdr();
        let bytes = [0x4a, 0, 0, 0, 0x0a, b'5', b'.'];
        self.put(&Event::FirstPacket(abi::FirstPacket { hdr, fd: 31, full_len: 78, bytes, n: 7 }));
    }
}

fn labels(name: &str, out: &mut Vec<u8>) {
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

fn ptr_question(ip: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = ip.octets();
    let mut out = Vec::new();
    labels(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), &mut out);
    out.extend_from_slice(&[0, 12, 0, 1]);
    out
}

fn a_question(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    labels(name, &mut out);
    out.extend_from_slice(&[0, 1, 0, 1]);
    out
}

fn ptr_answer(name: &str) -> Vec<u8> {
    let mut rdata = Vec::new();
    labels(name, &mut rdata);
    let mut out = vec![0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60];
    out.extend_from_slice(&u16::try_from(rdata.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&rdata);
    out
}

fn a_answer(ip: Ipv4Addr) -> Vec<u8> {
    let mut out = vec![0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    out.extend_from_slice(&ip.octets());
    out
}
