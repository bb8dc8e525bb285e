//! A copy, correlated, tells what the original tells.

use std::collections::HashMap;

use serde_json::Value;

use super::*;
use crate::correlate::{Config, Correlator, TargetInfo};
use crate::decode::decode;
use crate::model::Connection;

fn connections(trace: &[u8]) -> Vec<Connection> {
    let mut reader = Reader::new(trace);
    let Some(Item::Head(head)) = reader.next_item().unwrap() else { panic!("no head") };
    let sees_handshakes = !head.degradations.iter().any(|d| d.kind == DegradationKind::NoQueueTime);
    let mut correlator = Correlator::new(Config { sees_handshakes, ..Config::new(head.clock) });
    correlator.add_target(head.targets[0].pid, TargetInfo::default());
    let mut out = Vec::new();
    let mut last = KtimeNs(0);
    while let Some(item) = reader.next_item().unwrap() {
        let Item::Record(record) = item else { continue };
        let event = decode(record).unwrap();
        last = KtimeNs(event.header().ts_ns.max(last.0));
        correlator.push(&event);
        out.extend(std::iter::from_fn(|| correlator.pop()));
    }
    correlator.finish(last);
    out.extend(std::iter::from_fn(|| correlator.pop()));
    out
}

/// Gives every address and name the number of its first appearance, so that two stories about different names can be compared.
fn anonymous(value: &mut Value, key: &str, seen: &mut HashMap<String, usize>) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| anonymous(value, key, seen)),
        Value::Array(values) => values.iter_mut().for_each(|value| anonymous(value, key, seen)),
        Value::String(text)
            if ["peer", "local", "server", "name", "qname", "answers", "what"].contains(&key) =>
        {
            // Ports stay, and are compared.
            let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
            let next = seen.len();
            let number = *seen.entry(host.to_owned()).or_insert(next);
            *text = format!("{number}:{port}");
        }
        _ => {}
    }
}

fn story(trace: &[u8]) -> Vec<Value> {
    let mut seen = HashMap::new();
    connections(trace)
        .iter()
        .map(|connection| {
            let mut value = serde_json::to_value(connection).unwrap();
            anonymous(&mut value, "", &mut seen);
            value
        })
        .collect()
}

#[test]
fn the_copy_tells_the_same_story() {
    let mut traces: Vec<Vec<u8>> = CAPTURES.iter().map(|log| capture(log)).collect();
    traces.push(rich());
    for (trace, connections) in traces.iter().zip([3, 3, 3, 20, 20]) {
        let (copy, _) = redacted(trace, key());
        let (before, after) = (story(trace), story(&copy));
        assert_eq!(before.len(), connections);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
        assert_eq!(before.len(), after.len());
        let text = serde_json::to_string(&before).unwrap();
        assert!(text.contains("\"reverse\"") && text.contains("\"PTR\""), "lookups are part of it");
    }
}
