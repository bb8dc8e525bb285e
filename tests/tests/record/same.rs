//! One run, told by the recorder as it came, by `live` beside it, and by the trace.

use std::path::Path;

use wrapwatch::model::Line;
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::Files,
    nameserver::Rule,
    next_tick,
    watch::{Seen, Watch},
};

use crate::support::{asked, by_number, lab, replay, timeless, wrapwatch};

/// Two readings of the same clock, apart by what adjtime(3) may have turned it in a second.
const CLOCK_NS: i128 = 1_000_000;

/// Twenty clients behind one slow lookup, three refused, all of it seen by two.
fn run(file: &Path) -> (Seen, Seen) {
    let lab = lab();
    let pid = lab.server_pid().unwrap();
    let live = Watch::pid(pid).unwrap();
    let recorder = Watch::record(pid, file, ["--slow", "50ms"]).unwrap();
    // The tables change in the middle, and the rules quoted with them.
    lab.rules([Rule::delay(2_200).name("1.0.2.10.in-addr.arpa")]).unwrap();
    lab.clients(ClientsSpec::at_once(20)).unwrap();
    next_tick().unwrap();
    lab.files(Files::tables("sshd: ALL\n", "# nobody\nALL: .lab.example\n")).unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    (recorder.stop().unwrap(), live.stop().unwrap())
}

#[test]
fn a_trace_tells_what_was_seen_live() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let (told, live) = run(&file);
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    let trace = replay(&file);
    assert_eq!(trace.stderr, "");

    // What the recorder's own session said comes from the same records: equal to the last nanosecond.
    let (first, second) = (by_number(&told), by_number(&trace));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    assert_eq!(first.len(), 23);
    for (conn, connection) in &first {
        let ((value, times), (replayed, replayed_times)) = (timeless(connection), timeless(second[conn]));
        assert_eq!(value, replayed);
        for (at, replayed) in times.iter().zip(&replayed_times) {
            assert!((at - replayed).abs() < CLOCK_NS, "{at} became {replayed}");
        }
    }
    let (mut summary, mut replayed) = (told.summary().unwrap().clone(), trace.summary().unwrap().clone());
    for summary in [&mut summary, &mut replayed] {
        (summary.from, summary.to) = (None, None);
    }
    assert_eq!(summary, replayed);

    // Stalls are told once a second, but not at the same moments of it.
    assert!(told.stalls().len() >= 2, "{:?}", told.stalls());
    assert!(trace.stalls().len() >= 2, "{:?}", trace.stalls());
    let named = |seen: &Seen| {
        let stall = seen.stalls()[0];
        (stall.name.clone(), stall.server.clone(), stall.rule.clone(), stall.conn)
    };
    assert_eq!(named(&told), named(&trace));
    assert_eq!(trace.stalls()[0].name.as_deref(), Some("1.0.2.10.in-addr.arpa"));

    // Another wrapwatch has its own probes and times, but sees the same happen.
    assert_eq!(live.connections().len(), 23);
    for connection in live.connections() {
        let recorded = trace.of(&connection.peer.unwrap().to_string()).unwrap();
        assert_eq!(connection.outcome, recorded.outcome);
        assert_eq!(asked(connection), asked(recorded));
        assert_eq!(connection.rule, recorded.rule);
        assert_eq!(connection.verdict_rule, recorded.verdict_rule);
        assert_eq!(connection.queued_behind_count > 0, recorded.queued_behind_count > 0);
    }
}

#[test]
fn the_schema_describes_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let (told, live) = run(&file);
    let schema = serde_json::from_slice(&wrapwatch(["schema"]).stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let exported = wrapwatch(["export", "--to", "jsonl", file.to_str().unwrap()]).stdout;
    let exported = String::from_utf8(exported).unwrap();
    let mut seen = [0; 6];
    let printed = told.lines.iter().chain(&live.lines).map(|line| serde_json::to_value(line).unwrap());
    for value in printed.chain(exported.lines().map(|line| serde_json::from_str(line).unwrap())) {
        if let Err(error) = validator.validate(&value) {
            panic!("{error}: {value:#}");
        }
        let line: Line = serde_json::from_value(value).unwrap();
        seen[match line {
            Line::Connection(_) => 0,
            Line::Stall(_) => 1,
            Line::Degradation(_) => 2,
            Line::Lost(_) => 3,
            Line::Summary(_) => 4,
            Line::Request(_) => 5,
        }] += 1;
    }
    assert!(seen[0] == 3 * 23 && seen[1] >= 4 && seen[4] == 3, "{seen:?}");
    // It is not one that admits everything.
    for wrong in
        [r#"{"type":"connection"}"#, r#"{"type":"rumour"}"#, r#"{"type":"lost","events":-1,"by":[]}"#]
    {
        assert!(!validator.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
    }
}
