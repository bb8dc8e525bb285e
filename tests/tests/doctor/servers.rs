//! `doctor` on a MariaDB: behind the real libwrap with nameservers that are dead in each way, and without libwrap.

use wrapwatch::model::{
    QueryOutcome,
    doctor::{HookState, Relation, View, Wrapped},
};
use wrapwatch_tests::{
    clients::{ClientsSpec, Mode, Source},
    lab::{Files, Lab, LabConfig, ServerConfig},
    nameserver::Rule,
    wait_for,
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

/// The server's own question for its clients, put to its nameservers from its network: one client's zone is dead, the nameserver is not.
#[test]
fn recent_clients_names_are_asked_for_from_the_servers_network() {
    // Whoever does not log in is kept.
    let server = ServerConfig { options: vec!["--connect-timeout=600".into()], ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    let pid = lab.server_pid().unwrap();
    lab.files(Files::resolv("nameserver 10.1.1.53\noptions timeout:1 attempts:1\n")).unwrap();
    let spec = ClientsSpec {
        source: Source::Distinct(3),
        mode: Mode::Hold { ms: 60_000 },
        ..ClientsSpec::at_once(3)
    };
    let holding = lab.begin_clients(spec).unwrap();
    wait_for("three clients are connected", || {
        let run = doctor(pid, &["--no-queries"]);
        Ok(run.target().connections == Some(3))
    })
    .unwrap();
    let peers = |run: &crate::support::Run| -> Vec<String> {
        let clients = run.target().clients.as_ref().unwrap();
        clients.asked.iter().map(|client| client.client.to_string()).collect()
    };
    let all = peers(&doctor(pid, &[]));
    assert_eq!(all.len(), 3, "{all:?}");
    let arpa = |address: &str| {
        let mut parts: Vec<&str> = address.split('.').collect();
        parts.reverse();
        format!("{}.in-addr.arpa", parts.join("."))
    };
    lab.rules([Rule::silent().name(arpa(&all[1]))]).unwrap();
    lab.take_dns_log().unwrap();
    let run = doctor(pid, &[]);
    let clients = run.target().clients.as_ref().unwrap();
    assert_eq!(clients.asked.len(), 3, "{clients:#?}");
    for client in &clients.asked {
        let [answer] = client.answers.as_slice() else { panic!("{client:#?}") };
        let silent = client.client.to_string() == all[1];
        let expected = if silent { QueryOutcome::Timeout } else { QueryOutcome::Answered };
        assert_eq!((answer.outcome, client.connected), (Some(expected), true), "{client:#?}");
        assert_eq!(answer.found, (!silent).then_some(true), "{client:#?}");
    }
    let slow = run.problem("client-names-slow");
    assert!(slow.message.contains(&format!("{} (silent for 1 s)", all[1])), "{slow:?}");
    assert!(run.find("nameserver-silent").is_none(), "the nameserver itself is well");
    // From the server's address, and nobody but the nameserver itself and these three was asked for.
    let log = lab.take_dns_log().unwrap();
    assert_eq!(log.len(), 4, "{log:#?}");
    for address in &all {
        assert!(
            log.iter().any(|query| query.qname.eq_ignore_ascii_case(&arpa(address))),
            "{address}: {log:#?}"
        );
    }
    assert!(doctor(pid, &["--no-queries"]).target().clients.is_none());
    drop(holding);
}

/// Behind 127.0.0.53 there are others: those of the file that systemd-resolved writes, asked from the server's network.
#[test]
fn nameservers_behind_resolved_are_asked_and_blamed_by_their_own_addresses() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    lab.files(Files::resolv("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")).unwrap();
    // /run is the lab's own.
    let folder = format!("/proc/{pid}/root/run/systemd/resolve");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(format!("{folder}/resolv.conf"), "nameserver 10.1.1.53\nnameserver 10.1.1.54\n").unwrap();
    lab.rules([Rule::silent().at([10, 1, 1, 53])]).unwrap();
    let run = doctor(pid, &[]);
    let upstreams = &run.target().resolver.upstreams;
    let told: Vec<_> = upstreams.iter().map(|server| (server.server.to_string(), server.outcome)).collect();
    let expected = [("10.1.1.53", QueryOutcome::Timeout), ("10.1.1.54", QueryOutcome::Answered)];
    assert_eq!(told, expected.map(|(server, outcome)| (server.to_owned(), Some(outcome))));
    let problem = run.problem("upstream-fails");
    assert!(problem.message.contains("10.1.1.53") && problem.message.contains("silent"), "{problem:?}");
    // Without the stub nobody looks there.
    lab.files(Files::resolv("nameserver 10.1.1.54\n")).unwrap();
    assert_eq!(doctor(pid, &[]).target().resolver.upstreams, []);
}

/// Has the socket of 127.0.0.1's port 53 in the server's network, goes by dnsmasq's name and has its arguments; ends with its standard input.
const FORWARDER: &str = "
import ctypes, socket, sys
PR_SET_NAME = 15
ctypes.CDLL(None).prctl(PR_SET_NAME, b'dnsmasq', 0, 0, 0)
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(('127.0.0.1', 53))
print('ready', flush=True)
sys.stdin.read()
";

/// Behind 127.0.0.1 there are others as well: those of the configuration of whoever has the socket.
#[test]
fn nameservers_behind_dnsmasq_are_those_of_its_configuration() {
    use std::io::{BufRead as _, BufReader};
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    lab.files(Files::resolv("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")).unwrap();
    let nobody = doctor(pid, &[]);
    let [unknown] = nobody.target().resolver.forwarders.as_slice() else {
        panic!("{:#?}", nobody.target().resolver)
    };
    assert!(unknown.pid.is_none() && unknown.doubt.is_some() && unknown.upstreams.is_empty(), "{unknown:#?}");
    // /run is the lab's own.
    let conf = "no-resolv\nserver=10.1.1.53\nserver=/corp.example/10.1.1.54\n";
    std::fs::write(format!("/proc/{pid}/root/run/forwarder.conf"), conf).unwrap();
    let mut child = std::process::Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-n", "-m", "--", "python3", "-c", FORWARDER])
        .arg("--conf-file=/run/forwarder.conf")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    lab.rules([Rule::silent().at([10, 1, 1, 53])]).unwrap();
    let run = doctor(pid, &[]);
    drop(child.stdin.take());
    child.wait().unwrap();
    let [forwarder] = run.target().resolver.forwarders.as_slice() else {
        panic!("{:#?}", run.target().resolver)
    };
    assert_eq!((forwarder.pid, forwarder.program.as_deref()), (Some(child.id()), Some("dnsmasq")));
    assert_eq!(
        (forwarder.files.as_slice(), &forwarder.doubt),
        (&["/run/forwarder.conf".to_owned()][..], &None)
    );
    assert!(forwarder.others && !forwarder.recursive, "{forwarder:#?}");
    let told: Vec<_> =
        forwarder.upstreams.iter().map(|server| (server.server.to_string(), server.outcome)).collect();
    assert_eq!(told, [("10.1.1.53".to_owned(), Some(QueryOutcome::Timeout))]);
    let problem = run.problem("upstream-fails");
    assert!(
        problem.message.contains("10.1.1.53, which dnsmasq") && problem.message.contains("silent"),
        "{problem:?}"
    );
}

/// A child that was left a listener is found by the socket.
#[test]
fn a_listener_that_another_process_holds() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut child = std::process::Command::new("sleep")
        .arg("600")
        .stdin(std::process::Stdio::from(std::os::fd::OwnedFd::from(listener.try_clone().unwrap())))
        .spawn()
        .unwrap();
    let run = doctor(child.id(), &["--no-queries"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let listeners = run.target().listeners.as_ref().unwrap();
    assert!(listeners.len() == 1 && listeners[0].local.ends_with(&format!(":{port}")), "{listeners:#?}");
    let holders = listeners[0].held_by.as_ref().unwrap();
    let told: Vec<_> = holders.iter().map(|holder| (holder.pid, holder.relation)).collect();
    assert_eq!(told, [(std::process::id(), Relation::Parent)]);
    assert!(run.problem("listener-shared").message.contains(&std::process::id().to_string()));
}
