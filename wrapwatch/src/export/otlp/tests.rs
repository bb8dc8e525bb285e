use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::export::support::looked_up_first;
use crate::model::{ClockPair, DegradationKind, Evidence, FindingId, Outcome, StallCause, ThreadRole};

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
            Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        };
        let batches = self.0.iter().filter(|(signal, _)| *signal == wanted);
        batches.flat_map(|(_, batch)| batch[of][0][scoped][0][items].as_array().unwrap().clone()).collect()
    }
}

/// Of clients that waited at all.
fn otlp(names: bool) -> Otlp<Kept> {
    Otlp::new(Kept::default(), OtlpOptions { slow_ns: 1, sampling: Sampling::NONE, names })
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

fn attributes(item: &Value) -> BTreeMap<String, Value> {
    let attributes = item["attributes"].as_array().unwrap().iter();
    attributes
        .map(|attribute| {
            let value = attribute["value"].as_object().unwrap().values().next().unwrap();
            (attribute["key"].as_str().unwrap().to_owned(), value.clone())
        })
        .collect()
}

#[test]
fn whom_the_server_would_not_have_is_an_error_however_short_its_wait() {
    for (outcome, error) in [
        (Outcome::Dropped, Some("dropped")),
        (Outcome::Refused, Some("refused")),
        (Outcome::ServerError, Some("server_error")),
        (Outcome::Unfinished, None),
        (Outcome::Greeted, None),
    ] {
        let told = Connection { outcome, waited_ns: 0, client_left: None, ..looked_up_first() };
        let spans = spans(told);
        assert_eq!(spans.is_empty(), error.is_none(), "{outcome:?}");
        let Some(error) = error else { continue };
        assert_eq!((&spans[0]["status"]["message"], &spans[0]["status"]["code"]), (&error.into(), &2.into()));
        assert_eq!(attributes(&spans[0])["error.type"], error);
    }
}

#[test]
fn what_is_not_known_of_a_wait_is_said() {
    let queued = |queued_ns: Option<u64>| {
        let spans = spans(Connection { queued_ns, ..looked_up_first() });
        let queue = spans.iter().any(|span| span["name"] == "queue");
        (attributes(&spans[0])["wrapwatch.queue_seen"].clone(), queue)
    };
    assert_eq!(queued(Some(7)), (true.into(), true));
    assert_eq!(queued(Some(0)), (true.into(), false));
    assert_eq!(queued(None), (false.into(), false));
    for (since_attach, said) in [(false, " for 5.00 s: dns"), (true, " for at least 5.00 s: dns")] {
        let log = &told(false, &[Line::Stall(stall(since_attach))]).items(Signal::Logs)[0];
        assert_eq!(attributes(log)["wrapwatch.since_attach"], since_attach);
        assert!(log["body"]["stringValue"].as_str().unwrap().ends_with(said), "{log}");
    }
}

fn stall(since_attach: bool) -> Stall {
    Stall {
        at: WallTime(jiff::Timestamp::UNIX_EPOCH),
        pid: 812,
        tid: 812,
        conn: None,
        peer: None,
        blocked_ns: 5_000_000_000,
        since_attach,
        cause: StallCause::Dns,
        lookup: None,
        name: None,
        server: None,
        table: None,
        rule: None,
        queued: None,
        queue_limit: None,
    }
}

#[test]
fn what_cannot_be_seen_is_told_once_a_recording() {
    let clock = |second: u64| {
        let ns = second * 1_000_000_000;
        ClockPair { ktime: KtimeNs(ns), wall_ns: i64::try_from(ns).unwrap() }
    };
    let degradation = |pid: Option<u32>| Degradation {
        kind: DegradationKind::NoQueueTime,
        pid,
        message: "how long a client was queued cannot be seen".to_owned(),
    };
    let mut otlp = otlp(false);
    // A recording of two files, and another one.
    for (began, file) in [(1, 0), (1, 1), (9, 0)] {
        otlp.input(&(&Head { clock: clock(began), file, ..Head::default() }).into()).unwrap();
        otlp.input(&Input::Clock(clock(began + 5))).unwrap();
        for pid in [None, Some(7)] {
            otlp.line(&Line::Degradation(degradation(pid))).unwrap();
        }
    }
    otlp.flush().unwrap();
    let logs = otlp.out.items(Signal::Logs);
    let told: Vec<_> = logs
        .iter()
        .map(|log| (time(log, "timeUnixNano") / 1_000_000_000, attributes(log).get("process.pid").cloned()))
        .collect();
    let seven = Some(Value::from("7"));
    assert_eq!(told, [(6, None), (6, seven.clone()), (14, None), (14, seven)]);
    assert_eq!(attributes(&logs[0])["wrapwatch.degradation"], "no-queue-time");
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

#[test]
fn of_those_who_waited_for_nothing_a_share_is_told_and_the_slow_ones_always() {
    let mut otlp = otlp(false);
    otlp.options = OtlpOptions { slow_ns: 500, sampling: Sampling::of(0.25), names: false };
    for conn in 0..400 {
        let waited_ns = if conn < 100 { 500 } else { 499 };
        let told =
            Connection { conn, waited_ns, outcome: Outcome::Greeted, client_left: None, ..looked_up_first() };
        otlp.line(&Line::Connection(Box::new(told))).unwrap();
    }
    otlp.flush().unwrap();
    let spans = otlp.out.items(Signal::Traces);
    // Each that is told has all of its spans, and each of them says how it was chosen.
    let (mut parts, mut slow, mut others) = (BTreeMap::<&str, usize>::new(), 0, 0);
    for span in &spans {
        *parts.entry(span["traceId"].as_str().unwrap()).or_default() += 1;
        let Some(conn) = attributes(span).get("wrapwatch.conn").cloned() else { continue };
        let is_slow = conn.as_str().unwrap().parse::<u64>().unwrap() < 100;
        *(if is_slow { &mut slow } else { &mut others }) += 1;
        let state = if is_slow { "ot=th:0" } else { "ot=th:c" };
        let of_trace = spans.iter().filter(|other| other["traceId"] == span["traceId"]);
        assert!(of_trace.into_iter().all(|part| part["traceState"] == state), "{span:#}");
    }
    assert_eq!(slow, 100);
    assert!((50..100).contains(&others), "{others}");
    let whole = parts.values().next().unwrap();
    assert!(parts.values().all(|n| n == whole), "{parts:?}");
}

#[test]
fn what_is_counted_is_told_with_when_that_began() {
    let at = |second: i64| WallTime(jiff::Timestamp::from_second(second).unwrap());
    let mut otlp = otlp(false);
    let head = Head { hostname: "db1".to_owned(), ..Head::default() };
    let mut metrics = Metrics::new();
    for observer in [&mut otlp as &mut dyn Observer, &mut metrics] {
        observer.input(&(&head).into()).unwrap();
        observer.line(&Line::Connection(Box::new(looked_up_first()))).unwrap();
    }
    otlp.counted(&metrics, "/var/a.wwt", (at(7), at(9))).unwrap();
    let batch = &otlp.out.0.last().unwrap().1["resourceMetrics"][0];
    let resource = attributes(&batch["resource"]);
    assert_eq!(
        (&resource["host.name"], &resource["service.instance.id"]),
        (&"db1".into(), &"db1:/var/a.wwt".into())
    );
    let all = otlp.out.items(Signal::Metrics);
    let one = |name: &str| {
        all.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("{name}: {all:#?}"))
    };
    let sum = &one("wrapwatch.connections")["sum"];
    assert_eq!((&sum["isMonotonic"], &sum["aggregationTemporality"]), (&true.into(), &2.into()));
    let point = &sum["dataPoints"][0];
    assert_eq!(
        (time(point, "startTimeUnixNano"), time(point, "timeUnixNano")),
        (7_000_000_000, 9_000_000_000)
    );
    assert_eq!((&attributes(point)["outcome"], &point["asDouble"]), (&"greeted".into(), &1.0.into()));
    let wait = one("wrapwatch.client_wait");
    assert_eq!(wait["unit"], "s");
    let point = &wait["histogram"]["dataPoints"][0];
    assert_eq!((&point["count"], time(point, "startTimeUnixNano")), (&"1".into(), 7_000_000_000));
    let counts = point["bucketCounts"].as_array().unwrap();
    assert_eq!(counts.len(), point["explicitBounds"].as_array().unwrap().len() + 1);
    // A gauge has no beginning.
    let version = &one("wrapwatch.build_info")["gauge"]["dataPoints"][0];
    assert!(version.get("startTimeUnixNano").is_none() && version["asDouble"] == 1.0, "{version:#}");
}
