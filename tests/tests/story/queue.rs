//! The queue's samples, against what the lab forces and what the kernel itself says in the server's network namespace.

use std::collections::BTreeMap;

use serde_json::Value;
use wrapwatch::trace::{Input, Reader, Sample};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Lab, LabConfig, Namespace, ServerConfig},
    nameserver::Rule,
    watch::{Watch, binary},
};

/// The samples of a trace.
fn samples(file: &std::path::Path) -> Vec<Sample> {
    let mut reader = Reader::new(std::io::BufReader::new(std::fs::File::open(file).unwrap()));
    let mut samples = Vec::new();
    // While it is being written, its end is torn.
    while let Ok(Some(item)) = reader.next_input() {
        if let Input::Sample(sample) = item {
            samples.push(sample.into_owned());
        }
    }
    samples
}

/// The kernel's counters in the server's namespace, by name.
fn netstat(lab: &Lab) -> BTreeMap<String, u64> {
    let text = lab.exec(Namespace::Server, ["cat", "/proc/net/netstat"]).unwrap().stdout;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("TcpExt:")).collect();
    let names = lines[0].split_whitespace().skip(1).map(str::to_owned);
    names.zip(lines[1].split_whitespace().skip(1).map(|value| value.parse().unwrap())).collect()
}

#[test]
fn an_overflow_and_time_wait_are_sampled_as_the_kernel_counts_them() {
    let server = ServerConfig::options(["--back-log=8"]);
    // Refused clients: the server closes first, so TIME_WAIT is on its side.
    let lab =
        Lab::start(LabConfig { server, files: Files::tables("", "ALL: ALL\n"), ..LabConfig::default() })
            .unwrap();
    let range = lab
        .exec(Namespace::Server, ["sh", "-c", "echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range"]);
    assert_eq!(range.unwrap().status, Some(0));
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("queue.wwt");
    let before = netstat(&lab);
    let mut watch = Watch::record(lab.server_pid().unwrap(), &trace, ["-q"; 0]).unwrap();
    let refused = lab.clients(ClientsSpec { concurrency: 4, ..ClientsSpec::one_by_one(95) }).unwrap();
    watch.wait_connections(refused.len()).unwrap();
    // One check of two seconds, and many more clients than the queue holds.
    lab.files(Files {
        resolv: Some("nameserver 10.1.1.53\noptions timeout:2 attempts:1\n".into()),
        ..Files::tables("ALL: .lab.example\n", "ALL: ALL\n")
    })
    .unwrap();
    lab.rules([Rule::silent().times(1)]).unwrap();
    let crowd = lab.clients(ClientsSpec::at_once(24)).unwrap();
    watch.wait_connections(refused.len() + crowd.len()).unwrap();
    let after = netstat(&lab);
    // A sample a second: the last one is to come yet, and is in the file once its block is.
    wrapwatch_tests::wait_for("the last counts in the trace", || {
        let seen = samples(&trace).into_iter().flat_map(|sample| sample.netns).last();
        Ok(seen.is_some_and(|netns| netns.listen_overflows == Some(after["ListenOverflows"])))
    })
    .unwrap();
    watch.stop().unwrap();

    let samples = samples(&trace);
    let dropped = |name: &str| after[name] - before[name];
    assert!(dropped("ListenOverflows") > 0, "nothing overflowed: {after:?}");
    let netns: Vec<_> = samples.iter().flat_map(|sample| &sample.netns).collect();
    let (first, last) = (netns.first().unwrap(), netns.last().unwrap());
    assert_eq!(first.listen_overflows, Some(before["ListenOverflows"]));
    assert_eq!(last.listen_overflows, Some(after["ListenOverflows"]));
    assert_eq!(last.listen_drops, Some(after["ListenDrops"]));
    assert_eq!(last.port_range, Some((40_000, 40_099)));
    let time_wait = netns.iter().filter_map(|netns| netns.time_wait).max().unwrap();
    // Those of the crowd whose name came too late are refused and closed by the server too.
    let closed = (80..=(refused.len() + crowd.len()) as u64).contains(&time_wait);
    assert!(closed, "{time_wait} of {} that the server closed", refused.len());
    let queues: Vec<_> = samples.iter().flat_map(|sample| &sample.listeners).collect();
    let longest = queues.iter().map(|queue| queue.queued).max().unwrap();
    // The kernel takes one more than the limit (sk_acceptq_is_full).
    assert!((8..=9).contains(&longest), "{longest}");
    assert!(queues.iter().all(|queue| queue.queue_limit == 8), "{queues:?}");

    let report = std::process::Command::new(binary().unwrap())
        .args(["report", "--json"])
        .arg(&trace)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let ids: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|f| f["id"].as_str()).collect();
    assert!(ids.contains(&"queue-overflow"), "{ids:?}");
    assert!(ids.contains(&"time-wait-near-port-range"), "{ids:?}");
}
