use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::export::support::looked_up_first;
use crate::model::{Evidence, FindingId, ThreadRole};

/// Keeps what was told.
#[derive(Debug, Default)]
struct Kept(Vec<(Signal, Value)>);

impl TakeBatches for Kept {
    fn batch(&mut self, signal: Signal, _items: u64, json: Vec<u8>) -> io::Result<()> {
        self.0.push((signal, serde_json::from_slice(&json)?));
        Ok(())
    }
}

impl Kept {
    /// Spans, or log records.
    fn items(&self, wanted: Signal) -> Vec<Value> {
        let (of, scoped, items) = match wanted {
            Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
            Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
        };
        let batches = self.0.iter().filter(|(signal, _)| *signal == wanted);
        batches.flat_map(|(_, batch)| batch[of][0][scoped][0][items].as_array().unwrap().clone()).collect()
    }
}

fn otlp(names: bool) -> Otlp<Kept> {
    Otlp::new(Kept::default(), OtlpOptions { slow_ns: 1, names })
}

/// What is told of these lines.
fn told(names: bool, lines: &[Line]) -> Kept {
    let mut otlp = otlp(names);
    lines.iter().for_each(|line| otlp.line(line).unwrap());
    otlp.flush().unwrap();
    otlp.out
}

fn spans(connection: Connection) -> Vec<Value> {
    told(false, &[Line::Connection(Box::new(connection))]).items(Signal::Traces)
}

fn time(span: &Value, which: &str) -> u64 {
    span[which].as_str().unwrap().parse().unwrap()
}

/// A span's begin and end in milliseconds from accept, and the name of what it is a part of.
fn placed<'a>(connection: &Connection, spans: &'a [Value]) -> BTreeMap<&'a str, (u64, u64, &'a str)> {
    let name = |span: &'a Value| span["name"].as_str().unwrap();
    let accepted = since_1970(connection.accepted).0;
    let ms = |span: &Value, which: &str| (time(span, which) - accepted) / 1_000_000;
    let placed = |span: &'a Value| {
        let parent = spans.iter().find(|parent| parent["spanId"] == span["parentSpanId"]).map_or("", name);
        (name(span), (ms(span, "startTimeUnixNano"), ms(span, "endTimeUnixNano"), parent))
    };
    spans.iter().map(placed).collect()
}

#[test]
fn the_check_is_where_it_began() {
    let connection = looked_up_first();
    let spans = spans(connection.clone());
    let placed = placed(&connection, &spans);
    assert_eq!(placed["client wait"], (0, 100, ""));
    assert_eq!(placed["check"], (50, 80, "client wait"));
    // The server's own, though the accept thread waits for it.
    assert_eq!(connection.lookups[0].thread, ThreadRole::Accept);
    assert_eq!(placed["reverse lookup"], (5, 45, "client wait"));
    assert_eq!(placed["query PTR"], (5, 45, "reverse lookup"));
    assert_eq!(placed["forward lookup"], (50, 80, "check"));
    assert_eq!(placed["query A"], (50, 80, "forward lookup"));
}

#[test]
fn names_are_told_where_they_are_wanted() {
    let name = "laptop-of-ann.example";
    let finding = Finding {
        id: FindingId::NameSlow,
        severity: Severity::Warning,
        message: format!("The name {name} is slow."),
        evidence: Evidence {
            facts: vec![format!("{name}: late")],
            names: vec!["laptop-of-ann".to_owned(), name.to_owned()],
            ..Evidence::default()
        },
        change: Some(format!("`dig +trace {name}`")),
    };
    for names in [false, true] {
        let mut otlp = otlp(names);
        otlp.finding(&finding, None).unwrap();
        otlp.flush().unwrap();
        let log = &otlp.out.items(Signal::Logs)[0].to_string();
        assert_eq!(log.matches(name).count(), if names { 3 } else { 0 }, "{log}");
        assert_eq!((log.contains("ann"), log.contains("The name … is slow.")), (names, !names), "{log}");
    }
}

#[test]
fn ids_are_of_what_they_name() {
    let at = |second: i64| WallTime(jiff::Timestamp::from_second(second).unwrap());
    let ids = Ids::of("db1", at(7));
    assert_eq!(ids.trace(1), Ids::of("db1", at(7)).trace(1));
    for other in [Ids::of("db2", at(7)).trace(1), Ids::of("db1", at(8)).trace(1), ids.trace(2)] {
        assert_ne!(ids.trace(1), other);
    }
    assert_ne!(ids.span(1, &[]), ids.span(1, &[1]));
    assert_ne!(ids.span(1, &[3, 0]), ids.span(1, &[3, 0, 0]));
    let text = serde_json::to_string(&(ids.trace(1), ids.span(1, &[]))).unwrap();
    assert_eq!(text.len(), r#"["0123456789abcdef0123456789abcdef","0123456789abcdef"]"#.len());
}
