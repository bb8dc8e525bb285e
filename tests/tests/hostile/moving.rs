//! Tables of a mebibyte that are others ten times a second.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use wrapwatch::model::{Connection, Line};
use wrapwatch_tests::watch::{Seen, Watch};

use crate::support::{Den, Server, peak_kb, snapshots, wrapwatch};

/// Tables that the server has in turn.
const TABLES: usize = 16;
/// What wrapwatch may have in memory, by the order of magnitude: without a bound it is gigabytes.
const MOST_KB: u64 = 200 << 10;

/// The server, and its tables by path with the rule that lets everybody in, after lines that are this one.
pub fn server(den: &Den, line: &str) -> (Server, BTreeMap<String, String>) {
    let table = |n: usize| {
        let rule = format!("ALL: 127.0.0.1 10.9.9.{n}");
        let content = format!("{}{rule}\n", line.repeat((1 << 20) / line.len() - 16));
        (den.file(&format!("allow.{n}"), content.as_bytes()), rule)
    };
    let tables: BTreeMap<_, _> = (0..TABLES).map(table).collect();
    let deny = den.file("hosts.deny", b"ALL: ALL\n");
    let paths: Vec<&str> = tables.keys().map(String::as_str).collect();
    let args: Vec<&str> = [&[paths[0], &deny], paths.as_slice()].concat();
    (den.serve(&args), tables)
}

/// What a rule's text may depend on.
fn told(seen: &[Line]) -> BTreeMap<u64, String> {
    let of = |connection: &Connection| {
        let rule = connection.verdict_rule.as_ref();
        let rule = rule.map(|rule| format!("{}:{} {:?}", rule.file, rule.line, rule.text));
        (connection.conn, format!("{:?} {} {rule:?}", connection.outcome, connection.complete))
    };
    seen.iter()
        .filter_map(|line| if let Line::Connection(connection) = line { Some(of(connection)) } else { None })
        .collect()
}

fn replayed(trace: &Path) -> Vec<Line> {
    let output = wrapwatch(["replay".as_ref(), "--json".as_ref(), trace.as_os_str()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Has clients come until `done`, one after another.
fn clients_until(server: &Server, mut done: impl FnMut() -> bool) -> usize {
    let (began, mut clients) = (Instant::now(), 0);
    while !done() {
        assert!(began.elapsed() < Duration::from_mins(1), "it never came too often");
        (0..20).for_each(|_| server.client());
        clients += 20;
    }
    clients
}

#[test]
fn a_table_that_moves_is_told_the_same_live_and_from_the_trace() {
    let den = Den::new();
    let (server, tables) = server(&den, &format!("nobody: {}\n", "10.8. ".repeat(40)));
    let trace = den.path("t.wwt");
    let watch = Watch::record(server.pid(), &trace, ["--force"]).unwrap();
    let is_marked = || snapshots(&trace).iter().filter(|(_, text)| is_too_often(text)).count() >= 2;
    let clients = clients_until(&server, is_marked);
    let Seen { lines, stderr, status } = watch.stop().unwrap();
    assert_eq!(status, Some(0), "{stderr}");
    let live = told(&lines);
    assert_eq!(live.len(), clients, "{stderr}");
    assert_eq!(live, told(&replayed(&trace)));
    assert_quoted(&lines, &tables);
}

#[test]
fn a_table_that_moves_takes_no_more_memory_than_others() {
    let den = Den::new();
    // Short lines take most when they are taken apart.
    let (server, _) = server(&den, "a:b\n");
    let trace = den.path("t.wwt");
    let watch = Watch::record(server.pid(), &trace, ["--force"]).unwrap();
    let is_marked = || snapshots(&trace).iter().filter(|(_, text)| is_too_often(text)).count() >= 2;
    clients_until(&server, is_marked);
    let peak = peak_kb(watch.id());
    assert_eq!(watch.stop().unwrap().status, Some(0));
    assert!(peak < MOST_KB, "{peak} kB");
}

fn is_too_often(text: &Result<String, String>) -> bool {
    text.as_ref().is_err_and(|why| why.contains("changed again too soon"))
}

/// Every rule that is quoted is one of the table that it is said to be of, and some are: a version that is not known is not taken from a neighbour.
fn assert_quoted(lines: &[Line], tables: &BTreeMap<String, String>) {
    let mut quoted = 0;
    for line in lines {
        let Line::Connection(connection) = line else { continue };
        let Some(rule) = &connection.verdict_rule else { continue };
        if let Some(text) = &rule.text {
            quoted += 1;
            assert_eq!(Some(&**text), tables.get(&*rule.file).map(String::as_str), "{connection:#?}");
        }
    }
    assert!(quoted > 0, "no rule was quoted: nothing was tested");
}
