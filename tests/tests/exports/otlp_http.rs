//! What is sent to a collector that is busy, breaks off, and takes it: each span once, as OpenTelemetry's own definitions read it.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use wrapwatch::model::Line;
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig},
    nameserver::Rule,
    wait::wait_for,
    watch::{Watch, binary},
};

use crate::{
    otlp::decoded,
    support::{end, samples_in},
};

/// What it answers, in turn; nothing breaks off. After these it takes everything.
const TROUBLE: [&str; 3] =
    ["503 Service Unavailable\r\nRetry-After: 0", "429 Too Many Requests\r\nRetry-After: 0", ""];

/// A trace of which all is slow enough.
const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/traces/format-1-abi-2.wwt");
/// It does not answer.
const SLOW: &str = "slow";

/// A collector: writes what it has taken into files, a batch a line.
struct Collector {
    address: String,
    /// How many requests there were.
    asked: Arc<Mutex<usize>>,
}

impl Collector {
    /// Into files of this folder, once it has answered these in turn.
    fn start(dir: PathBuf, trouble: &'static [&'static str]) -> Self {
        std::fs::create_dir(&dir).unwrap();
        for signal in ["traces", "logs", "metrics"] {
            std::fs::write(dir.join(format!("{signal}.jsonl")), "").unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(0));
        let counter = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut asked = counter.lock().unwrap();
                take(stream.unwrap(), trouble.get(*asked).copied(), &dir);
                *asked += 1;
            }
        });
        Self { address, asked }
    }
}

fn take(mut stream: TcpStream, trouble: Option<&str>, dir: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert!(
        head.to_lowercase().contains("content-type: application/json") && head.contains("x-key: of the lab"),
        "{head}"
    );
    let status = match trouble {
        Some("") => return,
        // Until the other side has waited long enough, and hangs up.
        Some(SLOW) => {
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
            return;
        }
        Some(status) => status,
        None => {
            let signal = head.strip_prefix("POST /v1/").unwrap().split(' ').next().unwrap();
            let file = dir.join(format!("{signal}.jsonl"));
            let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
            body.push(b'\n');
            file.write_all(&body).unwrap();
            "200 OK"
        }
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{{}}")
        .unwrap();
}

/// Sends a trace there, with a key.
fn publish(address: &str) -> Command {
    let mut command = Command::new(binary().unwrap());
    // Where a test fails, what it has started holds nobody's pipe.
    command.args(["publish", "--follow", "--otlp"]).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", address);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of%20the%20lab");
    command
}

/// Of one beginning, never back, and to all connections in the end.
fn assert_counts_go_on(metrics: &[Value], connections: u32) {
    let counts = metrics.iter().filter(|metric| metric["name"] == "wrapwatch.client_wait");
    let points = counts.map(|metric| &metric["histogram"]["dataPoints"][0]);
    let points: Vec<(u64, u64, u32)> = points
        .map(|point| {
            let number = |field: &str| point[field].as_str().unwrap().parse::<u64>().unwrap();
            let count = u32::try_from(number("count")).unwrap();
            (number("startTimeUnixNano"), number("timeUnixNano"), count)
        })
        .collect();
    assert!(points.len() > 1 && points.iter().all(|(began, now, _)| *began == points[0].0 && began < now));
    assert!(points.is_sorted_by_key(|(_, now, _)| *now) && points.is_sorted_by_key(|(.., count)| *count));
    assert_eq!(points.last().unwrap().2, connections);
    let instance = metrics[0]["resource"]["service.instance.id"].as_str().unwrap();
    assert!(instance.ends_with("/a.wwt"), "{instance}");
}

#[test]
fn a_collector_takes_each_span_once() {
    let dir = tempfile::tempdir().unwrap();
    let (file, text, taken) = (dir.path().join("a.wwt"), dir.path().join("a.prom"), dir.path().join("taken"));
    let collector = Collector::start(taken.clone(), &TROUBLE);
    let lab = Lab::start(LabConfig::default()).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    let options = ["--slow", "100ms", "--every", "200ms", "--textfile"];
    let publisher = publish(&collector.address).args(options).args([&text, &file]).spawn().unwrap();
    lab.clients(ClientsSpec::one_by_one(2)).unwrap();
    lab.rules([Rule::delay(300)]).unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    let told = recorder.stop().unwrap();
    let clients = || {
        let (spans, ..) = decoded(&taken);
        spans.iter().filter(|span| span["name"] == "client wait").count()
    };
    wait_for("three slow clients' traces are taken", || Ok(clients() >= 3)).unwrap();
    let sent = |signal: &str| {
        samples_in(&text)
            .get(&format!("wrapwatch_otlp_sent_total{{signal=\"{signal}\"}}"))
            .copied()
            .unwrap_or_default()
    };
    let (spans, logs, _) = decoded(&taken);
    let as_taken = |signal: &str, items: &[Value]| {
        wait_for("what was sent is counted", || Ok(sent(signal).to_string() == items.len().to_string()))
    };
    as_taken("traces", &spans).unwrap();
    as_taken("logs", &logs).unwrap();
    let (status, said) = end(publisher);
    assert_eq!(status, Some(0), "{said}");
    // Trouble is said once, and its end.
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(
        said.contains("503 Service Unavailable; tried again") && said.contains("reached again"),
        "{said}"
    );

    assert!(*collector.asked.lock().unwrap() > TROUBLE.len());
    let (spans, logs, metrics) = decoded(&taken);
    assert_counts_go_on(&metrics, u32::try_from(told.connections().len()).unwrap());
    let mut ids: Vec<&str> = spans.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "something was taken twice");
    let waits: Vec<u64> = told
        .connections()
        .iter()
        .filter(|connection| connection.waited_ns >= 100_000_000)
        .map(|connection| connection.conn)
        .collect();
    let whole = spans.iter().filter_map(|span| span["attributes"].get("wrapwatch.conn")?.as_u64());
    assert_eq!(whole.collect::<Vec<_>>(), waits);
    // One log record a stall.
    let stalled = told.lines.iter().filter_map(|line| match line {
        Line::Stall(stall) => stall.conn,
        _ => None,
    });
    let stalled: BTreeSet<u64> = stalled.collect();
    assert!(!stalled.is_empty());
    let sent = logs.iter().filter(|log| log["eventName"] == "wrapwatch.stall");
    assert_eq!(sent.count(), stalled.len(), "{logs:#?}");
    let dropped =
        samples_in(&text).into_iter().filter(|(series, _)| series.starts_with("wrapwatch_otlp_dropped"));
    assert!(dropped.into_iter().all(|(_, value)| value == 0.0));
}

#[test]
fn a_collector_that_is_too_slow_is_asked_again() {
    let taken = tempfile::tempdir().unwrap();
    let taken = taken.path().join("taken");
    let collector = Collector::start(taken.clone(), &[SLOW]);
    let mut command = publish(&collector.address);
    command.args(["--slow", "1ns"]).arg(TRACE).env("OTEL_METRICS_EXPORTER", "none");
    let publisher = command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "1000").spawn().unwrap();
    wait_for("the clients' traces are taken", || Ok(!decoded(&taken).0.is_empty())).unwrap();
    assert!(*collector.asked.lock().unwrap() > 1);
    let (status, said) = end(publisher);
    assert_eq!(status, Some(0), "{said}");
    // Trouble is said once, and its end; not that anything was left.
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("no answer within 1s; tried again") && said.contains("reached again"), "{said}");
}

#[test]
fn what_no_collector_took_the_next_run_sends() {
    let dir = tempfile::tempdir().unwrap();
    let (position, taken) = (dir.path().join("position"), dir.path().join("taken"));
    let begin = |address: &str| {
        let mut command = publish(address);
        command.args(["--slow", "1ns", "--every", "100ms", "--position"]).arg(&position);
        command.arg(TRACE);
        // They would be as many as it takes time.
        command.env("OTEL_METRICS_EXPORTER", "none");
        command.spawn().unwrap()
    };
    // Nobody listens there any more.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let publisher = begin(&format!("http://{address}"));
    wait_for("how far it is is kept", || Ok(position.exists())).unwrap();
    let (status, said) = end(publisher);
    assert_eq!(status, Some(0), "{said}");
    let untaken = said.split("the collector has not taken ").nth(1).unwrap();
    let (untaken, fate) = untaken.split_once(' ').unwrap();
    assert_eq!(fate.trim(), "spans, log records and data points: the next run sends them");
    let collector = Collector::start(taken.clone(), &[]);
    let publisher = begin(&collector.address);
    wait_for("it is all taken", || {
        let (spans, logs, metrics) = decoded(&taken);
        assert_eq!(metrics, Vec::<Value>::new());
        Ok((spans.len() + logs.len()).to_string() == untaken)
    })
    .unwrap();
    let (status, said) = end(publisher);
    assert_eq!((status, said.lines().count()), (Some(0), 1), "{said}");
}
