//! tcpdmatch(8), the program that comes with libwrap, tells what a check would decide. Where it gives a verdict, wrapwatch has to give the
//! same. Its lookups go through the real glibc: for that it gets a mount namespace with an `/etc` of its own, which needs root.

#![expect(clippy::expect_used, reason = "a test fails where it is surprised")]

#[expect(dead_code, reason = "shared with the other tests")]
mod common;
#[path = "common/plain.rs"]
mod plain;
#[expect(dead_code, reason = "shared with the other tests")]
#[path = "common/rng.rs"]
mod rng;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{case, end, named, ours};
use plain::{PATTERNS, table};
use rng::Rng;
use wrapwatch::wrappers::Verdict;
use wrapwatch_differential::{Case, TableText};

/// Clients with the names that `/etc/hosts` gives them; None where looking the name up fails.
const CLIENTS: [(&str, Option<&str>); 8] = [
    ("10.0.2.14", Some("db1.example.com")),
    ("10.0.2.14", None),
    ("10.0.2.15", Some("web")),
    ("10.9.9.9", Some("x.bad")),
    ("192.168.7.9", None),
    ("2001:db8::7", Some("six.example.com")),
    ("2001:db8:1::8", None),
    ("::1", Some("localhost")),
];

/// A file that rules name; the same path for tcpdmatch and in the case.
const LIST: &str = "10.0.2.15 x.bad\n[2001:db8:1::]/48\n";

/// The client, with the name that it has; a name without addresses is none that leads back.
fn with_client(allow: &str, deny: &str, (address, name): (&str, Option<&str>)) -> Case {
    let mut case = case(allow, deny, address);
    if let Some(name) = name {
        case = named(case, name);
    }
    case.client = Some(end(address, 0));
    case
}

/// Whether tcpdmatch says that access is granted; None where it says neither.
fn granted(said: &str) -> Option<bool> {
    match said.lines().rev().find_map(|line| line.strip_prefix("access:"))?.trim() {
        "granted" => Some(true),
        "denied" => Some(false),
        _ => None,
    }
}

/// Runs tcpdmatch for each case, all of them in one mount namespace whose `/etc` has the clients' names.
fn tcpdmatch(home: &Path, cases: &[Case]) -> Vec<String> {
    let etc = home.join("etc");
    fs::create_dir(&etc).expect("a folder");
    let hosts: String =
        CLIENTS.iter().filter_map(|(address, name)| Some(format!("{address} {}\n", (*name)?))).collect();
    fs::write(etc.join("hosts"), hosts).expect("hosts");
    fs::write(etc.join("nsswitch.conf"), "hosts: files\n").expect("nsswitch.conf");
    fs::write(home.join("inetd.conf"), "mysqld stream tcp nowait root /usr/sbin/tcpd mysqld\n")
        .expect("inetd.conf");
    for (number, case) in cases.iter().enumerate() {
        let folder = home.join(number.to_string());
        fs::create_dir(&folder).expect("a folder");
        for (name, table) in [("hosts.allow", &case.allow), ("hosts.deny", &case.deny)] {
            let TableText::Text(text) = table else { continue };
            fs::write(folder.join(name), text).expect("a table");
        }
        // By address, tcpdmatch predicts what happens when looking up the name fails; by name, it does look up.
        let client = match case.names.first() {
            Some((_, name)) => name.clone(),
            None => case.client.as_ref().expect("a client").address.to_string(),
        };
        fs::write(folder.join("client"), client).expect("the client");
    }
    let script = r#"mount --bind "$0/etc" /etc && cd "$0" && for i in $(seq 0 "$1"); do
        cd "$0/$i" && tcpdmatch -d -i "$0/inetd.conf" mysqld "$(cat client)" > said 2>&1; done; true"#;
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(home)
        .arg((cases.len() - 1).to_string())
        .status()
        .expect("unshare runs");
    assert!(status.success(), "tcpdmatch could not be run: it needs root; run: cargo xtask setup");
    let said = |number: usize| fs::read_to_string(home.join(number.to_string()).join("said"));
    (0..cases.len()).map(|number| said(number).expect("it ran")).collect()
}

#[test]
fn tcpdmatch_gives_the_same_verdict() {
    let home = tempfile::tempdir().expect("a folder");
    let list = home.path().join("list").to_string_lossy().into_owned();
    fs::write(&list, LIST).expect("a list");
    let mut cases = Vec::new();
    // Each pattern by itself, for each client: allowed by it, and denied by it.
    for pattern in PATTERNS {
        let rule = format!("mysqld: {}\n", pattern.replace("/list", &list));
        for client in CLIENTS {
            cases.push(with_client(&rule, "ALL: ALL\n", client));
        }
    }
    let mut rng = Rng(7);
    for _ in 0..400 {
        let client = CLIENTS[rng.below(CLIENTS.len())];
        cases.push(with_client(&table(&mut rng, &list), &table(&mut rng, &list), client));
    }
    for case in &mut cases {
        case.files.push((list.clone(), LIST.as_bytes().to_vec()));
    }
    let (mut allowed, mut denied) = (0, 0);
    let mut wrong = Vec::new();
    for (case, said) in cases.iter().zip(tcpdmatch(home.path(), &cases)) {
        let Some(theirs) = granted(&said) else {
            wrong.push(format!("no verdict:\n{said}\n{}", common::describe(case)));
            continue;
        };
        *(if theirs { &mut allowed } else { &mut denied }) += 1;
        let mine = ours(case, std::process::id(), false).verdict;
        if (mine == Verdict::Allow) != theirs {
            wrong.push(format!("wrapwatch: {mine:?}\ntcpdmatch:\n{said}\n{}", common::describe(case)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(allowed > 100 && denied > 100, "{allowed} granted, {denied} denied: nothing was tested");
}
