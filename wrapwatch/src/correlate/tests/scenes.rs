//! Longer scenes, for renderers and the verdict.

use wrapwatch_common::records::{OP_WRITE, WHAT_HOSTS_ACCESS};

use super::sim::TOO_MANY;
use super::*;

/// A client's address and the name of its PTR.
fn client(n: u64) -> (std::net::SocketAddr, String) {
    (addr(&format!("10.77.0.{n}:{}", 36_000 + n)), format!("{n}.0.77.10.in-addr.arpa"))
}

/// Accepted as soon as the thread is free; hosts.allow read as far as the first lookup.
pub(crate) fn arrive(sim: &mut Sim, th: &mut Thread, n: u64, established: u64) {
    let (peer, _) = client(n);
    sim.established(established, 0x1000 + n, peer);
    th.t = th.t.max(established) + 20_000;
    sim.accept(th, n, 100 + i32::try_from(n).unwrap(), Some(peer));
    th.t += 15_000;
    sim.check(th, WHAT_HOSTS_ACCESS, 0, 0);
    sim.open(th, ALLOW, 33);
    sim.read(th, 33, 161);
}

/// PTR and A, each `wait_ns` after its sending; with `dead`, after the first nameserver's second.
pub(crate) fn resolve(sim: &mut Sim, th: &mut Thread, n: u64, dead: bool, wait_ns: u64) {
    let (peer, ptr) = client(n);
    let name = format!("c{n}.lan.example");
    let ip = peer.ip().to_string();
    for (k, name, qtype, data) in [(0, &ptr, dns::PTR, &name), (1, &name, dns::A, &ip)] {
        hosts(sim, th);
        let asked = query(u16::try_from(n).unwrap() * 2 + k, name, qtype);
        if k == 0 {
            sim.rule(th, ALLOW, 2);
        }
        if dead {
            sim.connect(th, 34, addr(NS1), Class::Dns, false, 0, 12_000);
            sim.send(th, 34, &asked);
            th.t += 1_001 * MS;
        }
        let (fd, server) = if dead { (35, NS2) } else { (34, NS1) };
        sim.connect(th, fd, addr(server), Class::Dns, false, 0, 12_000);
        sim.send(th, fd, &asked);
        th.t += wait_ns;
        sim.recv(th, fd, &answer(&asked, 0, Some(data)));
        if dead {
            sim.close(th, 34, Class::Dns);
        }
        sim.close(th, fd, Class::Dns);
    }
}

pub(crate) fn admit(sim: &mut Sim, th: &mut Thread, packet: [u8; 7]) {
    sim.rule(th, ALLOW, 4);
    sim.close(th, 33, Class::File);
    sim.check(th, WHAT_HOSTS_ACCESS, 1, 1);
    let fd = 100 + i32::try_from(th.conn).unwrap();
    let mut own = Thread { tid: 1000 + u32::try_from(th.conn).unwrap(), conn: th.conn, t: th.t + 80_000 };
    sim.peer(&mut own, fd, 0);
    own.t += 40_000;
    sim.first_packet(&mut own, fd, packet);
}

pub(crate) fn refuse(sim: &mut Sim, th: &mut Thread) {
    sim.read(th, 33, 0);
    sim.rule(th, ALLOW, 4);
    sim.close(th, 33, Class::File);
    sim.open(th, DENY, 33);
    sim.read(th, 33, 9);
    sim.rule(th, DENY, 1);
    sim.close(th, 33, Class::File);
    sim.check(th, WHAT_HOSTS_ACCESS, 1, 0);
    sim.io(th, 12, Class::Unix, OP_WRITE, 80, 30_000);
    let fd = 100 + i32::try_from(th.conn).unwrap();
    sim.shutdown(th, fd);
    sim.close(th, fd, Class::Accepted);
}

/// One client is fast; two come at once and meet a dead first nameserver.
pub(crate) fn dead_first_server() -> Vec<Rec> {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let start = th.t;
    arrive(&mut sim, &mut th, 1, start);
    resolve(&mut sim, &mut th, 1, false, 180_000);
    admit(&mut sim, &mut th, GREETING);
    for n in [2, 3] {
        arrive(&mut sim, &mut th, n, start + 2 * MS + n * 1_000);
        resolve(&mut sim, &mut th, n, true, 700_000);
        admit(&mut sim, &mut th, GREETING);
    }
    sim.records()
}

/// One is refused, one gets an error, one left meanwhile.
pub(crate) fn turned_away() -> Vec<Rec> {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let start = th.t;
    arrive(&mut sim, &mut th, 1, start);
    resolve(&mut sim, &mut th, 1, false, 3 * MS);
    refuse(&mut sim, &mut th);
    arrive(&mut sim, &mut th, 2, start + 20 * MS);
    resolve(&mut sim, &mut th, 2, false, MS);
    admit(&mut sim, &mut th, TOO_MANY);
    let (peer, _) = client(3);
    sim.state(start + 300 * MS, 0x1003, peer, (1, 8), NETNS);
    arrive(&mut sim, &mut th, 3, start + 40 * MS);
    resolve(&mut sim, &mut th, 3, false, 300 * MS);
    admit(&mut sim, &mut th, GREETING);
    sim.records()
}

/// A client that a pool's thread takes over when it is free, and looks up itself.
pub(crate) fn pooled(sim: &mut Sim, worker: &mut Thread, n: u64, wait_ns: u64) {
    worker.conn = n;
    worker.t += 50_000;
    let fd = 100 + i32::try_from(n).unwrap();
    sim.peer(worker, fd, 0);
    resolve(sim, worker, n, false, wait_ns);
    sim.first_packet(worker, fd, GREETING);
}

/// Ten clients at once, accepted at once, served by so many threads.
pub(crate) fn in_a_pool(threads: u32, wait_ns: u64) -> Vec<Rec> {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let mut workers: Vec<Thread> = (1..=threads).map(|n| Thread { tid: TGID + n, ..th }).collect();
    for n in 1..=10 {
        let peer = client(n).0;
        sim.established(th.t, n, peer);
        sim.accept(&mut th, n, 100 + i32::try_from(n).unwrap(), Some(peer));
        let worker = workers.iter_mut().min_by_key(|worker| worker.t).unwrap();
        worker.t = worker.t.max(th.t);
        pooled(&mut sim, worker, n, wait_ns);
    }
    sim.records()
}

/// Ten clients at once at a listener on which so many workers accept, as they are free. They were made before the trace: no record tells of it. `serve` is what
/// one does for a client before its first byte.
pub(crate) fn pre_forked(workers: u32, serve: impl Fn(&mut Sim, &mut Thread)) -> Vec<Rec> {
    let mut sim = Sim::default();
    let start = main_thread().t;
    let mut workers: Vec<Thread> =
        (1..=workers).map(|n| Thread { tid: WORKER + n, ..main_thread() }).collect();
    for n in 1..=10 {
        let (peer, sk) = (client(n).0, 0x1000 + n);
        sim.established(start + n * 10_000, sk, peer);
        let worker = workers.iter_mut().min_by_key(|worker| worker.t).unwrap();
        worker.t = worker.t.max(start + n * 10_000) + 20_000;
        sim.accept_in_worker(worker, n, 5, sk, peer);
        serve(&mut sim, worker);
        sim.first_packet(worker, 5, GREETING);
    }
    sim.records()
}

/// Processes from here on are workers that were made before the trace.
pub(crate) const WORKER: u32 = 600;

/// Ten clients at once, accepted at once; threads that were there before, so many, take one after the other and ask libwrap about it.
pub(crate) fn checked_in_a_pool(threads: u32, dns_ns: u64) -> Vec<Rec> {
    let mut sim = Sim::default();
    let mut th = main_thread();
    let mut workers: Vec<Thread> = (1..=threads).map(|n| Thread { tid: TGID + n, ..th }).collect();
    for n in 1..=10 {
        let (peer, sk) = (client(n).0, 0x1000 + n);
        sim.established(th.t, sk, peer);
        th.t += 20_000;
        let fd = 100 + i32::try_from(n).unwrap();
        sim.accept_socket(&mut th, n, fd, sk, peer);
        let worker = workers.iter_mut().min_by_key(|worker| worker.t).unwrap();
        (worker.conn, worker.t) = (n, worker.t.max(th.t) + 50_000);
        sim.peer(worker, fd, 0);
        super::families::checks(&mut sim, worker, "poold", dns_ns, 1);
        sim.first_packet(worker, fd, GREETING);
    }
    sim.records()
}
