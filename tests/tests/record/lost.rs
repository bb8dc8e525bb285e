//! Events lost: what they hid is not made up for, neither live nor from the trace.

use std::{fs::File, io::BufReader, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch::{
    model::{Connection, Line, Missing},
    trace::{Input, Reader, Sample},
};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::Lab,
    wait_for,
    watch::{Seen, Watch},
};

use crate::support::{lab, replay};

/// More connections than the ring holds.
const TOO_MANY: usize = 2_600;

/// The connections whose check was going on when the ring was full, as far as was seen.
fn cut(seen: &Seen) -> Vec<&Connection> {
    let hidden = |c: &&Connection| c.missing.contains(&Missing::CheckEndUnseen);
    seen.connections().into_iter().filter(hidden).collect()
}

/// Whether it is the last connection whose check's end was lost, so that its accept thread has to be looked at.
fn last_is_cut(seen: &Seen) -> bool {
    let last = seen.connections().into_iter().max_by_key(|connection| connection.accepted_ktime);
    last.is_some_and(|connection| connection.missing.contains(&Missing::CheckEndUnseen))
}

/// The samples of a trace.
fn samples(trace: &Path) -> Vec<Sample> {
    let mut reader = Reader::new(BufReader::new(File::open(trace).unwrap()));
    let mut samples = Vec::new();
    // While it is being written, its end is torn.
    while let Ok(Some(item)) = reader.next_input() {
        if let Input::Sample(sample) = item {
            samples.push(sample.into_owned());
        }
    }
    samples
}

/// A recording whose recorder was stopped while more came than the ring holds, and that went on for three seconds afterwards, in which nobody came.
fn overflowing(lab: &Lab, trace: &Path) -> Seen {
    let mut watch = Watch::record(lab.server_pid().unwrap(), trace, ["--force"]).unwrap();
    let recorder = Pid::from_raw(i32::try_from(watch.id()).unwrap());
    kill(recorder, Signal::SIGSTOP).unwrap();
    let spec = ClientsSpec { count: TOO_MANY, concurrency: 8, ..ClientsSpec::default() };
    let clients = lab.clients(spec);
    kill(recorder, Signal::SIGCONT).unwrap();
    assert_eq!(clients.unwrap().len(), TOO_MANY);
    watch.wait_for(|line| matches!(line, Line::Lost(_)).then_some(())).unwrap();
    // Samples reach the file with the block that they are in.
    wait_for("a sample in the trace", || Ok(!samples(trace).is_empty())).unwrap();
    let lost_at = samples(trace).last().unwrap().at;
    wait_for("three seconds of the trace", || {
        Ok(samples(trace).last().is_some_and(|sample| sample.at.since(lost_at) > 3_000_000_000))
    })
    .unwrap();
    watch.stop().unwrap()
}

#[test]
fn a_check_whose_end_was_lost_is_no_stall() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("lost.wwt");
    // The ring may also have been full exactly where a check ends, and a shorter record that came later may still have found a place.
    let seen = (0..10).map(|_| overflowing(&lab, &trace)).find(last_is_cut);
    let seen = seen.expect("the end of the last connection's check was lost");
    assert!(seen.summary().unwrap().lost > 0);
    assert!(seen.stalls().is_empty(), "{:#?}", seen.stalls());
    assert!(
        cut(&seen).iter().all(|connection| !connection.complete && connection.wrapper_ns < 1_000_000_000)
    );

    let replayed = replay(&trace);
    assert!(replayed.stalls().is_empty(), "{:#?}", replayed.stalls());
    let numbers = |seen: &Seen| cut(seen).iter().map(|connection| connection.conn).collect::<Vec<_>>();
    assert_eq!(numbers(&replayed), numbers(&seen));
    let targets = samples(&trace).into_iter().flat_map(|sample| sample.targets);
    let seen_threads: Vec<_> = targets.filter(|target| !target.accept_threads.is_empty()).collect();
    let looked = seen_threads.iter().flat_map(|target| &target.accept_threads);
    let found = looked.filter(|thread| thread.at_listener).count();
    assert_eq!(found, 1, "it is looked for once: {seen_threads:#?}, {:#?}", cut(&seen));
}
