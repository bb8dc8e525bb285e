//! Queries: compared one to one with a packet capture, and with the nameserver's own log.

use std::{collections::BTreeMap, process::Command};

use wrapwatch::model::{LookupKind, LookupOutcome, QueryOutcome};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig, Link},
    nameserver::{Rcode, Reply, Rule},
    watch::{Seen, Watch},
};

use crate::support::{CLOCK_SLACK_NS, MS, NS1, NS2, ktime, lab_with, peer, queries, two_servers};

/// A DNS query as tshark reads it or wrapwatch attributes it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    server: String,
    id: u16,
    name: String,
    qtype: String,
}

/// The queries in a capture, in the order they passed.
fn captured(path: &std::path::Path) -> Vec<Asked> {
    let out = Command::new("tshark")
        .args(["-r"])
        .arg(path)
        .args(["-Y", "dns.flags.response == 0", "-T", "fields", "-E", "separator=,"])
        .args(["-e", "ip.dst", "-e", "dns.id", "-e", "dns.qry.name", "-e", "dns.qry.type"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let qtype = match fields[3] {
                "1" => "A",
                "12" => "PTR",
                "28" => "AAAA",
                other => other,
            };
            Asked {
                server: format!("{}:53", fields[0]),
                id: u16::from_str_radix(fields[1].trim_start_matches("0x"), 16).unwrap(),
                name: fields[2].to_owned(),
                qtype: qtype.to_owned(),
            }
        })
        .collect()
}

/// The queries that wrapwatch attributes to connections, in the order they were sent.
fn attributed(seen: &Seen) -> Vec<Asked> {
    let mut all = BTreeMap::new();
    for connection in seen.connections() {
        let accepted = ktime(connection.accepted);
        for query in queries(connection) {
            let asked = Asked {
                server: query.server.to_string(),
                id: query.id.unwrap(),
                name: query.qname.clone().unwrap(),
                qtype: query.qtype.clone().unwrap().into_owned(),
            };
            assert!(all.insert(accepted + query.at_ns, asked).is_none(), "two queries at one time");
        }
    }
    all.into_values().collect()
}

#[test]
fn queries_match_the_capture_one_to_one() {
    let lab = lab_with(two_servers());
    // Some of everything: answers, errors, silence from the first server, a wrong id before the right answer.
    lab.rules([
        Rule::silent().at(NS1).name("3.0.2.10.in-addr.arpa"),
        Rule::replies([Reply::rcode(Rcode::NXDomain)]).name("4.0.2.10.in-addr.arpa"),
        Rule::replies([Reply::rcode(Rcode::ServFail)]).at(NS1).name("5.0.2.10.in-addr.arpa"),
        Rule::replies([Reply::after(20), Reply::after(40)]).name("6.0.2.10.in-addr.arpa"),
    ])
    .unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    lab.start_capture(Link::Dns).unwrap();
    let _clients = lab.clients(ClientsSpec { count: 30, concurrency: 6, ..ClientsSpec::default() }).unwrap();
    let capture = lab.stop_capture(Link::Dns).unwrap();
    let seen = watch.stop().unwrap();
    let (expected, found) = (captured(&capture.path), attributed(&seen));
    assert!(expected.len() >= 60, "{}", expected.len());
    assert_eq!(found, expected);
}

#[test]
fn the_nameservers_own_hold_time_lies_inside_the_round_trip() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    lab.rules([Rule::delay(40).qtype("PTR"), Rule::delay(15).qtype("A")]).unwrap();
    lab.take_dns_log().unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let clients = lab.clients(ClientsSpec { count: 8, concurrency: 4, ..ClientsSpec::default() }).unwrap();
    let log = lab.take_dns_log().unwrap();
    let seen = watch.stop().unwrap();
    let mut compared = 0;
    for client in &clients {
        let connection = seen.of(&peer(client)).unwrap();
        let accepted = ktime(connection.accepted);
        for query in queries(connection) {
            let held = log
                .iter()
                .find(|entry| Some(entry.id) == query.id && Some(&entry.qname) == query.qname.as_ref())
                .unwrap();
            let sent = accepted + query.at_ns;
            let answered = sent + query.rtt_ns.unwrap();
            assert!(sent <= held.received_ns + CLOCK_SLACK_NS, "sent {sent}, received {}", held.received_ns);
            assert!(held.replied_ns.unwrap() <= answered + CLOCK_SLACK_NS);
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * clients.len());
}

#[test]
fn a_dead_first_nameserver_is_a_timeout_and_then_an_answer() {
    let lab = lab_with(two_servers());
    lab.rules([Rule::silent().at(NS1)]).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let client = lab.client().unwrap();
    let seen = watch.stop().unwrap();
    let connection = seen.of(&peer(&client)).unwrap();
    let kinds: Vec<LookupKind> = connection.lookups.iter().map(|lookup| lookup.kind).collect();
    assert_eq!(kinds, [LookupKind::Reverse, LookupKind::Forward]);
    for lookup in &connection.lookups {
        assert_eq!(lookup.outcome, LookupOutcome::Found);
        let told: Vec<(&str, QueryOutcome)> =
            lookup.queries.iter().map(|query| (&*query.server, query.outcome)).collect();
        assert_eq!(
            told,
            [
                (format!("{NS1}:53").as_str(), QueryOutcome::Timeout),
                (format!("{NS2}:53").as_str(), QueryOutcome::Answered)
            ]
        );
        // resolv.conf says one second; the lab adds nothing.
        assert!(lookup.queries[0].rtt_ns.unwrap() >= 1000 * MS);
    }
    assert_eq!(connection.parts.total(), connection.wrapper_ns);
    assert!(connection.parts.dns_ns >= 1_900 * MS, "{connection:#?}");
    let dead =
        seen.summary().unwrap().nameservers.iter().find(|ns| ns.server == format!("{NS1}:53")).unwrap();
    assert_eq!((dead.queries, dead.timeouts, dead.answered), (2, 2, 0));
}

#[test]
fn a_closed_port_is_unreachable_not_silent() {
    let lab = lab_with(two_servers());
    lab.dns(wrapwatch_tests::nameserver::Settings { closed: Some(vec![NS1]), ..Default::default() }).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let client = lab.client().unwrap();
    let seen = watch.stop().unwrap();
    let connection = seen.of(&peer(&client)).unwrap();
    let outcomes: Vec<QueryOutcome> = queries(connection).map(|query| query.outcome).collect();
    let (answered, unreachable) = (QueryOutcome::Answered, QueryOutcome::Unreachable);
    assert_eq!(outcomes, [unreachable, answered, unreachable, answered]);
}

#[test]
fn the_rule_that_asked_is_named_with_its_text() {
    let mut files = wrapwatch_tests::lab::Files::tables(
        "# first line\nmysqld mariadbd: 192.168.\nALL: .nowhere.example\nALL: 10.2.\n",
        "ALL: ALL\n",
    );
    files.resolv = Some(format!("nameserver {NS1}\n"));
    let lab = lab_with(files);
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let client = lab.client().unwrap();
    let seen = watch.stop().unwrap();
    let connection = seen.of(&peer(&client)).unwrap();
    let rule = connection.rule.as_ref().unwrap();
    assert_eq!((&*rule.file, rule.line), ("/etc/hosts.allow", 3));
    assert_eq!(rule.text.as_deref(), Some("ALL: .nowhere.example"));
    let verdict = connection.verdict_rule.as_ref().unwrap();
    assert_eq!((&*verdict.file, verdict.line), ("/etc/hosts.allow", 4));
}
