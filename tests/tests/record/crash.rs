//! Recorders that do not come to their end: killed, without space, without their directory. Everything but the last second is there, and the server never notices.

use std::process::Command;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch::model::Line;
use wrapwatch_tests::{
    clients::ClientsSpec,
    watch::{Watch, binary},
};

use crate::support::{
    SECOND_NS, accepted, assert_all_but_the_last_second, assert_all_greeted, lab, replay, wall_now,
};

/// Some hundred connections a second, for three to four seconds.
fn load() -> ClientsSpec {
    ClientsSpec { count: 1_500, concurrency: 20, stagger_us: 2_500, ..ClientsSpec::default() }
}

/// Waits until connections have been told of for so long.
fn wait_for_span(watch: &mut Watch, ns: i128) {
    let mut first = None;
    watch
        .wait_for(|line| {
            let Line::Connection(connection) = line else { return None };
            let at = accepted(connection);
            (at - *first.get_or_insert(at) > ns).then_some(())
        })
        .unwrap();
}

#[test]
fn killed_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let lab = lab();
    let mut recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    let clients = lab.begin_clients(load()).unwrap();
    wait_for_span(&mut recorder, SECOND_NS * 2);
    kill(Pid::from_raw(i32::try_from(recorder.id()).unwrap()), Signal::SIGKILL).unwrap();
    let end = wall_now();
    let told = recorder.wait().unwrap();
    assert_eq!(told.status, None, "killed by a signal");
    let trace = replay(&file);
    assert!(trace.stderr.contains("did not end by itself"), "{}", trace.stderr);
    assert_all_but_the_last_second(&told, &trace, end);
    assert_all_greeted(&clients.wait().unwrap());
}

#[test]
fn no_space_left() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, copy) = (dir.path().join("disk"), dir.path().join("copy.wwt"));
    std::fs::create_dir(&disk).unwrap();
    let lab = lab();
    // The small disk is in a mount namespace of its own and goes with it.
    let script = "mount -t tmpfs -o size=256k tmpfs \"$1\" || exit 99; file=\"$1/a.wwt\" copy=\"$2\"; shift 2; \
                  \"$@\" -o \"$file\"; status=$?; cp \"$file\" \"$copy\"; exit $status";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&disk).arg(&copy);
    command.arg(binary().unwrap()).args(["record", "--json", "-p", &lab.server_pid().unwrap().to_string()]);
    let recorder = Watch::run(command).unwrap();
    // Some 300 bytes each: more than there is space for.
    let clients = lab.clients(ClientsSpec { count: 3_000, ..load() }).unwrap();
    let told = recorder.wait().unwrap();
    assert_eq!(told.status, Some(1), "{}", told.stderr);
    let last = told.stderr.lines().last().unwrap();
    assert!(last.contains("no space left") && last.contains("a.wwt"), "{last}");
    let trace = replay(&copy);
    // It shows nothing behind the block that did not fit.
    let end = told.connections().into_iter().map(accepted).max().unwrap();
    assert_all_but_the_last_second(&told, &trace, end);
    assert!(trace.connections().len() < clients.len(), "there was space for all");
    assert_all_greeted(&clients);
}

#[test]
fn the_directory_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let lab = lab();
    let mut recorder = Watch::record(lab.server_pid().unwrap(), &gone.join("a.wwt"), [""; 0]).unwrap();
    let clients = lab.begin_clients(load()).unwrap();
    wait_for_span(&mut recorder, SECOND_NS * 3 / 2);
    std::fs::remove_dir_all(&gone).unwrap();
    let told = recorder.wait().unwrap();
    assert_eq!(told.status, Some(1), "{}", told.stderr);
    let rescued = dir.path().join("a.rescued.wwt");
    let last = told.stderr.lines().last().unwrap();
    assert!(last.contains("was removed") && last.contains(rescued.to_str().unwrap()), "{last}");
    // Nothing is lost: what was not written yet went along.
    let trace = replay(&rescued);
    assert_eq!(trace.stderr, "");
    assert_eq!(trace.connections().len(), told.connections().len());
    assert_all_greeted(&clients.wait().unwrap());
}
