//! A trace for Perfetto, decoded by Perfetto's own definitions: nothing unknown in it, slices nest, arrows begin and end, the times are the connections'.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, DynamicMessage, Value as Field};
use serde_json::Value;
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig},
    nameserver::Rule,
    watch::Watch,
};

use crate::support::wrapwatch;

/// Perfetto's definitions of the messages that are used, out of its package of 59.1 (tests/data/perfetto/README.md).
const DEFINITIONS: &[u8] = include_bytes!("../../data/perfetto/perfetto_trace.binpb");

/// Fails where there is something that the definitions do not know.
fn all_is_known(field: &Field) {
    match field {
        Field::Message(message) => {
            assert_eq!(message.unknown_fields().count(), 0, "{message:?}");
            message.fields().for_each(|(_, field)| all_is_known(field));
        }
        Field::List(fields) => fields.iter().for_each(all_is_known),
        _ => {}
    }
}

fn packets(bytes: &[u8]) -> Vec<Value> {
    let pool = DescriptorPool::decode(DEFINITIONS).unwrap();
    let trace = pool.get_message_by_name("perfetto.protos.Trace").unwrap();
    let trace = DynamicMessage::decode(trace, bytes).unwrap();
    all_is_known(&Field::Message(trace.clone()));
    let Value::Array(packets) = serde_json::to_value(&trace).unwrap()["packet"].take() else {
        panic!("no packets")
    };
    packets
}

fn number(value: &Value) -> u64 {
    value
        .as_str()
        .map_or_else(|| value.as_u64(), |text| text.parse().ok())
        .unwrap_or_else(|| panic!("{value}"))
}

/// A slice, once it has ended.
#[derive(Debug)]
struct Slice {
    name: String,
    depth: usize,
    dur_ns: u64,
    conn: Option<String>,
}

/// Slices of a track by its events in order of time: each ends, and none ends that did not begin.
fn slices(events: &[(u64, Value)]) -> Vec<Slice> {
    let (mut open, mut slices): (Vec<(u64, &Value)>, Vec<Slice>) = (Vec::new(), Vec::new());
    for (at, event) in events {
        match event["type"].as_str() {
            Some("TYPE_SLICE_BEGIN") => open.push((*at, event)),
            Some("TYPE_SLICE_END") => {
                let (began, event) = open.pop().unwrap_or_else(|| panic!("nothing to end: {events:#?}"));
                let notes = event["debugAnnotations"].as_array().into_iter().flatten();
                let mut conns = notes.filter(|note| note["name"] == "conn");
                let conn = conns.next().map(|note| note["stringValue"].as_str().unwrap().to_owned());
                let name = event["name"].as_str().unwrap().to_owned();
                slices.push(Slice { name, depth: open.len(), dur_ns: at - began, conn });
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    slices
}

#[test]
fn perfetto_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (file, exported) = (dir.path().join("a.wwt"), dir.path().join("a.pftrace"));
    let lab = Lab::start(LabConfig::default()).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    lab.rules([Rule::delay(200)]).unwrap();
    lab.clients(ClientsSpec::at_once(5)).unwrap();
    let told = recorder.stop().unwrap();
    let connections = told.connections();
    assert_eq!(connections.len(), 8);
    let output = wrapwatch([
        "export".as_ref(),
        file.as_os_str(),
        "--to".as_ref(),
        "perfetto".as_ref(),
        "-o".as_ref(),
        exported.as_os_str(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let packets = packets(&std::fs::read(&exported).unwrap());
    let mut tracks = BTreeMap::new();
    let mut events: BTreeMap<u64, Vec<(u64, Value)>> = BTreeMap::new();
    for packet in &packets {
        if let Some(track) = packet.get("trackDescriptor") {
            let name = track["name"].as_str().or_else(|| track["process"]["processName"].as_str());
            tracks.insert(number(&track["uuid"]), name.unwrap().to_owned());
        }
        if let Some(event) = packet.get("trackEvent") {
            let track = number(&event["trackUuid"]);
            assert!(tracks.contains_key(&track), "a track is described before it is used: {event}");
            events.entry(track).or_default().push((number(&packet["timestamp"]), event.clone()));
        }
    }
    // As Perfetto does: by time, else as written.
    events.values_mut().for_each(|events| events.sort_by_key(|(at, _)| *at));
    let of = |prefix: &str| {
        let named = tracks.iter().filter(move |(_, name)| name.starts_with(prefix));
        named.flat_map(|(track, _)| slices(events.get(track).map_or(&[], Vec::as_slice))).collect::<Vec<_>>()
    };
    let clients = of("clients ");
    let whole: BTreeMap<&str, u64> =
        clients.iter().filter_map(|slice| Some((slice.conn.as_deref()?, slice.dur_ns))).collect();
    for connection in &connections {
        assert_eq!(whole[connection.conn.to_string().as_str()], connection.waited_ns, "{connection:#?}");
    }
    assert!(clients.iter().any(|slice| slice.name == "queued" && slice.depth == 1));
    let checks = of("accept thread ");
    let held = checks.iter().filter(|slice| slice.depth == 0).count();
    assert_eq!(held, 8, "{checks:#?}");
    let lookups = connections.iter().map(|connection| connection.lookups.len()).sum::<usize>();
    assert_eq!(checks.iter().filter(|slice| slice.depth == 1).count(), lookups, "{checks:#?}");
    // Five waited at once.
    let places = tracks.values().filter(|name| name.starts_with("clients ")).count();
    assert!((2..=6).contains(&places), "{tracks:?}");

    let ids = |name: &'static str| {
        let all = events
            .iter()
            .flat_map(|(track, events)| events.iter().map(move |(at, event)| (*track, *at, event)));
        all.flat_map(move |(track, at, event)| {
            event[name]
                .as_array()
                .into_iter()
                .flatten()
                .map(move |id| (number(id), (track, at)))
                .collect::<Vec<_>>()
        })
        .collect::<Vec<_>>()
    };
    let (begun, ended) = (ids("flowIds"), ids("terminatingFlowIds"));
    let behind = connections.iter().map(|connection| connection.queued_behind.len()).sum::<usize>();
    assert!(behind > 0, "nobody was queued behind anybody");
    assert_eq!((begun.len(), ended.len()), (behind, behind));
    let begun: BTreeMap<u64, (u64, u64)> = begun.into_iter().collect();
    for (id, (track, at)) in ended {
        let (from, since) = begun[&id];
        assert!(from != track && since <= at, "{id}: {since} to {at}");
        assert!(tracks[&from].starts_with("accept thread "));
    }
    let counters: BTreeSet<&str> = tracks.values().map(|name| name.split(' ').next().unwrap()).collect();
    assert!(counters.contains("accept"), "{tracks:?}");
    let busy = tracks.iter().find(|(_, name)| name.ends_with(" busy")).unwrap().0;
    let shares: Vec<f64> =
        events[busy].iter().map(|(_, event)| event["doubleCounterValue"].as_f64().unwrap()).collect();
    assert!(
        shares.iter().all(|share| (0.0..=100.0).contains(share)) && shares.iter().any(|share| *share > 30.0),
        "{shares:?}"
    );
}
