//! With `--no-uprobes` the same connections, queries and outcomes: two wrapwatch beside one server.

use wrapwatch::model::Connection;
use wrapwatch_tests::{
    clients::{ClientsSpec, LeaveBy, Mode},
    lab::{Files, Lab, LabConfig},
    nameserver::{Rcode, Reply, Rule},
    watch::{Seen, Watch},
};

use crate::stage::{resolv, words};
use crate::support::peer;

/// What must not depend on uprobes.
fn essence(connection: &Connection) -> String {
    let lookups: Vec<String> = connection
        .lookups
        .iter()
        .map(|l| format!("{:?} {:?} {:?} {:?}: {:?}", l.kind, l.name, l.thread, l.outcome, words(&l.queries)))
        .collect();
    let rules = [&connection.rule, &connection.verdict_rule]
        .map(|rule| rule.as_ref().map(|rule| (&rule.file, rule.line, rule.how)));
    let files: Vec<_> = connection.files.iter().map(|file| (&file.path, file.reads, file.bytes)).collect();
    format!(
        "{:?} {:?} {:?} {:?} {lookups:#?} {rules:?} {files:?} {:?}",
        connection.outcome,
        connection.error_code,
        connection.client_left.map(|left| left.how),
        connection.complete,
        connection.missing,
    )
}

#[test]
fn the_same_connections_queries_and_outcomes() {
    let lab =
        Lab::start(LabConfig { files: resolv(&["10.1.1.53", "10.1.1.54"], ""), ..LabConfig::default() })
            .unwrap();
    let pid = lab.server_pid().unwrap().to_string();
    let with = Watch::live(["-p", &pid]).unwrap();
    let without = Watch::live(["-p", &pid, "--no-uprobes"]).unwrap();
    lab.rules([
        Rule::silent().name("2.0.2.10.in-addr.arpa").times(1),
        Rule::replies([Reply::rcode(Rcode::NXDomain)]).name("3.0.2.10.in-addr.arpa"),
        Rule::replies([Reply::rcode(Rcode::ServFail)]).name("4.0.2.10.in-addr.arpa"),
        Rule::replies([Reply::truncated()]).name("5.0.2.10.in-addr.arpa"),
        Rule::delay(300).name("6.0.2.10.in-addr.arpa"),
    ])
    .unwrap();
    let mut clients = lab.clients(ClientsSpec { concurrency: 3, ..ClientsSpec::one_by_one(12) }).unwrap();
    let mode = Mode::GiveUp { after_ms: 100, by: LeaveBy::Rst };
    lab.rules([Rule::delay(300).qtype("PTR")]).unwrap();
    clients.extend(lab.clients(ClientsSpec { mode, ..ClientsSpec::default() }).unwrap());
    lab.rules([]).unwrap();
    for (allow, deny) in [
        ("ALL: ALL: spawn (sleep 0.2)\n", ""),
        ("", "ALL: ALL: spawn (sleep 0.1)\n"),
        ("ALL: ALL: rfc931 1: allow\n", ""),
        ("ALL: 10.\n", "ALL: ALL\n"),
        ("", ""),
    ] {
        lab.files(Files::tables(allow, deny)).unwrap();
        clients.extend(lab.clients(ClientsSpec::one_by_one(2)).unwrap());
    }
    let (with, without) = (with.stop().unwrap(), without.stop().unwrap());
    for client in &clients {
        let of = |seen: &Seen| seen.of(&peer(client)).unwrap().clone();
        let (a, b) = (of(&with), of(&without));
        assert_eq!(essence(&a), essence(&b));
    }
    assert_eq!(with.connections().len(), clients.len());
    assert!(
        without.stderr.contains("uprobe") || !without.degradations().is_empty(),
        "it says which of the two it is"
    );
}
