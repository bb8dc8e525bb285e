//! `doctor` on a MariaDB: behind the real libwrap with nameservers that are dead in each way, and without libwrap.

use wrapwatch::model::{
    QueryOutcome,
    doctor::{HookState, View, Wrapped},
};
use wrapwatch_tests::{
    lab::{Files, Lab, LabConfig, ServerConfig},
    nameserver::Rule,
};

use crate::support::doctor;

#[test]
fn wrapped_with_dead_nameservers() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    // Silent; answers; nobody listens there.
    let servers = ["10.1.1.53", "10.1.1.54", "10.1.1.1"];
    let resolv = |servers: &[&str]| {
        let lines: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        Files::resolv(lines + "options timeout:1 attempts:1\n")
    };
    lab.files(resolv(&servers)).unwrap();
    lab.rules([Rule::silent().at([10, 1, 1, 53])]).unwrap();
    lab.take_dns_log().unwrap();
    let run = doctor(pid, &["--fail-on", "critical"]);
    assert_eq!(run.status, Some(3), "{:#?}", run.report.problems);
    let mut required = run.report.hooks.iter().filter(|hook| hook.required);
    assert!(required.all(|hook| hook.state == HookState::Works), "{:#?}", run.report.hooks);
    let target = run.target();
    assert_eq!((target.libwrap.state, target.view), (Wrapped::Mapped, View::Target));
    assert_eq!((target.daemon.as_str(), target.comm.as_str()), ("mariadbd", "mariadbd"));
    assert_eq!(target.own_namespaces.as_ref().unwrap(), &["mnt", "net", "pid"]);
    assert_eq!(target.tables.iter().map(|table| table.entries).collect::<Vec<_>>(), [Some(1), Some(1)]);
    // 50 + 151 / 5, MariaDB's own choice.
    assert!(target.listeners.as_ref().unwrap().iter().all(|listener| listener.limit == 80), "{target:#?}");
    let outcomes: Vec<_> = target.resolver.nameservers.iter().map(|server| server.outcome.unwrap()).collect();
    assert_eq!(outcomes, [QueryOutcome::Timeout, QueryOutcome::Answered, QueryOutcome::Unreachable]);
    // One query each, from the server's own network, and the only ones that were asked.
    let log = lab.take_dns_log().unwrap();
    assert_eq!(log.len(), 2, "{log:#?}");
    run.problem("wrapped");
    run.problem("nameserver-silent");
    run.problem("nameserver-refuses");
    let first = run.problem("first-nameserver-dead");
    assert!(first.message.contains("10.1.1.53") && first.message.contains("1.00 s"), "{first:?}");
    assert!(first.change.as_ref().unwrap().contains("10.1.1.54"), "{first:?}");
    // All dead: a second for the silent one, nothing for the one that refuses.
    lab.files(resolv(&["10.1.1.1", "10.1.1.53"])).unwrap();
    let dead = doctor(pid, &[]);
    assert_eq!(dead.status, Some(0));
    dead.problem("all-nameservers-dead");
    assert!(dead.find("first-nameserver-dead").is_none());
    lab.take_dns_log().unwrap();
    let run = doctor(pid, &["--no-queries"]);
    assert_eq!(lab.take_dns_log().unwrap(), []);
    assert!(run.target().resolver.nameservers.iter().all(|server| server.outcome.is_none()));
    assert!(run.find("all-nameservers-dead").is_none(), "{:#?}", run.report.problems);
}

#[test]
fn not_wrapped() {
    let server = ServerConfig { wrapped: false, ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    lab.rules([Rule::silent()]).unwrap();
    let run = doctor(lab.server_pid().unwrap(), &["--fail-on", "warning"]);
    assert_eq!(run.target().libwrap.state, Wrapped::No);
    run.problem("not-wrapped");
    // Its nameserver is dead, and no check asks it.
    assert_eq!(run.status, Some(0), "{:#?}", run.report.problems);
    assert!(run.find("wrapped").is_none());
}
