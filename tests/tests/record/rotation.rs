//! A recording in several files, each readable alone.

use std::path::PathBuf;

use wrapwatch_tests::{clients::ClientsSpec, watch::Watch};

use crate::support::{by_number, lab, replay};

#[test]
fn every_file_is_readable_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let lab = lab();
    let args = ["--max-size", "24K", "--keep", "2"];
    let mut recorder = Watch::record(lab.server_pid().unwrap(), &file, args).unwrap();
    // Long enough for several blocks: one a second.
    let load = ClientsSpec { count: 600, concurrency: 10, stagger_us: 10_000, ..ClientsSpec::default() };
    lab.clients(load).unwrap();
    // More in a second than one file may have.
    lab.clients(ClientsSpec { count: 600, concurrency: 10, ..ClientsSpec::default() }).unwrap();
    // What is in the ring when it is to end counts as lost where it would take long.
    recorder.wait_connections(1_200).unwrap();
    let told = recorder.stop().unwrap();
    assert_eq!(told.status, Some(0), "{}", told.stderr);

    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    // Numbered ones sort before the one that was written last: a.000001.wwt, a.wwt.
    assert_eq!(files.len(), 3, "{files:?}");
    assert_eq!(files[2], file);
    assert_ne!(files[0], dir.path().join("a.000001.wwt"), "the first ones have gone");
    let mut last = 0;
    for file in &files {
        assert!(std::fs::metadata(file).unwrap().len() <= 24 << 10, "{}", file.display());
        let trace = replay(file);
        assert_eq!(trace.stderr, "", "{}", file.display());
        let connections = by_number(&trace);
        assert!(connections.keys().all(|conn| *conn > last), "{}", file.display());
        last = connections.keys().next_back().map_or(last, |conn| *conn);
        let whole: Vec<_> = connections.values().filter(|connection| connection.complete).collect();
        // The last one may have only just begun.
        assert!(!whole.is_empty() || *file == files[2], "{}", file.display());
        for connection in whole {
            // The tables are in each file.
            assert_eq!(connection.rule.as_ref().unwrap().text.as_deref(), Some("ALL: .lab.example"));
        }
    }
    assert_eq!(last, 1_200);
}
