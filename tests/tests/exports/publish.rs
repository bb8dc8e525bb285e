//! A trace is published while it is recorded, by a process without privileges; what it says is what the report says.

use std::{
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Stdio,
};

use serde_json::Value;
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig},
    nameserver::Rule,
    wait::wait_for,
    watch::{Watch, nobody},
};

use crate::support::{assert_promtool_is_content, end, samples, samples_in, wrapwatch};

/// Nobody may look into it.
fn open_to_all(dir: &Path) {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
}

#[test]
fn a_recording_is_published_as_it_grows() {
    let dir = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp").unwrap();
    open_to_all(dir.path());
    let (file, text) = (dir.path().join("a.wwt"), dir.path().join("a.prom"));
    let lab = Lab::start(LabConfig::default()).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    // The trace is for its owner's eyes only.
    chown(&file, Some(65534), Some(65534)).unwrap();
    let (mut command, _copy) = nobody(None).unwrap();
    command.args(["publish", "--follow", "--every", "200ms", "--textfile"]).args([&text, &file]);
    let publisher = command.stderr(Stdio::piped()).spawn().unwrap();

    let value = |series: &str| samples_in(&text).get(series).copied();
    let greeted = "wrapwatch_connections_total{outcome=\"greeted\"}";
    lab.clients(ClientsSpec::one_by_one(5)).unwrap();
    wait_for("five connections are published", || Ok(value(greeted) == Some(5.0))).unwrap();
    assert_eq!(value("wrapwatch_recorder_up"), Some(1.0));
    assert_eq!(value("wrapwatch_stall_age_seconds"), Some(0.0));
    // The accept thread hangs: that is seen while it does.
    lab.rules([Rule::delay(2_500)]).unwrap();
    let client = lab.begin_clients(ClientsSpec::one_by_one(1)).unwrap();
    wait_for("the stall is published", || Ok(value("wrapwatch_stall_age_seconds") > Some(0.5))).unwrap();
    client.wait().unwrap();
    wait_for("its end is published", || {
        Ok(value("wrapwatch_stall_age_seconds") == Some(0.0) && value(greeted) == Some(6.0))
    })
    .unwrap();
    assert_promtool_is_content(&std::fs::read_to_string(&text).unwrap());
    let told = recorder.stop().unwrap();
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    wait_for("nothing is known any more", || Ok(value("wrapwatch_recorder_up") == Some(0.0))).unwrap();
    assert_eq!(value("wrapwatch_stall_age_seconds"), None);
    assert_eq!(end(publisher), (Some(0), String::new()));

    let published = samples_in(&text);
    assert_eq!(published["wrapwatch_stalls_total{cause=\"dns\"}"], 1.0);
    let queues: Vec<_> = published.keys().filter(|name| name.contains("accept_queue_length")).collect();
    assert!(queues.is_empty(), "{queues:?}");
    assert_as_reported(&file, &published);
    // Told once, from its beginning to its end, it is the same.
    let output = wrapwatch(["publish".as_ref(), file.as_os_str()]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_as_reported(&file, &samples(&String::from_utf8(output.stdout).unwrap()));
}

/// The same numbers as `report --json` has.
fn assert_as_reported(file: &Path, published: &std::collections::BTreeMap<String, f64>) {
    let output = wrapwatch(["report".as_ref(), "--json".as_ref(), file.as_os_str()]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary = &report["summary"];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {summary:#}"));
    let is = |series: &str, wanted: f64| {
        let value = published.get(series).unwrap_or_else(|| panic!("no {series} in {published:#?}"));
        assert!((value - wanted).abs() < 1e-6, "{series} is {value}, not {wanted}");
    };
    for (spread, series) in [("total", "client_wait"), ("queued", "queue_wait"), ("wrapper", "check")] {
        is(&format!("wrapwatch_{series}_seconds_count"), number(&summary[spread]["count"]));
        is(&format!("wrapwatch_{series}_seconds_sum"), number(&summary[spread]["sum_ns"]) / 1e9);
    }
    is("wrapwatch_accepts_total", number(&summary["accepts"]));
    is("wrapwatch_lost_events_total", number(&summary["lost"]));
    let causes = published.iter().filter(|(series, _)| series.starts_with("wrapwatch_waited_seconds_total{"));
    let waited: f64 = causes.map(|(_, value)| value).sum();
    let whole = number(&summary["waiting"]["total_ns"]) / 1e9;
    assert!((waited - whole).abs() < 1e-6, "{waited}, not {whole}");
    for nameserver in summary["nameservers"].as_array().unwrap() {
        let label = format!("nameserver={}", nameserver["server"]);
        let queries = published
            .iter()
            .filter(|(series, _)| series.starts_with("wrapwatch_queries_total{") && series.contains(&label));
        let queries: f64 = queries.map(|(_, value)| value).sum();
        assert!((queries - number(&nameserver["queries"])).abs() < 0.5, "{label}: {queries}");
    }
}
