//! That an accept thread sleeps in its check is looked at while it does, and recorded: a replay can then tell a nameserver's wait from one for a CPU.

use std::fs::File;

use wrapwatch::trace::{Input, Reader};
use wrapwatch_tests::{nameserver::Rule, watch::Watch};

use crate::support::{lab, replay};

#[test]
fn an_accept_thread_that_sleeps_in_its_check_is_in_the_trace() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let lab = lab();
    // Long enough to be looked at some ten times.
    lab.rules([Rule::delay(900)]).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    lab.client().unwrap();
    assert_eq!(recorder.stop().unwrap().status, Some(0));
    let told = replay(&file);
    let [connection] = told.connections()[..] else { panic!("{:#?}", told.connections()) };
    assert!(asleep(&file).contains(&connection.tid), "{connection:#?}");
}

/// Threads that were seen asleep.
fn asleep(file: &std::path::Path) -> Vec<u32> {
    let mut reader = Reader::new(File::open(file).unwrap());
    let mut threads = Vec::new();
    while let Some(input) = reader.next_input().unwrap() {
        if let Input::Sample(sample) = input {
            threads.extend(sample.targets.iter().flat_map(|process| process.asleep.clone()));
        }
    }
    threads
}
