//! What `lint --fix` proposes, put to the real libwrap: the named clients get the verdicts that they had, and nobody's name is looked up any more.
//! Whoever was not named, every other daemon, and whoever comes to another address or port of the server, fares as before.

#![expect(clippy::expect_used, reason = "a test fails where it is surprised")]

#[expect(dead_code, reason = "shared with the other tests")]
mod common;
#[path = "common/plain.rs"]
mod plain;
#[expect(dead_code, reason = "shared with the other tests")]
#[path = "common/rng.rs"]
mod rng;

use std::collections::BTreeMap;

use common::{case, end, named, oracle};
use plain::{PATTERNS, table};
use rng::Rng;
use wrapwatch::wrappers::input::{Client, Input};
use wrapwatch::wrappers::rewrite::rewrite;
use wrapwatch::wrappers::{Endpoint, FileText, HostsFile, ResolvConf, Table, Tables, nsswitch};
use wrapwatch_differential::{Answer, Case, Oracle, TableText, What};

/// The named clients.
const CLIENTS: [(&str, &str); 4] = [
    ("10.0.2.14", "db1.example.com"),
    ("10.0.2.15", "web"),
    ("10.9.9.9", "x.bad"),
    ("2001:db8::7", "six.example.com"),
];
/// The server's end that the fix is told of.
const SERVER: (&str, u16) = ("10.0.9.9", 3306);
/// Other ends of it.
const OTHER_ENDS: [(&str, u16); 3] = [("10.0.9.8", 3306), ("10.0.9.9", 3307), ("2001:db8::33", 3306)];
/// Daemon lists, most of which tell the server's ends apart.
const OF_ENDS: [&str; 11] = [
    "mysqld",
    "ALL",
    "mysqld@10.0.9.9",
    "mysqld@10.0.9.8",
    "ALL@10.0.9.",
    "3306",
    "3307",
    "ALL EXCEPT 3307",
    "mysqld EXCEPT mysqld@10.0.9.8",
    "sshd@10.0.9.9",
    "sshd EXCEPT 22",
];
const LIST: &str = "10.0.2.15 x.bad\n[2001:db8:1::]/48\n";

/// New tables, and the clients for whom nothing could be done.
fn fixed(allow: &str, deny: &str) -> ([String; 2], Vec<String>) {
    let tables = Tables { allow: Table::parse(allow.as_bytes()), deny: Table::parse(deny.as_bytes()) };
    let clients: Vec<Client> = CLIENTS
        .iter()
        .map(|(address, name)| Client {
            address: address.parse().expect("an address"),
            name: Some((*name).to_owned()),
        })
        .collect();
    let files = BTreeMap::from([("/list".to_owned(), FileText::Text(LIST.into()))]);
    let fix = rewrite(&Input {
        tables: &tables,
        texts: [allow.as_bytes(), deny.as_bytes()],
        paths: ["/etc/hosts.allow", "/etc/hosts.deny"],
        files: &files,
        daemon: "mysqld",
        server: Endpoint::new(SERVER.0.parse().expect("an address"), SERVER.1),
        conf: &ResolvConf::default(),
        resolv_path: "/etc/resolv.conf",
        services: &nsswitch::hosts(b""),
        netgroup: &nsswitch::netgroup(b""),
        nsswitch_path: "/etc/nsswitch.conf",
        hosts: &HostsFile::parse(b""),
        hosts_path: "/etc/hosts",
        own_domain: None,
        clients: &clients,
    });
    let tables = fix.tables.map(|table| String::from_utf8(table).expect("text"));
    (tables, fix.left_alone.into_iter().map(|(client, _)| client).collect())
}

/// A table that now and then lacks its last newline, as editors leave it.
fn torn(rng: &mut Rng) -> String {
    let mut text = table(rng, "/list");
    if rng.chance(20) {
        text.pop();
    }
    text
}

/// Clients that the fix is not told of, under names that the rules have and others; and other daemons' clients, the named ones included.
fn bystanders(rng: &mut Rng) -> Vec<((&'static str, &'static str), &'static str)> {
    let names = ["db2.example.com", "x.bad", "web", "localhost", "other.example.org", "192.168.example.org"];
    let addresses = ["10.0.2.16", "10.0.3.1", "192.168.7.9", "192.0.2.1", "2001:db8::8", "::1"];
    let stranger = (rng.pick(&addresses), rng.pick(&names));
    let known = CLIENTS[rng.below(CLIENTS.len())];
    vec![(stranger, "mysqld"), (stranger, "sshd"), (known, "sshd"), (known, "vsftpd")]
}

/// libwrap's word on one client.
fn ask(oracle: &mut Oracle, allow: &str, deny: &str, client: (&str, &str)) -> Answer {
    ask_as(oracle, allow, deny, client, "mysqld")
}

fn ask_as(oracle: &mut Oracle, allow: &str, deny: &str, client: (&str, &str), daemon: &str) -> Answer {
    ask_at(oracle, allow, deny, client, daemon, SERVER)
}

fn ask_at(
    oracle: &mut Oracle,
    allow: &str,
    deny: &str,
    (address, name): (&str, &str),
    daemon: &str,
    (at, port): (&str, u16),
) -> Answer {
    let mut case: Case = named(case(allow, deny, address), name);
    case.daemon = daemon.into();
    case.server = Some(end(at, port));
    case.files.push(("/list".to_owned(), LIST.into()));
    (case.allow, case.deny) = (TableText::Text(allow.into()), TableText::Text(deny.into()));
    oracle.ask(&case).expect("libwrap answers")
}

fn looks_up(answer: &Answer) -> bool {
    let lookup = |what| matches!(what, What::Reverse | What::Forward | What::Ident | What::Netgroup);
    answer.events.iter().any(|event| lookup(event.what))
}

#[test]
fn the_same_verdicts_without_lookups() {
    let mut rng = Rng(5);
    let mut pairs: Vec<(String, String)> =
        PATTERNS.iter().map(|pattern| (format!("mysqld: {pattern}\n"), "ALL: ALL\n".to_owned())).collect();
    pairs.extend(PATTERNS.iter().map(|pattern| (String::new(), format!("ALL: {pattern}\n"))));
    pairs.extend((0..300).map(|_| (torn(&mut rng), torn(&mut rng))));
    let mut oracle = oracle();
    let (mut checked, mut relieved, mut alone, mut others) = (0, 0, 0, 0);
    for (allow, deny) in &pairs {
        let ([new_allow, new_deny], left_alone) = fixed(allow, deny);
        for (client, daemon) in bystanders(&mut rng) {
            let before = ask_as(&mut oracle, allow, deny, client, daemon);
            let after = ask_as(&mut oracle, &new_allow, &new_deny, client, daemon);
            assert_eq!(
                after.allowed, before.allowed,
                "{daemon} decides otherwise on {client:?}\n{allow}--\n{deny}\nbecomes\n{new_allow}--\n{new_deny}"
            );
            others += 1;
        }
        for client in CLIENTS {
            let before = ask(&mut oracle, allow, deny, client);
            let after = ask(&mut oracle, &new_allow, &new_deny, client);
            let both = format!("{client:?}\n{allow}--\n{deny}\nbecomes\n{new_allow}--\n{new_deny}");
            assert_eq!(after.allowed, before.allowed, "another verdict for {both}");
            checked += 1;
            if left_alone.iter().any(|address| address == client.0) {
                alone += 1;
            } else {
                assert!(!looks_up(&after), "still a lookup for {both}: {after:?}");
                relieved += usize::from(looks_up(&before));
            }
        }
    }
    assert!(others > 1_000, "{others}");
    // Nothing but names stands in the way here, so next to nobody is left alone.
    assert!(relieved > 300 && alone * 20 < checked, "{relieved} relieved, {alone} left alone of {checked}");
}

/// A table whose rules are about some of the server's ends.
fn table_of_ends(rng: &mut Rng) -> String {
    let text = table(rng, "/list");
    let line = |line: &str| {
        let (_, rest) = line.split_once(": ").expect("a rule");
        format!("{}: {rest}\n", rng.pick(&OF_ENDS))
    };
    text.lines().map(line).collect()
}

#[test]
fn other_ends_of_the_server_fare_as_before() {
    let mut rng = Rng(7);
    let mut oracle = oracle();
    let (mut checked, mut changed, mut alone) = (0, 0, 0);
    for round in 0..300 {
        // Every third pair says nothing of ends: there the fix has something to do.
        let mut one = || if round % 3 == 0 { table(&mut rng, "/list") } else { table_of_ends(&mut rng) };
        let (allow, deny) = (one(), one());
        let ([new_allow, new_deny], left_alone) = fixed(&allow, &deny);
        changed += usize::from((&new_allow, &new_deny) != (&allow, &deny));
        alone += left_alone.len();
        let strangers = bystanders(&mut rng);
        let named = CLIENTS.into_iter().map(|client| (client, "mysqld"));
        for (client, daemon) in strangers.into_iter().chain(named) {
            for at in OTHER_ENDS.into_iter().chain([SERVER]) {
                let before = ask_at(&mut oracle, &allow, &deny, client, daemon, at);
                let after = ask_at(&mut oracle, &new_allow, &new_deny, client, daemon, at);
                assert_eq!(
                    after.allowed, before.allowed,
                    "{daemon} at {at:?} decides otherwise on {client:?}\n{allow}--\n{deny}\nbecomes\n{new_allow}--\n{new_deny}"
                );
                checked += 1;
            }
        }
    }
    assert!(
        checked > 5_000 && changed > 30 && alone > 100,
        "{checked} checked, {changed} changed, {alone} left alone"
    );
}
