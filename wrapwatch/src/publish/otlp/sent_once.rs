//! What one run could not send the next one sends, and nothing twice.

use std::path::PathBuf;

use super::*;
use crate::export::otlp::Sampling;
use crate::publish::tests::{Recorder, read_on, rotating, value, waits};
use crate::publish::{Polled, Publisher};
use crate::trace::Limits;

/// Everybody who waited at all.
const ALL: Wanted = Wanted { slow_ns: Some(1), sampling: Sampling::NONE, names: false };

#[test]
fn what_was_not_sent_a_later_run_sends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let mut recorder = Recorder::begin(&path, 1, Limits::default());
    recorder.blocks(10);
    recorder.end();
    let begin = |position: Option<PathBuf>| {
        let outbox = Outbox::default();
        let mut publisher = Publisher::new(&path, true, position).unwrap();
        publisher.send_to(&outbox, ALL);
        (publisher, outbox)
    };
    let (mut whole, outbox) = begin(None);
    read_on(&mut whole);
    let all = outbox.unsent();
    for is_taken in [false, true] {
        let position = dir.path().join(format!("position-{is_taken}"));
        let (mut earlier, outbox) = begin(Some(position.clone()));
        // There is more to read, and what is told so far fills no batch.
        while waits(&earlier) == 0 {
            assert_eq!(earlier.poll(100).unwrap(), Polled::More);
        }
        earlier.published().unwrap();
        let (told, counted) = (outbox.unsent(), waits(&earlier));
        assert!(0 < told && told < all, "{told} of {all}");
        if is_taken {
            let batch = outbox.take().unwrap();
            outbox.taken(&batch, 0);
            assert!(outbox.is_empty());
        }
        earlier.published().unwrap();
        let (mut later, outbox) = begin(Some(position));
        assert_eq!((later.is_ready(), later.is_sending()), (false, false));
        read_on(&mut later);
        assert_eq!((later.is_ready(), later.is_sending()), (true, true));
        assert_eq!(outbox.unsent(), if is_taken { all - told } else { all }, "taken: {is_taken}");
        assert_eq!(waits(&later), 100 - counted);
    }
}

#[test]
fn what_was_sent_since_it_was_last_counted_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wwt");
    let mut recorder = Recorder::begin(&path, 1, Limits::default());
    recorder.blocks(10);
    recorder.end();
    for is_counted in [false, true] {
        let position = dir.path().join(format!("position-{is_counted}"));
        let begin = || {
            let outbox = Outbox::default();
            let mut publisher = Publisher::new(&path, true, Some(position.clone())).unwrap();
            publisher.send_to(&outbox, ALL);
            (publisher, outbox)
        };
        let (mut earlier, outbox) = begin();
        let mut counted = 0;
        while waits(&earlier) == 0 {
            assert_eq!(earlier.poll(100).unwrap(), Polled::More);
        }
        if is_counted {
            earlier.published().unwrap();
            counted = waits(&earlier);
        }
        read_on(&mut earlier);
        earlier.sent().unwrap();
        while let Some(batch) = outbox.take() {
            outbox.taken(&batch, 0);
        }
        earlier.sent().unwrap();
        // Killed before it counts anything of its own.
        let (mut next, _outbox) = begin();
        next.poll(1).unwrap();
        next.sent().unwrap();
        let (mut later, outbox) = begin();
        read_on(&mut later);
        assert_eq!((outbox.unsent(), waits(&later)), (0, 100 - counted), "counted: {is_counted}");
    }
}

#[test]
fn a_later_run_says_what_was_never_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (path, position) = (dir.path().join("a.wwt"), dir.path().join("position"));
    let begin = || {
        let outbox = Outbox::default();
        let mut publisher = Publisher::new(&path, true, Some(position.clone())).unwrap();
        publisher.send_to(&outbox, ALL);
        (publisher, outbox)
    };
    let mut recorder = Recorder::begin(&path, 1, rotating(20_000, Some(1)));
    let (mut earlier, _outbox) = begin();
    // While the collector takes nothing, what is counted is far ahead of what is sent.
    for _ in 0..60 {
        recorder.blocks(1);
        read_on(&mut earlier);
        earlier.published().unwrap();
    }
    let (mut later, _outbox) = begin();
    read_on(&mut later);
    assert_eq!((waits(&later), value(&later, "wrapwatch_files_missed_total")), (0, 0));
    let notes = later.take_notes();
    assert!(notes.len() == 1 && notes[0].contains("may not all have been sent"), "{notes:?}");
}
