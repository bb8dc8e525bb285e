//! A copy, correlated, tells what the original tells.

use std::collections::HashMap;

use serde_json::Value;

use wrapwatch_common::records::Class;

use super::*;
use crate::correlate::tests::sim::{GREETING, MS, NETNS, SEC, Sim, TGID, Thread, addr, answer, query};
use crate::correlate::{Config, Correlator, TargetInfo};
use crate::decode::{decode, dns};
use crate::model::{Connection, FindingId, Severity};
use crate::replay::{TraceReport, Wanted};

fn connections(trace: &[u8]) -> Vec<Connection> {
    let mut reader = Reader::new(trace);
    let Some(Input::Head(head)) = reader.next_input().unwrap() else { panic!("no head") };
    let sees_handshakes = !head.degradations.iter().any(|d| d.kind == DegradationKind::NoQueueTime);
    let mut correlator = Correlator::new(Config { sees_handshakes, ..Config::new(head.clock) });
    correlator.add_target(head.targets[0].pid, TargetInfo::default());
    let mut out = Vec::new();
    let mut last = KtimeNs(0);
    while let Some(item) = reader.next_input().unwrap() {
        let Input::Record(record) = item else { continue };
        let event = decode(record).unwrap();
        last = KtimeNs(event.header().ts_ns.max(last.0));
        correlator.push(&event);
        out.extend(std::iter::from_fn(|| correlator.pop().map(|told| *told)));
    }
    correlator.finish(last);
    out.extend(std::iter::from_fn(|| correlator.pop().map(|told| *told)));
    out
}

/// Gives every address and name the number of its first appearance, so that two stories about different names can be compared.
fn anonymous(value: &mut Value, key: &str, seen: &mut HashMap<String, usize>) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| anonymous(value, key, seen)),
        Value::Array(values) => values.iter_mut().for_each(|value| anonymous(value, key, seen)),
        Value::String(text)
            if ["peer", "local", "server", "name", "qname", "answers", "what"].contains(&key) =>
        {
            // Ports stay, and are compared.
            let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
            let next = seen.len();
            let number = *seen.entry(host.to_owned()).or_insert(next);
            *text = format!("{number}:{port}");
        }
        _ => {}
    }
}

fn story(trace: &[u8]) -> Vec<Value> {
    let mut seen = HashMap::new();
    connections(trace)
        .iter()
        .map(|connection| {
            let mut value = serde_json::to_value(connection).unwrap();
            anonymous(&mut value, "", &mut seen);
            value
        })
        .collect()
}

#[test]
fn the_copy_tells_the_same_story() {
    let mut traces: Vec<Vec<u8>> = CAPTURES.iter().map(|log| capture(log)).collect();
    traces.push(rich());
    for (trace, connections) in traces.iter().zip([3, 3, 3, 20, 20]) {
        let (copy, _) = redacted(trace, key());
        let (before, after) = (story(trace), story(&copy));
        assert_eq!(before.len(), connections);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
        assert_eq!(before.len(), after.len());
        let text = serde_json::to_string(&before).unwrap();
        assert!(text.contains("\"reverse\"") && text.contains("\"PTR\""), "lookups are part of it");
    }
}

/// Clients of these addresses, none of which has a PTR record.
fn nameless(clients: &[&str]) -> Vec<u8> {
    let mut sim = Sim::default();
    let mut th = Thread { tid: TGID, conn: 0, t: 10 * SEC };
    for (conn, client) in (1..).zip(clients) {
        let client = addr(&format!("{client}:40000"));
        th.t += MS;
        sim.established(th.t - MS / 2, 0x1000 + conn, client);
        sim.accept(&mut th, conn, 31, Some(client));
        sim.open(&mut th, "/etc/hosts.allow", 33);
        sim.read(&mut th, 33, 161);
        let IpAddr::V4(ip) = client.ip() else { panic!("{client}") };
        let [a, b, c, d] = ip.octets();
        let asked = query(7, &format!("{d}.{c}.{b}.{a}.in-addr.arpa"), dns::PTR);
        sim.connect(&mut th, 34, addr("10.77.53.1:53"), Class::Dns, false, 0, 10_000);
        sim.send(&mut th, 34, &asked);
        th.t += MS;
        sim.recv(&mut th, 34, &answer(&asked, 3, None));
        sim.close(&mut th, 34, Class::Dns);
        sim.close(&mut th, 33, Class::File);
        let mut own = Thread { tid: 200, conn, t: th.t + MS / 10 };
        sim.peer(&mut own, 31, 0);
        sim.first_packet(&mut own, 31, GREETING);
        th.t = own.t;
    }
    let target = Target { pid: TGID, netns: Some(NETNS.into()), ..Target::default() };
    let clock = ClockPair { ktime: KtimeNs(1_000), wall_ns: 1_795_326_189_000_000_000 };
    let mut w = offline(&Head { clock, targets: vec![target], ..Head::default() });
    sim.records().iter().for_each(|record| w.record(&record.bytes).unwrap());
    end(w, "enough")
}

#[test]
fn a_report_judges_the_copy_as_it_judges_the_original() {
    let own = ["10.1.2.3", "172.20.0.9", "192.168.4.4", "100.99.0.1", "169.254.7.7"];
    let strangers = ["203.0.113.7", "11.0.0.1", "172.32.1.1", "192.169.4.4"];
    let trace = nameless(&[&own[..], &strangers[..]].concat());
    let judged = |trace: &[u8]| {
        let whole = TraceReport::read(trace, &Wanted { slowest: 20, ..Wanted::default() }, |_| {}).unwrap();
        let findings = whole.report.findings.iter();
        findings
            .map(|f| (f.id, f.severity, f.evidence.connections.clone(), f.evidence.count))
            .collect::<Vec<_>>()
    };
    let before = judged(&trace);
    let missing: Vec<_> =
        before.iter().filter(|f| f.0 == FindingId::PtrMissing).map(|f| (f.1, f.3)).collect();
    assert_eq!(missing, [(Severity::Warning, own.len() as u64), (Severity::Info, strangers.len() as u64)]);
    for seed in 0..20 {
        let (copy, _) = redacted(&trace, Key::new([seed; 16]));
        assert_eq!(judged(&copy), before);
    }
}
