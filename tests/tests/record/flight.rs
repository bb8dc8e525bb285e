//! The flight recorder: what came before is in the trace that something made it save.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch::trace::{Input, Reader};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Lab, LabConfig, ServerConfig, Signal as ToServer},
    nameserver::Rule,
    wait::wait_for,
    watch::Watch,
};

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
    wait_for("the trace is saved", || Ok(!saved_for(dir.path()).is_empty())).unwrap();
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
    // The next one leaves it alone, and says what can be done.
    let kept = files_in(&ring);
    let pid = lab.server_pid().unwrap().to_string();
    let next = wrapwatch(["record", "-p", &pid, "--last", "10m", "-o", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&next.stderr).into_owned();
    assert!(
        next.status.code() == Some(1) && said.contains("wrapwatch export") && said.contains("--force"),
        "{said}"
    );
    assert_eq!((said.lines().count(), files_in(&ring)), (1, kept), "{said}");
    let output = wrapwatch(["export", "--to", "wwt", ring.to_str().unwrap(), "-o", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A second of a hundred connections may be missing, and that is said.
    let trace = replay(&file);
    assert!(trace.connections().len() >= 30);
    assert!(trace.stderr.contains("did not end by itself"), "{}", trace.stderr);

    // Replaced where that is asked for.
    std::fs::remove_file(&file).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, ["--last", "10m", "--force"]).unwrap();
    lab.clients(ClientsSpec::one_by_one(2)).unwrap();
    let told = recorder.stop().unwrap();
    assert_eq!((told.status, ring.exists()), (Some(0), false), "{}", told.stderr);
    assert_eq!(replay(&file).connections().len(), 2);
}

/// What the traces saved so far were saved for; those that are being written have no end yet.
fn saved_for(dir: &Path) -> Vec<String> {
    let mut reasons = Vec::new();
    for entry in
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        let mut reader = Reader::new(std::fs::File::open(entry).unwrap());
        while let Ok(Some(item)) = reader.next_input() {
            if let Input::End(end) = item {
                reasons.push(end.reason.clone());
            }
        }
    }
    reasons
}

#[test]
fn each_condition_saves() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerConfig { options: vec!["--back-log=4".to_owned()], ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    let conditions = ["refused", "queue>60%", "queued>900ms", "stall>1200ms", "dns>500ms", "lost"];
    let args =
        [&["--last", "10m", "--after", "1ms", "--cooldown", "1ms", "--when"][..], &conditions].concat();
    let mut recorder = Watch::record(lab.server_pid().unwrap(), &dir.path().join("a.wwt"), args).unwrap();
    let watcher = Pid::from_raw(i32::try_from(recorder.id()).unwrap());
    let saved = |condition: &str| saved_for(dir.path()).iter().any(|reason| reason == condition);
    // What comes while a trace is about to be saved for something else makes no further one: then it has to happen again.
    let mut until_saved = |condition: &str, happens: &dyn Fn()| {
        for _ in 0..8 {
            recorder.has_said("");
            happens();
            recorder.wait_said(": saved to").unwrap();
            if saved(condition) {
                return;
            }
        }
        panic!("no trace saved for {condition}");
    };
    let delayed = |ms| {
        lab.rules([Rule { times: Some(1), ..Rule::delay(ms) }]).unwrap();
        lab.client().unwrap();
    };
    until_saved("dns>500ms", &|| delayed(700));
    until_saved("stall>1200ms", &|| delayed(2_500));
    let stopped = |ms| {
        lab.signal(ToServer::Stop).unwrap();
        let clients = lab.begin_clients(ClientsSpec::at_once(4)).unwrap();
        // How long it lasts is what is tested.
        std::thread::sleep(Duration::from_millis(ms));
        lab.signal(ToServer::Cont).unwrap();
        clients.wait().unwrap();
    };
    until_saved("queue>60%", &|| stopped(2_000));
    until_saved("queued>900ms", &|| stopped(1_200));
    lab.files(Files::tables("", "ALL: ALL\n")).unwrap();
    until_saved("refused", &|| drop(lab.client().unwrap()));
    lab.files(Files::tables("ALL: .lab.example\n", "")).unwrap();
    until_saved("lost", &|| {
        kill(watcher, Signal::SIGSTOP).unwrap();
        // More than the ring holds.
        let many = lab.clients(ClientsSpec { count: 2_500, concurrency: 20, ..ClientsSpec::default() });
        kill(watcher, Signal::SIGCONT).unwrap();
        many.unwrap();
    });

    let told = recorder.stop().unwrap();
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    // Each can be read alone.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        assert_eq!(replay(&entry.unwrap().path()).stderr, "");
    }
}

/// The files in a directory and below, with their sizes.
fn files_in(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            // A segment of the ring may go while it is looked at.
            let bytes = path.metadata().map_or(0, |metadata| metadata.len());
            files.push((path, bytes));
        }
    }
    files
}

/// What everything in a directory takes at one moment: of one that is written to, two looks in a row have to agree.
fn bytes_in(dir: &Path) -> u64 {
    let mut files = files_in(dir);
    wait_for("a moment without a write", || {
        let before = std::mem::replace(&mut files, files_in(dir));
        Ok(before == files)
    })
    .unwrap();
    files.iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn an_outage_that_lasts_fills_no_disk() {
    const LIMIT: u64 = 256 << 10;
    let dir = tempfile::tempdir().unwrap();
    let files = Files::tables("", "ALL: ALL\n");
    let lab = Lab::start(LabConfig { files, ..LabConfig::default() }).unwrap();
    let mut args = vec!["--last", "10m", "--when", "refused", "--after", "1ms", "--cooldown", "1ms"];
    args.extend(["--max-total", "256K"]);
    let mut recorder = Watch::record(lab.server_pid().unwrap(), &dir.path().join("a.wwt"), args).unwrap();
    let mut most = 0;
    // In step with the recorder, which may have little of a CPU beside the clients.
    let mut made = 0;
    let reached = (0..40).any(|_| {
        made += 100;
        lab.clients(ClientsSpec { concurrency: 8, ..ClientsSpec::one_by_one(100) }).unwrap();
        recorder.wait_connections(made).unwrap();
        most = most.max(bytes_in(dir.path()));
        recorder.has_said("would pass the limit")
    });
    assert!(reached, "no limit: {most} bytes; {}", recorder.stop().unwrap().stderr);
    // It goes on, and keeps to it.
    for _ in 0..5 {
        lab.clients(ClientsSpec { concurrency: 8, ..ClientsSpec::one_by_one(200) }).unwrap();
        most = most.max(bytes_in(dir.path()));
    }
    let told = recorder.stop().unwrap();
    assert!((LIMIT / 4..=LIMIT).contains(&most), "{most}");
    assert!(told.stderr.contains("would pass the limit of 262144 for all"), "{}", told.stderr);
    assert_eq!(told.status, Some(1), "what was not saved is no success: {}", told.stderr);
    let saved: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(bytes_in(dir.path()) <= LIMIT && saved.iter().any(|path| path.is_file()), "{saved:?}");
    for trace in saved.iter().filter(|path| path.is_file()) {
        assert!(!replay(trace).connections().is_empty());
    }
}
