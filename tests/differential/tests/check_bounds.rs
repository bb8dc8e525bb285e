//! The longest that whole checks can take, against the real libwrap with the real glibc, nothing replaced: fifty resolver configurations and rules that
//! ask the client's ident service, with and without names before it, by patterns and by the option with times of its own, and for netgroups. Nameservers
//! answer at the last moment, ident services in each way that costs their whole time. What is measured is never longer than the bound that `lint` tells,
//! and that no more than a fifth longer than the worst that was measured. Each in namespaces of its own, all side by side. Needs root.
//!
//! Netgroups are measured for files of the host, the one service that glibc has of its own. For all others (nis, ldap, sss) no bound is told, so
//! that there is nothing to hold a measurement against: how long they take is their servers' and no file of this host says it.

#![expect(clippy::expect_used, reason = "a test fails where it is surprised")]

#[expect(dead_code, reason = "shared with the other tests")]
#[path = "common/rng.rs"]
mod rng;

#[expect(dead_code, reason = "shared with the other tests")]
#[path = "common/glibc.rs"]
mod glibc;

use std::collections::BTreeMap;

use rng::Rng;
use wrapwatch::wrappers::cost::SECOND_NS;
use wrapwatch::wrappers::input::{Client, Input};
use wrapwatch::wrappers::lint::{ClientReport, lint};
use wrapwatch::wrappers::{Endpoint, HostsFile, LookupKind, ResolvConf, Table, Tables, nsswitch};
use wrapwatch_differential::check::{Check, Checked, Ident};
use wrapwatch_differential::resolver::{Nameserver, Question};

/// How long before the end of its time an answer comes: what a busy machine may take to bring it.
const EARLY_MS: u64 = 120;
/// What a busy machine adds to a process of its own.
const SLACK_NS: u64 = 100_000_000;
/// Longer checks are left out, for the sake of whoever waits for this test.
const LONGEST_NS: u64 = 16 * SECOND_NS;
/// A run in which an answer came too late measures less than the worst: so often it is tried.
const TRIES: usize = 4;

const CLIENT: &str = "127.0.2.14";
const SERVER: &str = "127.0.9.9";
const NAME: &str = "db1.example.com";

/// What `lint` says of the check.
fn told(check: &Check) -> ClientReport {
    let world = &check.world;
    let tables =
        Tables { allow: Table::parse(check.allow.as_bytes()), deny: Table::parse(check.deny.as_bytes()) };
    let nsswitch = world.nsswitch.as_deref().unwrap_or_default().as_bytes();
    let clients =
        [Client { address: world.client.parse().expect("an address"), name: Some(NAME.to_owned()) }];
    let report = lint(&Input {
        tables: &tables,
        texts: [check.allow.as_bytes(), check.deny.as_bytes()],
        paths: ["/etc/hosts.allow", "/etc/hosts.deny"],
        files: &BTreeMap::new(),
        daemon: "mysqld",
        server: Endpoint::new(check.server.parse().expect("an address"), 3306),
        conf: &ResolvConf::parse(world.resolv_conf.as_bytes()),
        resolv_path: "/etc/resolv.conf",
        services: &nsswitch::hosts(nsswitch),
        netgroup: &nsswitch::netgroup(nsswitch),
        nsswitch_path: "/etc/nsswitch.conf",
        hosts: &HostsFile::parse(world.hosts.as_bytes()),
        hosts_path: "/etc/hosts",
        own_domain: world.hostname.split_once('.').map(|(_, domain)| domain),
        clients: &clients,
    });
    report.clients.into_iter().next().expect("the client")
}

/// The rules of a check: hosts.allow, and for how long the ident service is asked where it is.
const RULES: [(&str, Option<u64>); 14] = [
    ("mysqld: 127.0.2.14: rfc931 1\n", Some(1)),
    ("mysqld: 127.0.2.14: rfc931 3\n", Some(3)),
    ("mysqld: 127.0.2.14: rfc931\n", Some(10)),
    ("mysqld: me@127.0.2.14\n", Some(10)),
    // Names first, then the ident service.
    ("mysqld: .other.test\nmysqld: 127.0.2.14: rfc931 2\n", Some(2)),
    ("mysqld: .other.test, 127.0.2.14: rfc931 1\n", Some(1)),
    ("mysqld: .other.test\nmysqld: me@127.0.2.: setenv WHO %u\n", Some(10)),
    // The pattern asks before the option has said a time.
    ("mysqld: somebody@127.0.2.14: rfc931 1\n", Some(10)),
    ("mysqld: 127.0.2.14: setenv WHO %u: rfc931 2\n", Some(10)),
    ("mysqld: 127.0.2.14: rfc931 2: setenv WHO %u\n", Some(2)),
    // Another rule's time does not count for one that says its own.
    ("mysqld: 127.0.7.: rfc931 9\nmysqld: 127.0.2.14: rfc931 2\n", Some(2)),
    ("mysqld: @trusted\n", None),
    ("mysqld: @nobody, @trusted\n", None),
    ("mysqld: @nobody\nmysqld: 127.0.2.14: rfc931 1\n", Some(1)),
];

fn generate(rng: &mut Rng, number: usize) -> Check {
    let (allow, ident_s) = RULES[number % RULES.len()];
    let count = 1 + rng.below(3);
    let mut text: String = (1..=count).map(|index| format!("nameserver 127.0.1.{index}\n")).collect();
    text += &format!("options timeout:{} attempts:{}", rng.pick(&["0", "1", "1", "2"]), 1 + rng.below(2));
    text +=
        rng.pick(&["\n", "\n", "\nsearch a.test\n", "\nsearch a.test b.test\n", " ndots:3\ndomain d.test\n"]);
    let conf = ResolvConf::parse(text.as_bytes());
    let waits = conf.waits_ns();
    let last = Nameserver::LastMoment {
        query: u32::try_from(conf.attempts).expect("attempts"),
        after_ms: waits.last().expect("a nameserver") / 1_000_000 - EARLY_MS,
    };
    let mut nameservers: Vec<(String, Nameserver)> =
        (1..count).map(|index| (format!("127.0.1.{index}"), Nameserver::Silent)).collect();
    nameservers.push((format!("127.0.1.{count}"), last));
    let late = Ident::Late { after_ms: ident_s.unwrap_or(1) * 1_000 - EARLY_MS };
    Check {
        world: Question {
            resolv_conf: text,
            nsswitch: (!rng.chance(20)).then(|| {
                let netgroup = rng.pick(&[
                    "netgroup: files\n",
                    "",
                    "netgroup: files [NOTFOUND=return UNAVAIL=return] nis\n",
                ]);
                format!("hosts: {}\n{netgroup}", rng.pick(&["files dns", "dns files"]))
            }),
            // With a name from the file there is nothing to wait for but the rest.
            hosts: rng.pick(&["", "", "", "127.0.2.14 db1.example.com\n"]).to_owned(),
            nameservers,
            hostname: rng.pick(&["box", "box.corp.test"]).to_owned(),
            client: CLIENT.to_owned(),
            name: NAME.to_owned(),
        },
        allow: allow.to_owned(),
        deny: "ALL: ALL\n".to_owned(),
        netgroup:
            "inner (db1.example.com,-,)\ntrusted (web.example.com,-,) inner\nnobody (web.example.com,-,)\n"
                .to_owned(),
        server: SERVER.to_owned(),
        ident: *rng.pick(&[&Ident::Silent, &Ident::Dribbles, &Ident::Full, &late]),
        blocks_alarm: false,
    }
}

/// The run that took longest of a few; ends with the first that is near enough to the bound.
fn worst(check: &Check, bound: u64) -> Result<Checked, String> {
    let mut worst: Option<Checked> = None;
    for _ in 0..TRIES {
        let checked = glibc::check(check)?;
        if worst.as_ref().is_none_or(|worst| worst.took.with_cpu_ns < checked.took.with_cpu_ns) {
            worst = Some(checked);
        }
        if worst.as_ref().is_some_and(|worst| bound * 10 <= worst.took.with_cpu_ns * 12) {
            break;
        }
    }
    worst.ok_or_else(|| "no run".to_owned())
}

#[test]
fn a_check_with_ident_and_netgroups_takes_as_long_as_its_bound_and_no_longer() {
    let mut rng = Rng(931);
    let mut checks: Vec<(Check, ClientReport)> = Vec::new();
    while checks.len() < 50 {
        // As many of each rule: of one that takes long the next that is not too long.
        let check = generate(&mut rng, checks.len());
        let told = told(&check);
        let bound = told.worst_case_ns.expect("files of the host, DNS and ident have a bound");
        let resolver = |check: &Check| (check.world.resolv_conf.clone(), check.world.nsswitch.clone());
        let known = checks.iter().any(|(known, _)| resolver(known) == resolver(&check));
        if !known && bound <= LONGEST_NS {
            checks.push((check, told));
        }
    }
    let threads: Vec<_> = checks
        .into_iter()
        .map(|(check, told)| {
            let bound = told.worst_case_ns.expect("a bound");
            std::thread::spawn(move || (worst(&check, bound), check, told))
        })
        .collect();
    let mut wrong = Vec::new();
    for thread in threads {
        let (measured, check, told) = thread.join().expect("the thread ends");
        let bound = told.worst_case_ns.expect("a bound");
        let asks_ident = told.lookups.contains(&LookupKind::Ident);
        let seen = asks_ident && check.ident != Ident::Full;
        match measured {
            Ok(ref run)
                if run.took.with_cpu_ns <= bound + SLACK_NS
                    && (bound == 0 || bound * 10 <= run.took.with_cpu_ns * 12)
                    && run.ident_asked == seen => {}
            other => {
                wrong.push(format!("{check:#?}\nbound {bound} of {:#?}\nlibwrap: {other:?}", told.waits));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A check of which only the rules matter: nobody waits for a name.
fn quiet(allow: &str, ident: Ident) -> Check {
    Check {
        allow: allow.to_owned(),
        ident,
        world: Question {
            resolv_conf: "nameserver 127.0.1.1\n".to_owned(),
            nsswitch: Some("hosts: files\n".to_owned()),
            hosts: "127.0.2.14 db1.example.com\n".to_owned(),
            nameservers: Vec::new(),
            ..generate(&mut Rng(1), 0).world
        },
        ..generate(&mut Rng(1), 0)
    }
}

/// A netgroup that has the client's name, also by another that it names, lets it in: the file was read, in no time.
#[test]
fn netgroups_come_from_the_hosts_file_where_nsswitch_says_nothing() {
    for nsswitch in ["hosts: files\n", "hosts: files\nnetgroup: files\n"] {
        for (group, allowed) in [("trusted", true), ("nobody", false)] {
            let mut check = quiet(&format!("mysqld: @{group}\n"), Ident::Refuses);
            check.world.nsswitch = Some(nsswitch.to_owned());
            assert_eq!(told(&check).worst_case_ns, Some(0));
            let checked = glibc::check(&check).expect("libwrap answers");
            assert!(checked.took.with_cpu_ns <= SLACK_NS, "{checked:?}");
            assert_eq!(checked.allowed, allowed, "{nsswitch} {group}");
        }
    }
}

/// What the bound of an ident service leaves open, and says so: libwrap's clock is SIGALRM.
#[test]
fn a_server_that_blocks_sigalrm_waits_longer_than_the_option_says() {
    let check = quiet("mysqld: 127.0.2.14: rfc931 1\n", Ident::Late { after_ms: 2_500 });
    let told = told(&check);
    assert!(told.waits[0].of.contains("longer where the server blocks SIGALRM"), "{told:#?}");
    let bound = told.worst_case_ns.expect("a bound");
    let run = |blocks_alarm| {
        let checked = glibc::check(&Check { blocks_alarm, ..check.clone() }).expect("libwrap answers");
        assert!(checked.ident_asked);
        checked.took
    };
    assert!(run(false).with_cpu_ns <= bound + SLACK_NS);
    assert!(run(true).elapsed_ns > 2 * bound);
}
