//! Connections from synthetic events: one test for each way a check can go.

mod doubts;
pub(crate) mod families;
mod props;
mod requests;
pub(crate) mod scenes;
pub(crate) mod sim;
mod stories;
mod ways;

use std::collections::BTreeMap;

use wrapwatch_common::records::Class;

use crate::decode::{Event, decode, dns};
use crate::model::{
    ClockPair, Connection, KtimeNs, LookupKind, LookupOutcome, Missing, Outcome, QueryOutcome, ThreadRole,
    Transport,
};

use super::{Config, Correlator, Listener, TableText, TargetInfo};
use sim::{GREETING, LISTENER, MS, NETNS, Rec, SEC, Sim, TGID, Thread, addr, answer, query};

pub(crate) const ALLOW: &str = "/etc/hosts.allow";
pub(crate) const DENY: &str = "/etc/hosts.deny";
pub(crate) const NS1: &str = "10.77.53.1:53";
pub(crate) const NS2: &str = "10.77.53.2:53";
const PTR_NAME: &str = "1.0.77.10.in-addr.arpa";

pub(crate) fn clock() -> ClockPair {
    // 2026-11-22T05:43:09Z at 0.
    ClockPair { ktime: KtimeNs(0), wall_ns: 1_795_326_189_000_000_000 }
}

pub(crate) fn correlator() -> Correlator {
    let mut correlator = Correlator::new(Config::new(clock()));
    let listeners = BTreeMap::from([(LISTENER, Listener::Tcp(addr("0.0.0.0:3306")))]);
    let daemon = Some("mysqld".to_owned());
    correlator.add_target(TGID, TargetInfo { netns: NETNS, listeners, daemon, ..TargetInfo::default() });
    correlator.set_table_text(
        TGID,
        ALLOW,
        Some(TableText::new("# rules\nmysqld: .corp.example\nALL: localhost\nmysqld: 10.77.\n")),
        KtimeNs(0),
    );
    correlator.set_table_text(TGID, DENY, Some(TableText::new("ALL: ALL\n")), KtimeNs(0));
    correlator
}

pub(crate) fn run_with(correlator: &mut Correlator, records: &[Rec]) -> Vec<Connection> {
    let mut told = Vec::new();
    for record in records {
        correlator.push(&decode(&record.bytes).unwrap());
        while let Some(connection) = correlator.pop().map(|told| *told) {
            told.push(connection);
        }
    }
    let end = records.iter().map(|record| record.ts).max().unwrap_or(0);
    correlator.finish(KtimeNs(end));
    while let Some(connection) = correlator.pop().map(|told| *told) {
        told.push(connection);
    }
    told
}

pub(crate) fn run(sim: Sim) -> Vec<Connection> {
    run_with(&mut correlator(), &sim.records())
}

fn one(sim: Sim) -> Connection {
    let mut told = run(sim);
    assert_eq!(told.len(), 1);
    told.remove(0)
}

pub(crate) fn main_thread() -> Thread {
    Thread { tid: TGID, conn: 0, t: 10 * SEC }
}

/// Established 1 ms ago, accepted, hosts.allow open and read.
fn begin(sim: &mut Sim, th: &mut Thread, conn: u64) {
    let client = addr("10.77.0.1:36061");
    sim.established(th.t - MS, 0x1000 + conn, client);
    sim.accept(th, conn, 31, Some(client));
    th.t += 20_000;
    sim.open(th, ALLOW, 33);
    sim.read(th, 33, 161);
}

fn hosts(sim: &mut Sim, th: &mut Thread) {
    sim.open(th, "/etc/hosts", 34);
    sim.read(th, 34, 37);
    sim.read(th, 34, 0);
    sim.close(th, 34, Class::File);
}

/// hosts.allow closes; the connection thread greets.
fn admit(sim: &mut Sim, th: &mut Thread) {
    sim.close(th, 33, Class::File);
    greet(sim, th);
}

fn greet(sim: &mut Sim, th: &mut Thread) {
    let mut other = Thread { tid: 200, conn: th.conn, t: th.t + 100_000 };
    sim.peer(&mut other, 31, 0);
    other.t += 50_000;
    sim.first_packet(&mut other, 31, GREETING);
    th.t = other.t;
}

/// The capture with a silent first nameserver, as far as its records go.
fn silent_first_server(sim: &mut Sim, th: &mut Thread) {
    hosts(sim, th);
    let asked = query(0x74ce, PTR_NAME, dns::PTR);
    sim.rule(th, ALLOW, 2);
    sim.connect(th, 34, addr(NS1), Class::Dns, false, 0, 12_000);
    sim.send(th, 34, &asked);
    th.t += 1_001 * MS;
    sim.connect(th, 35, addr(NS2), Class::Dns, false, 0, 20_000);
    sim.send(th, 35, &asked);
    th.t += MS;
    sim.recv(th, 35, &answer(&asked, 0, Some("c1.lan.example")));
    sim.close(th, 34, Class::Dns);
    sim.close(th, 35, Class::Dns);
}

#[test]
fn first_server_silent_second_answers() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    silent_first_server(&mut sim, &mut th);
    sim.rule(&mut th, ALLOW, 4);
    admit(&mut sim, &mut th);
    let told = one(sim);

    assert_eq!(told.missing, []);
    assert!(told.complete);
    assert_eq!((told.outcome, told.peer), (Outcome::Greeted, "10.77.0.1:36061".parse().ok()));
    assert_eq!((told.local, told.queued_ns), ("10.77.0.2:3306".parse().ok(), Some(MS)));
    assert_eq!(told.parts.total(), told.wrapper_ns);
    let [lookup] = told.lookups.as_slice() else { panic!("{:?}", told.lookups) };
    assert_eq!((lookup.kind, lookup.name.as_deref()), (LookupKind::Reverse, Some(PTR_NAME)));
    assert_eq!((lookup.thread, lookup.outcome), (ThreadRole::Accept, LookupOutcome::Found));
    let [first, second] = lookup.queries.as_slice() else { panic!("{:?}", lookup.queries) };
    assert_eq!((&*first.server, first.outcome, first.id), (NS1, QueryOutcome::Timeout, Some(0x74ce)));
    assert!((1_000 * MS..1_002 * MS).contains(&first.rtt_ns.unwrap()));
    assert_eq!((&*second.server, second.outcome), (NS2, QueryOutcome::Answered));
    assert_eq!((second.rtt_ns, second.rcode.as_deref()), (Some(MS + 2_000), Some("NOERROR")));
    assert_eq!(
        (second.answers.as_slice(), second.transport),
        (["c1.lan.example".to_owned()].as_slice(), Transport::Udp)
    );
    assert!((1_002 * MS..1_003 * MS).contains(&told.parts.dns_ns), "{}", told.parts.dns_ns);

    let rule = told.rule.unwrap();
    assert_eq!((&*rule.file, rule.line, rule.text.as_deref()), (ALLOW, 2, Some("mysqld: .corp.example")));
    assert_eq!(told.verdict_rule.unwrap().line, 4);
    let paths: Vec<_> = told.files.iter().map(|file| (&*file.path, file.reads)).collect();
    assert_eq!(paths, [(ALLOW, 1), ("/etc/hosts", 2)]);
}

#[test]
fn refused_by_hosts_deny() {
    let mut sim = Sim::default();
    let mut th = main_thread();
    begin(&mut sim, &mut th, 1);
    sim.read(&mut th, 33, 0);
    sim.rule(&mut th, ALLOW, 4);
    sim.close(&mut th, 33, Class::File);
    sim.open(&mut th, DENY, 33);
    sim.read(&mut th, 33, 9);
    sim.rule(&mut th, DENY, 1);
    sim.close(&mut th, 33, Class::File);
    sim.connect_unix(&mut th, 33, "/dev/log", 0, 10_000);
    sim.io(&mut th, 33, Class::Unix, 2, 80, 5 * MS);
    sim.shutdown(&mut th, 31);
    sim.close(&mut th, 31, Class::Accepted);
    let told = one(sim);
    assert_eq!((told.outcome, told.complete), (Outcome::Refused, true));
    assert_eq!((told.verdict_rule.unwrap().text.as_deref(), told.rule), (Some("ALL: ALL"), None));
    assert_eq!((told.parts.syslog_ns, told.parts.dns_ns), (5 * MS + 10_000, 0));
    assert_eq!((told.greeting_ns, told.handover_ns), (None, None));
    assert!(told.total_ns.unwrap() >= told.wrapper_ns);
}

#[test]
fn garbage_events_have_no_connection() {
    let mut correlator = correlator();
    assert_eq!(run_with(&mut correlator, &[]), []);
    let mut sim = Sim::default();
    let mut th = Thread { conn: 7, ..main_thread() };
    sim.close(&mut th, 3, Class::File);
    let record = sim.records().remove(0);
    let event = decode(&record.bytes).unwrap();
    assert!(matches!(event, Event::Close(_)));
    correlator.push(&event);
    assert_eq!(correlator.stats().strays, 1);
}
