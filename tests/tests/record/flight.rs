//! The flight recorder: what came before is in the trace that something made it save.

use wrapwatch_tests::{clients::ClientsSpec, nameserver::Rule, wait::wait_for, watch::Watch};

use crate::support::{lab, replay, wrapwatch};

const ARGS: [&str; 8] =
    ["--last", "10m", "--when", "refused", "queued>200ms", "--after", "1s", "--cooldown=10m"];

#[test]
fn it_saves_what_was_before_and_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let lab = lab();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, ARGS).unwrap();
    lab.clients(ClientsSpec::one_by_one(7)).unwrap();
    assert!(!file.exists(), "nothing has happened yet");
    lab.rules([Rule::delay(500).name("8.0.2.10.in-addr.arpa")]).unwrap();
    lab.clients(ClientsSpec::at_once(5)).unwrap();
    // Within --after: in the trace too.
    lab.clients(ClientsSpec::one_by_one(2)).unwrap();
    wait_for("the trace is saved", || Ok(file.exists() && replay(&file).stderr.is_empty())).unwrap();
    // Once more, while nothing is saved again.
    lab.rules([Rule::delay(500).name("15.0.2.10.in-addr.arpa")]).unwrap();
    lab.clients(ClientsSpec::at_once(3)).unwrap();
    let told = recorder.stop().unwrap();
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    assert!(told.stderr.contains("queued>200ms: a trace will be saved"), "{}", told.stderr);
    assert!(told.stderr.contains("queued>200ms: saved to"), "{}", told.stderr);

    let trace = replay(&file);
    assert_eq!(trace.connections().len(), 14);
    let slow = trace.connections().into_iter().filter(|c| c.queued_ns > Some(200_000_000)).count();
    assert!((1..5).contains(&slow), "{slow}");
    // The ring has gone, and nothing else was saved.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn without_anything_happening_nothing_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab();
    let recorder = Watch::record(lab.server_pid().unwrap(), &dir.path().join("a.wwt"), ARGS).unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    let told = recorder.stop().unwrap();
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    assert!(told.stderr.contains("nothing saved"), "{}", told.stderr);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_killed_one_leaves_its_ring() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let lab = lab();
    let mut recorder = Watch::record(lab.server_pid().unwrap(), &file, ["--last", "10m"]).unwrap();
    let load = ClientsSpec { count: 250, stagger_us: 10_000, ..ClientsSpec::default() };
    let clients = lab.begin_clients(load).unwrap();
    recorder.wait_connections(150).unwrap();
    drop(recorder);
    clients.wait().unwrap();
    let ring = dir.path().join("a.wwt.ring");
    let output = wrapwatch(["export", "--to", "wwt", ring.to_str().unwrap(), "-o", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A second of a hundred connections may be missing.
    assert!(replay(&file).connections().len() >= 30);
}
