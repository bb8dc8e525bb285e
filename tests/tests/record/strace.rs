//! One run seen by wrapwatch and by strace: the same connections, queries, outcomes.

use std::{fs::File, process::Command};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch::model::{Client, Connection};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Lab, LabConfig},
    nameserver::Rule,
    wait::wait_for,
    watch::Watch,
};

use crate::support::{NS1, NS2, asked, replay, wrapwatch};

#[test]
fn strace_sees_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let resolv = format!("nameserver {NS1}\nnameserver {NS2}\noptions timeout:1 attempts:2\n");
    let lab = Lab::start(LabConfig { files: Files::resolv(resolv), ..LabConfig::default() }).unwrap();
    let pid = lab.server_pid().unwrap();
    let recorder = Watch::record(pid, &path("seen.wwt"), [""; 0]).unwrap();
    let mut strace = Command::new("strace")
        .args(["-f", "-ttt", "-T", "-yy", "-s", "600", "-p", &pid.to_string(), "-o"])
        .arg(path("strace.log"))
        // A file: it says something at every new thread, and must find someone to say it to.
        .stderr(File::create(path("strace.err")).unwrap())
        .spawn()
        .unwrap();
    wait_for("strace is attached", || Ok(std::fs::read_to_string(path("strace.err"))?.contains("attached")))
        .unwrap();

    lab.clients(ClientsSpec::one_by_one(5)).unwrap();
    lab.clients(ClientsSpec::at_once(10)).unwrap();
    // The first nameserver says nothing to one of them.
    lab.rules([Rule::silent().at(NS1)]).unwrap();
    lab.client().unwrap();
    lab.rules([]).unwrap();
    lab.files(Files::tables("", "ALL: .lab.example\n")).unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    // When this one has been accepted, strace has told all of those before it.
    let last = lab.client().unwrap().source.unwrap();

    kill(Pid::from_raw(i32::try_from(strace.id()).unwrap()), Signal::SIGINT).unwrap();
    strace.wait().unwrap();
    let seen = recorder.stop().unwrap();
    let (log, imported) = (path("strace.log"), path("strace.wwt"));
    let output = wrapwatch(["import", "strace", log.to_str().unwrap(), "-o", imported.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let straced = replay(&imported);
    assert_eq!(seen.connections().len(), 20);
    assert_eq!(straced.connections().len(), 20);
    let mut timeouts = 0;
    let compared = |c: &&Connection| c.peer != Some(Client::Ip(last));
    for connection in seen.connections().into_iter().filter(compared) {
        let other = straced.of(&connection.peer.unwrap().to_string()).unwrap();
        assert_eq!(connection.outcome, other.outcome, "{other:#?}");
        assert_eq!(asked(connection), asked(other));
        assert_eq!(other.queued_ns, None, "strace cannot see the queue");
        // The same calls: what differs is strace's own cost, which is nothing beside a time-out.
        let dns = [connection.parts.dns_ns, other.parts.dns_ns];
        if dns[0] > 1_000_000_000 {
            assert!(dns[0].abs_diff(dns[1]) < dns[0] / 5, "{dns:?}");
        }
        timeouts += asked(connection).iter().filter(|query| query.contains("Timeout")).count();
    }
    assert!(timeouts >= 1, "the silent nameserver was asked");
}
