//! Imported captures, correlated: each connection is what the log says.

use super::*;
use crate::correlate::{Config, Correlator, TargetInfo};
use crate::model::{Connection, LookupKind, Outcome, QueryOutcome, ThreadRole};

const CAPTURES: [(&str, &str); 4] = [
    (A_FAST, include_str!("../../../../../tests/data/captures/mysqld-5.5.62/a-fast.connections.txt")),
    (C_TIMEOUT, include_str!("../../../../../tests/data/captures/mysqld-5.5.62/c-timeout.connections.txt")),
    (D_DENIED, include_str!("../../../../../tests/data/captures/mysqld-5.5.62/d-denied.connections.txt")),
    (E2, include_str!("../../../../../tests/data/captures/mysqld-5.5.62/e2-20conc-delay300.connections.txt")),
];

fn correlate(log: &str) -> Vec<Connection> {
    let got = import(log);
    let head = got.head.as_ref().unwrap();
    let config = Config { sees_handshakes: false, ..Config::new(head.clock) };
    let mut correlator = Correlator::new(config);
    let target = &head.targets[0];
    correlator.add_target(target.pid, TargetInfo::default());
    let mut connections = Vec::new();
    let mut last = KtimeNs(0);
    for event in got.events() {
        last = KtimeNs(event.header().ts_ns);
        correlator.push(&event);
        connections.extend(std::iter::from_fn(|| correlator.pop().map(|told| *told)));
    }
    correlator.finish(last);
    connections.extend(std::iter::from_fn(|| correlator.pop().map(|told| *told)));
    connections.sort_by_key(|connection| connection.conn);
    connections
}

#[test]
fn wrapper_time_outcome_and_queries_of_each_connection_are_the_logs() {
    for (log, expected) in CAPTURES {
        let connections = correlate(log);
        let lines: Vec<&str> = expected.lines().skip(1).collect();
        assert_eq!(connections.len(), lines.len());
        for (connection, line) in connections.iter().zip(lines) {
            let mut fields = line.split(' ');
            let mut field = || fields.next().unwrap();
            assert_eq!(connection.peer, field().parse().ok());
            let outcome = if field() == "greeted" { Outcome::Greeted } else { Outcome::Refused };
            assert_eq!(connection.outcome, outcome, "{line}");
            let us = |text: &str| text.parse::<u64>().unwrap() * 1_000;
            assert_eq!(connection.wrapper_ns, us(field()), "{line}");
            let greeting = field();
            assert_eq!(connection.greeting_ns, (greeting != "-").then(|| us(greeting)), "{line}");
            let queries: usize = connection.lookups.iter().map(|lookup| lookup.queries.len()).sum();
            assert_eq!(queries.to_string(), field(), "{line}");
            assert!(connection.complete, "{:?}", connection.missing);
            assert!(connection.queued_ns.is_none(), "strace does not show it");
        }
    }
}

#[test]
fn the_dead_nameserver_is_named_and_the_other_one_answers() {
    for connection in correlate(C_TIMEOUT) {
        assert_eq!(connection.lookups.len(), 2);
        for (lookup, kind) in connection.lookups.iter().zip([LookupKind::Reverse, LookupKind::Forward]) {
            assert_eq!((lookup.kind, lookup.thread), (kind, ThreadRole::Accept));
            let outcomes: Vec<_> = lookup.queries.iter().map(|q| (&*q.server, q.outcome)).collect();
            let expected =
                [("10.77.53.1:53", QueryOutcome::Timeout), ("10.77.53.2:53", QueryOutcome::Answered)];
            assert_eq!(outcomes, expected);
        }
        assert!(connection.parts.dns_ns * 100 > connection.wrapper_ns * 99);
    }
}

#[test]
fn the_staircase_is_a_saturated_accept_thread() {
    let connections = correlate(E2);
    let service: u64 = connections.iter().map(|connection| connection.service_ns).sum();
    let first = connections[0].accepted.0;
    let last = connections[19].accepted.0.as_nanosecond() - first.as_nanosecond();
    let dns: u64 = connections.iter().map(|connection| connection.parts.dns_ns).sum();
    // Nineteen checks back to back fill the time from the first accept to the last.
    let busy = service - connections[19].service_ns;
    assert!(i128::from(busy) * 100 > last * 99, "{busy} of {last}");
    assert!(dns * 100 > service * 98, "{dns} of {service}");
}
