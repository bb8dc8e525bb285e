//! Attaching in the middle, targets that end, two at once.

use std::time::{Duration, Instant};

use wrapwatch::model::{Line, Outcome, StallCause};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Lab, LabConfig, Signal},
    nameserver::Rule,
    wait_for,
    watch::Watch,
};

use crate::support::{NS1, NS2, lab_with, peer};

/// Waits until the accept thread has asked: then the stall has begun.
fn wait_until_asked(lab: &Lab) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while lab.take_dns_log().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "no query came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn attached_in_the_middle_of_a_stall_names_server_table_and_name() {
    // Two dead servers with 5 s, twice: 20 s.
    let lab = lab_with(Files::resolv(format!(
        "nameserver {NS1}\nnameserver {NS2}\noptions timeout:5 attempts:2\n"
    )));
    lab.rules([Rule::silent()]).unwrap();
    let client = lab.begin_clients(ClientsSpec { timeout_ms: 40_000, ..ClientsSpec::default() }).unwrap();
    wait_until_asked(&lab);
    let began = Instant::now();
    // The stall must have lasted a while: this is the scenario's clock, not synchronisation.
    std::thread::sleep(Duration::from_secs(3));
    let mut watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let stall = watch
        .wait_for(|line| match line {
            Line::Stall(stall) if stall.name.is_some() => Some(stall.clone()),
            _ => None,
        })
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "the stall was still going on");
    assert_eq!(stall.cause, StallCause::Dns);
    assert!(stall.since_attach);
    assert_eq!(stall.table.as_deref(), Some("/etc/hosts.allow"));
    let server = stall.server.clone().unwrap();
    assert!(server == format!("{NS1}:53") || server == format!("{NS2}:53"), "{server}");
    let client = client.wait().unwrap().remove(0);
    let expected = crate::support::ptr_name(&client);
    assert_eq!(stall.name.as_deref(), Some(expected.as_str()));
    let seen = watch.stop().unwrap();
    // Server and table were known from the first stall line on, before any event came.
    let first = seen.stalls()[0];
    assert!(first.server.is_some() && first.table.is_some(), "{first:#?}");
    let connection = seen.connections()[0];
    assert!(!connection.complete);
    assert!(!connection.missing.is_empty());
}

#[test]
fn a_stall_is_told_each_second_with_the_queue_behind_it() {
    let lab = lab_with(crate::support::two_servers());
    lab.rules([Rule::silent()]).unwrap();
    let mut watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    let clients = lab.begin_clients(ClientsSpec::at_once(5)).unwrap();
    let stall = watch
        .wait_for(|line| match line {
            Line::Stall(stall) if stall.blocked_ns > 2_000_000_000 => Some(stall.clone()),
            _ => None,
        })
        .unwrap();
    assert_eq!(stall.cause, StallCause::Dns);
    assert_eq!(stall.queued, Some(4));
    assert_eq!(stall.queue_limit, Some(80));
    let rule = stall.rule.unwrap();
    assert_eq!((&*rule.file, rule.line), ("/etc/hosts.allow", 1));
    drop(watch);
    // All dead: nobody has a name, the tables refuse all of them in the end.
    drop(clients);
}

#[test]
fn two_at_once_see_the_same() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    let mut one = Watch::pid(pid).unwrap();
    let mut two = Watch::pid(pid).unwrap();
    let clients = lab.clients(ClientsSpec::at_once(10)).unwrap();
    one.wait_connections(10).unwrap();
    two.wait_connections(10).unwrap();
    // The first goes while the second still watches.
    let one = one.stop().unwrap();
    let more = lab.client().unwrap();
    two.wait_connections(11).unwrap();
    let two = two.stop().unwrap();
    for client in &clients {
        let (a, b) = (one.of(&peer(client)).unwrap(), two.of(&peer(client)).unwrap());
        assert_eq!(a.lookups.len(), b.lookups.len());
        assert_eq!((a.outcome, a.complete), (Outcome::Greeted, true));
        assert_eq!((b.outcome, b.complete), (Outcome::Greeted, true));
    }
    two.of(&peer(&more)).unwrap();
}

#[test]
fn it_says_so_and_ends_when_the_target_exits() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    let mut watch = Watch::pid(pid).unwrap();
    lab.client().unwrap();
    watch.wait_connections(1).unwrap();
    lab.signal(Signal::Kill).unwrap();
    let seen = watch.wait().unwrap();
    assert_eq!(seen.status, Some(0));
    assert!(seen.stderr.contains(&format!("pid {pid}")) && seen.stderr.contains("exited"), "{}", seen.stderr);
    assert_eq!(seen.summary().unwrap().connections, 1);
}

#[test]
fn capabilities_are_given_up_once_attached() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    // linux/capability.h: SYS_ADMIN 21, SYS_MODULE 16, NET_ADMIN 12, DAC_OVERRIDE 1; BPF 39 stays.
    let given_up = (1_u64 << 21) | (1 << 16) | (1 << 12) | (1 << 1);
    wait_for("giving up capabilities", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", watch.id()))?;
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
        let effective = u64::from_str_radix(effective.trim(), 16)?;
        Ok(effective & given_up == 0 && effective >> 39 & 1 == 1)
    })
    .unwrap();
    lab.client().unwrap();
    let seen = watch.stop().unwrap();
    assert_eq!((seen.status, seen.connections().len()), (Some(0), 1), "{}", seen.stderr);
}
