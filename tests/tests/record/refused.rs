//! What is refused at once, and how it ends in order.

use std::os::unix::fs::PermissionsExt as _;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch_tests::watch::Watch;

use crate::support::{lab, replay, wrapwatch};

/// Runs it, expects it to fail, gives its one line.
fn failing(args: &[&str]) -> String {
    let output = wrapwatch(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn an_existing_file_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    std::fs::write(&file, "precious").unwrap();
    let lab = lab();
    let pid = lab.server_pid().unwrap();
    let line = failing(&["record", "-p", &pid.to_string(), "-o", file.to_str().unwrap()]);
    assert!(line.contains("exists already") && line.contains("--force"), "{line}");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");

    let recorder = Watch::record(pid, &file, ["--force"]).unwrap();
    lab.client().unwrap();
    assert_eq!(recorder.stop().unwrap().status, Some(0));
    assert_eq!(replay(&file).connections().len(), 1);
}

#[test]
fn a_missing_directory_is_named() {
    let lab = lab();
    let pid = lab.server_pid().unwrap().to_string();
    let line = failing(&["record", "-p", &pid, "-o", "/nonexistent-dir/a.wwt"]);
    assert!(line.contains("no directory /nonexistent-dir"), "{line}");
}

#[test]
fn a_trace_that_cannot_begin_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let line = failing(&["record", "-p", "4194303", "-o", file.to_str().unwrap()]);
    assert!(line.contains("no process with pid 4194303"), "{line}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_trace_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    std::fs::write(&file, "a shopping list\n").unwrap();
    for command in [&["replay"][..], &["export", "--to", "jsonl"]] {
        let line = failing(&[command, &[file.to_str().unwrap()]].concat());
        assert!(line.contains("a.wwt"), "{line}");
    }
    assert!(failing(&["replay", "/nonexistent.wwt"]).contains("cannot open /nonexistent.wwt"));
}

#[test]
fn every_signal_that_asks_ends_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let file = dir.path().join(format!("{signal}.wwt"));
        let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
        lab.client().unwrap();
        kill(Pid::from_raw(i32::try_from(recorder.id()).unwrap()), signal).unwrap();
        let told = recorder.wait().unwrap();
        assert_eq!(told.status, Some(0), "{}", told.stderr);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let trace = replay(&file);
        // Nothing missing, the end included.
        assert_eq!(trace.stderr, "");
        assert_eq!(trace.connections().len(), 1);
        assert_eq!(trace.summary().unwrap().accepts, 1);
    }
}
