//! Workers that were made before the log: each has descriptors of its own, with the same numbers.

use super::acquittal::{PREFORK, report};
use super::*;
use crate::model::{Missing, Outcome, VerdictKind};

/// The log without the lines that contain this.
fn without(what: &[&str]) -> String {
    let kept = PREFORK.lines().filter(|line| !what.iter().any(|what| line.contains(what)));
    kept.collect::<Vec<_>>().join("\n")
}

/// The address' last number, the tenths of a second in which its name was looked up, and how it ended.
fn told(log: &str) -> Vec<(u8, u64, Outcome)> {
    let report = report(log).unwrap().report;
    assert_eq!(report.summary.verdict_kind, VerdictKind::Wrappers, "{}", report.summary.verdict);
    let mut told = Vec::new();
    for connection in &report.connections {
        assert!(connection.complete, "{connection:#?}");
        let ip = connection.peer.unwrap().ip().unwrap().to_string();
        let last = ip.rsplit('.').next().unwrap();
        let names = connection.lookups.iter().filter_map(|lookup| lookup.name.as_deref());
        let own = [format!("{last}.0.77.10.in-addr.arpa"), format!("c{last}.lan.example")];
        assert!(names.clone().count() > 1 && names.clone().all(|name| own.iter().any(|own| own == name)));
        told.push((last.parse().unwrap(), connection.parts.dns_ns / 100_000_000, connection.outcome));
    }
    told.sort_unstable_by_key(|told| told.0);
    told
}

#[test]
fn each_waits_for_its_own_names_whichever_numbers_their_descriptors_have() {
    // Three at once, three times; their names take 0.3, 0.5 and 0.8 s.
    let wanted = [11, 12, 13, 21, 22, 23, 31, 32, 33]
        .map(|client| (client, [3, 5, 8][usize::from(client % 10) - 1], Outcome::Greeted));
    assert_eq!(told(PREFORK), wanted);
    // That two were given the same number says it as well as their own `getpid`.
    assert_eq!(told(&without(&["getpid()"])), wanted);
}

#[test]
fn a_log_for_each_worker_says_the_same() {
    let mut logs = BTreeMap::<u32, String>::new();
    for line in without(&["getpid()"]).lines() {
        let (tid, rest) = line.split_once(' ').unwrap();
        let _ = writeln!(logs.entry(tid.parse().unwrap()).or_default(), "{rest}");
    }
    let logs: Vec<_> = logs.iter().map(|(tid, text)| (Some(*tid), text.as_str())).collect();
    assert_eq!(logs.len(), 3);
    let shape = |got: &Imported| {
        let mut accepts: Vec<_> = got
            .events()
            .iter()
            .filter_map(|event| match event {
                Record::AcceptSocket(rec) => Some((rec.hdr.ts_ns, rec.process, rec.fd)),
                _ => None,
            })
            .collect();
        accepts.sort_unstable();
        accepts
    };
    let several = import_logs(&logs, Dates::default());
    assert_eq!(shape(&several), shape(&import(PREFORK)));
    assert_eq!(shape(&several).len(), 9);
}

#[test]
fn where_too_little_says_whose_descriptors_they_are_nobody_is_acquitted() {
    // Of what it closes nothing is traced, and no thread says who it is.
    let report = report(&without(&["getpid()", "close("])).unwrap().report;
    assert!(
        matches!(report.summary.verdict_kind, VerdictKind::CannotTell | VerdictKind::Wrappers),
        "{}",
        report.summary.verdict
    );
    // As many numbers are given twice as are used by others: a number that a worker was given is another's in some lines.
    let mut crossed = String::new();
    for line in without(&["getpid()"]).lines() {
        let uses = line.contains("write(4, ") || line.contains("sendto(6, ") || line.contains("recvfrom(6, ");
        let swapped = if uses { line.replacen("14327 ", "14399 ", 1) } else { line.to_owned() };
        let _ = writeln!(crossed, "{swapped}");
    }
    let got = import(&crossed);
    let degradations = &got.head.as_ref().unwrap().degradations;
    let unsure = degradations.iter().find(|said| said.kind == DegradationKind::NotFollowed);
    assert!(unsure.is_some_and(|said| said.message.contains("share descriptors")), "{degradations:#?}");
    let report = super::acquittal::report(&crossed).unwrap().report;
    assert!(report.connections.iter().all(|told| told.missing.contains(&Missing::NotFollowed)));
}
