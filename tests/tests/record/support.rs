//! What several tests need.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use wrapwatch::model::Connection;
use wrapwatch_tests::{
    clients::{ClientResult, Outcome},
    lab::{Lab, LabConfig},
    watch::{Seen, binary},
};

pub const NS1: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 53));
pub const NS2: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 54));
pub const SECOND_NS: i128 = 1_000_000_000;

pub fn lab() -> Lab {
    Lab::start(LabConfig::default()).unwrap()
}

/// Runs `wrapwatch` to its end.
pub fn wrapwatch<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(binary().unwrap()).args(args).output().unwrap()
}

/// What a trace tells.
pub fn replay(file: &Path) -> Seen {
    let output = wrapwatch(["replay".as_ref(), "--json".as_ref(), file.as_os_str()]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    Seen { lines, stderr, status: output.status.code() }
}

/// A connection without its wall-clock times, and these: they are told by the pair of clocks in force, which is another one a moment later.
pub fn timeless(connection: &Connection) -> (Value, Vec<i128>) {
    let mut value = serde_json::to_value(connection).unwrap();
    let object = value.as_object_mut().unwrap();
    for name in ["established", "accepted"] {
        object.remove(name);
    }
    if let Some(left) = object.get_mut("client_left").and_then(Value::as_object_mut) {
        left.remove("at");
    }
    let times = connection.established.into_iter().chain([connection.accepted]);
    (value, times.map(|at| at.0.as_nanosecond()).collect())
}

/// When a connection was accepted, nanoseconds since 1970.
pub fn accepted(connection: &Connection) -> i128 {
    connection.accepted.0.as_nanosecond()
}

/// The connections by number.
pub fn by_number(seen: &Seen) -> BTreeMap<u64, &Connection> {
    seen.connections().into_iter().map(|connection| (connection.conn, connection)).collect()
}

/// What a connection's lookups asked, and what came of it.
pub fn asked(connection: &Connection) -> Vec<String> {
    let queries = connection.lookups.iter().flat_map(|lookup| &lookup.queries);
    queries
        .map(|query| {
            let name = query.qname.as_deref().unwrap_or("?");
            format!("{name} {:?} at {:?}: {:?}", query.qtype, query.server, query.outcome)
        })
        .collect()
}

/// Everything that was told more than a second before `end` is in the trace.
pub fn assert_all_but_the_last_second(told: &Seen, trace: &Seen, end: i128) {
    let kept = by_number(trace);
    let mut old = 0;
    for connection in told.connections() {
        if accepted(connection) < end - SECOND_NS {
            old += 1;
            assert!(
                kept.contains_key(&connection.conn),
                "accepted {} ms before the end and not in the trace: {connection:#?}",
                (end - accepted(connection)) / 1_000_000
            );
        }
    }
    assert!(old > 0, "nothing is older than a second: nothing was tested");
}

/// The server served everybody as if nobody looked.
pub fn assert_all_greeted(clients: &[ClientResult]) {
    for client in clients {
        assert_eq!(client.outcome, Outcome::Greeting, "{client:?}");
    }
}

/// Now, nanoseconds since 1970.
pub fn wall_now() -> i128 {
    i128::from(wrapwatch::host::clock::pair().wall_ns)
}
