//! What wrapwatch costs, said by itself, and the limit to what the server pays.

use std::{path::Path, process::Command};

use wrapwatch::model::{Cost, DegradationKind, Line, doctor::Doctor};
use wrapwatch_tests::{
    clients::{ClientsSpec, Source},
    lab::{Lab, LabConfig},
    watch::{Watch, binary},
};

/// What it gives; 200 clients come each second for as long as that takes, which is the machine's.
fn while_clients_come<T: Send>(lab: &Lab, work: impl FnOnce() -> T + Send) -> T {
    let second = ClientsSpec {
        count: 200,
        concurrency: 4,
        stagger_us: 5_000,
        source: Source::Distinct(500),
        ..ClientsSpec::default()
    };
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        while !work.is_finished() {
            lab.clients(second.clone()).unwrap();
        }
        work.join().unwrap()
    })
}

/// Figures that can be true: times of a program's run are tens to thousands of nanoseconds, shares are shares.
fn plausible(cost: &Cost) {
    assert!(cost.events > 0 && cost.events_per_s > 1.0, "{cost:?}");
    assert!(cost.cpu_ns > 100_000 && cost.cpu_share > 0.0 && cost.cpu_share < 1.0, "{cost:?}");
    assert!((1 << 20..1 << 28).contains(&cost.rss_bytes), "{cost:?}");
    assert!(cost.rss_max_bytes >= cost.rss_bytes, "{cost:?}");
    let server = cost.server.unwrap();
    assert!(server.measured_ns >= 200_000_000 && server.measured_ns <= cost.span_ns, "{cost:?}");
    assert!(server.ns_per_run > 5.0 && server.ns_per_run < 100_000.0, "{cost:?}");
    // Other tests attach and detach meanwhile, so that it may not have been measured.
    assert!(server.way_ns_per_run < server.ns_per_run, "{cost:?}");
    assert!(server.runs_per_s > 10.0, "{cost:?}");
    assert!(server.share > 0.0 && server.share <= server.share_max && server.share_max < 2.0, "{cost:?}");
    // Both are the same measurement.
    let share = server.runs_per_s * server.ns_per_run / 1e9;
    assert!((share - server.share).abs() < 0.01 * share + 2e-6, "{share} {cost:?}");
}

#[test]
fn above_its_limit_it_detaches_and_says_so_everywhere() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let pid = lab.server_pid().unwrap();
    let bearable = Watch::live(["-p", &pid.to_string(), "--max-overhead", "150%"]).unwrap();
    // What others on the machine cost is too much for it, and without clients it would end before the first of them.
    let seen = while_clients_come(&lab, || {
        Watch::record(pid, &file, ["--max-overhead", "0.00001%"]).unwrap().wait().unwrap()
    });
    assert_eq!(seen.status, Some(1));
    assert!(seen.stderr.contains("detached: the programs took"), "{}", seen.stderr);
    assert!(seen.stderr.contains("--max-overhead"), "{}", seen.stderr);
    let kinds = |lines: &[Line]| -> Vec<DegradationKind> {
        let degradations = lines.iter().filter_map(|line| match line {
            Line::Degradation(degradation) => Some(degradation.kind),
            _ => None,
        });
        degradations.collect()
    };
    assert!(kinds(&seen.lines).contains(&DegradationKind::TooExpensive), "{:?}", seen.degradations());
    let cost = seen.summary().unwrap().cost.unwrap();
    plausible(&cost);

    // The trace is whole, and says why it ended.
    let end = end_reason(&file);
    assert!(end.contains("more than the 0.00001 % of --max-overhead"), "{end}");

    // The other one was told the same time and went on.
    let seen = bearable.stop().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    assert!(!kinds(&seen.lines).contains(&DegradationKind::TooExpensive));
    plausible(&seen.summary().unwrap().cost.unwrap());
}

fn end_reason(file: &Path) -> String {
    let source = std::fs::File::open(file).unwrap();
    let mut story = wrapwatch::replay::Replay::new(source, wrapwatch::replay::Options::default());
    let mut kinds = Vec::new();
    while let Some(line) = story.next_line().unwrap() {
        if let Line::Degradation(degradation) = line {
            kinds.push(degradation.kind);
        }
    }
    assert!(kinds.contains(&DegradationKind::TooExpensive), "{kinds:?}");
    story.context().end.as_ref().unwrap().reason.clone()
}

#[test]
fn doctor_measures_what_it_would_cost() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    let mut doctor = Command::new(binary().unwrap());
    doctor.args(["doctor", "--json", "--no-queries", "--measure", "-p", &pid.to_string()]);
    let output = while_clients_come(&lab, || doctor.output().unwrap());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let doctor: Doctor = serde_json::from_slice(&output.stdout).unwrap();
    let cost = doctor.measured.unwrap();
    plausible(&cost);
    assert!(cost.span_ns > 9_000_000_000, "{cost:?}");
    // All the time but for the beginning.
    assert!(cost.server.unwrap().measured_ns > cost.span_ns / 2, "{cost:?}");
}
