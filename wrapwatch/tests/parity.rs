//! One trace, three commands: `replay --json`, `export --to jsonl` and `report --json` say the same, line by line; of whole traces, imports, and traces
//! that were damaged, lost records, or were written with full maps.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wrapwatch::model::Lost;
use wrapwatch::trace::{End, Input, Reader, SingleFile, Writer, WriterOptions};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

fn wrapwatch(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wrapwatch")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same trace with every so manyth record lost, and maps that were full meanwhile.
fn with_losses(trace: &[u8], every: usize) -> Vec<u8> {
    let mut reader = Reader::new(trace);
    let mut writer: Option<Writer<SingleFile<Vec<u8>>>> = None;
    let mut count = 0;
    while let Some(input) = reader.next_input().unwrap() {
        let Some(writer) = &mut writer else {
            let Input::Head(head) = input else { panic!("the head comes first") };
            writer = Some(Writer::new(SingleFile::new(Vec::new()), &head, WriterOptions::offline()).unwrap());
            continue;
        };
        count += usize::from(matches!(input, Input::Record(_)));
        if matches!(input, Input::Record(_)) && count % every == 0 {
            let by = [("lost_file", 1), ("full_watch", 2)].map(|(name, n)| (name.to_owned(), n)).into();
            let lost = Lost { events: 3, by, since_ns: None, until_ns: None };
            writer.write(&lost.into()).unwrap();
        } else if !matches!(input, Input::End(_) | Input::Damage(_)) {
            writer.write(&input).unwrap();
        }
    }
    let (file, ended) = writer.unwrap().finish(End { reason: "asked to end".to_owned(), ..End::default() });
    ended.unwrap();
    file.into_inner()
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// Checks one trace, and says how many connections and losses it has.
fn check(file: &Path) -> (usize, usize) {
    let file = file.to_str().unwrap();
    let replayed = wrapwatch(&["replay", "--json", "--speed", "max", file]);
    assert_eq!(replayed, wrapwatch(&["export", "--to", "jsonl", file]), "{file}");
    let lines: Vec<Value> = replayed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report: Value =
        serde_json::from_str(&wrapwatch(&["report", "--json", "--slowest", "1000", file])).unwrap();
    let bare = |line: &Value| {
        let mut line = line.clone();
        line.as_object_mut().unwrap().remove("type");
        line
    };
    let connections = of_type(&lines, "connection");
    // One of the traces was joined from several: a number alone comes more than once.
    let key = |c: &Value| (c["accepted"].to_string(), c["conn"].as_u64());
    let by_number = |all: Vec<Value>| all.into_iter().map(|c| (key(&c), c)).collect::<BTreeMap<_, _>>();
    assert_eq!(by_number(connections.iter().map(|line| bare(line)).collect()).len(), connections.len());
    assert_eq!(
        by_number(report["connections"].as_array().unwrap().clone()),
        by_number(connections.iter().map(|line| bare(line)).collect()),
        "{file}"
    );
    assert_eq!(report["summary"], bare(of_type(&lines, "summary")[0]), "{file}");
    (connections.len(), of_type(&lines, "lost").len())
}

#[test]
fn the_commands_say_the_same_of_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut traces: Vec<PathBuf> =
        ["format-1-abi-1.wwt", "format-1-abi-2.wwt"].map(|name| data("traces").join(name)).into();
    let logs =
        ["captures/mysqld-5.5.62/c-timeout.ttt.log", "captures/mysqld-5.5.62/e2-20conc-delay300.ttt.log"];
    let cases = ["D6-threaddns.log", "F5-min-fork.log", "F8-min-eacces.log"];
    let logs = logs.map(data).into_iter().chain(cases.map(|name| data("field-cases/strace").join(name)));
    for (n, log) in logs.enumerate() {
        let trace = dir.path().join(format!("{n}.wwt"));
        let date = ["--date", "2026-11-20"];
        let args =
            ["import", "strace", log.to_str().unwrap(), "-o", trace.to_str().unwrap(), date[0], date[1]];
        wrapwatch(&args);
        traces.push(trace);
    }
    let mut all = (0, 0);
    for (n, trace) in traces.iter().enumerate() {
        let bytes = std::fs::read(trace).unwrap();
        let changed = dir.path().join(format!("changed-{n}.wwt"));
        let cut = |tenths: usize| bytes[..bytes.len() * tenths / 10].to_vec();
        let mut damaged = bytes.clone();
        let middle = bytes.len() / 2;
        damaged[middle] ^= 0x55;
        for other in [bytes.clone(), with_losses(&bytes, 3), with_losses(&bytes, 17), cut(9), cut(7), damaged]
        {
            std::fs::write(&changed, other).unwrap();
            let (connections, lost) = check(&changed);
            all = (all.0 + connections, all.1 + lost);
        }
    }
    assert!(all.0 > 100 && all.1 > 20, "{all:?}");
}
