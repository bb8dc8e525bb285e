//! The DNS messages of a trace as tshark reads them: byte by byte those that passed, with fields of whose they are.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig, Link},
    nameserver::Rule,
    tshark,
    watch::Watch,
};

use crate::support::{run, wrapwatch};

const DISSECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/wireshark/wrapwatch.lua");

/// How often each message passed to or from a nameserver.
fn messages(capture: &Path, nameservers: &str) -> BTreeMap<Vec<String>, usize> {
    let fields = ["dns.flags.response", "dns.qry.name", "udp.payload", nameservers];
    let mut counts = BTreeMap::new();
    for message in tshark(capture, "dns && udp", &fields).unwrap() {
        *counts.entry(message[..3].to_vec()).or_default() += 1;
    }
    counts
}

/// Packets that match a filter by the dissector's fields; with one of them. Lua is off for root: as nobody.
fn filtered(capture: &Path, filter: &str, field: &str) -> Vec<String> {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "tshark", "-n"])
        .arg("-X")
        .arg("lua_script:wrapwatch.lua")
        .args(["-r", "a.pcapng", "-Y", filter, "-T", "fields", "-e", field])
        .current_dir(capture.parent().unwrap())
        .env("HOME", capture.parent().unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{filter}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn wireshark_reads_what_passed() {
    let dir = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp").unwrap();
    let (file, exported) = (dir.path().join("a.wwt"), dir.path().join("a.pcapng"));
    let lab = Lab::start(LabConfig::default()).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    lab.start_capture(Link::Dns).unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    lab.rules([Rule::delay(50)]).unwrap();
    lab.clients(ClientsSpec::at_once(4)).unwrap();
    lab.rules([Rule::silent()]).unwrap();
    lab.clients(ClientsSpec::one_by_one(1)).unwrap();
    let capture = lab.stop_capture(Link::Dns).unwrap();
    recorder.stop().unwrap();
    let (from, to) = (file.to_str().unwrap(), exported.to_str().unwrap());
    run(&["export", from, "--to", "pcapng", "-o", to]);
    let lines: Vec<Value> = run(&["export", from, "--to", "jsonl"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let connections: Vec<&Value> = lines.iter().filter(|line| line["type"] == "connection").collect();
    let queries: Vec<&Value> = connections
        .iter()
        .flat_map(|connection| connection["lookups"].as_array().unwrap())
        .flat_map(|lookup| lookup["queries"].as_array().unwrap())
        .collect();

    // The same messages to and from the same nameserver as tcpdump saw.
    let passed = messages(&capture.path, "ip.addr");
    assert!(passed.len() > queries.len(), "{passed:#?}");
    assert_eq!(messages(&exported, "ip.addr"), passed);
    let named = tshark(&exported, "dns.flags.response == 0", &["ip.dst", "frame.time_epoch"]).unwrap();
    assert_eq!(named.len(), queries.len());
    let servers = |query: &Value| query["server"].as_str().unwrap().split(':').next().unwrap().to_owned();
    assert!(named.iter().zip(&queries).all(|(packet, query)| packet[0] == servers(query)));
    // Nothing that Wireshark finds wrong, and the headers say that they are made up.
    assert_eq!(
        tshark(&exported, "_ws.malformed || _ws.expert.severity >= 6291456", &["frame.number"]).unwrap(),
        Vec::<Vec<String>>::new()
    );
    let about = Command::new("capinfos").arg(&exported).output().unwrap();
    let about = String::from_utf8_lossy(&about.stdout).into_owned();
    assert!(about.contains("pcapng") && about.contains("are made up"), "{about}");

    // By the dissector's fields.
    std::fs::copy(DISSECTOR, dir.path().join("wrapwatch.lua")).unwrap();
    for path in [dir.path(), &exported, &dir.path().join("wrapwatch.lua")] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let count = |outcome: &str| queries.iter().filter(|query| query["outcome"] == outcome).count();
    assert!(count("timeout") > 0);
    let unanswered = filtered(&exported, "wrapwatch.outcome == \"timeout\"", "wrapwatch.rtt_ns");
    let waited =
        queries.iter().filter(|query| query["outcome"] == "timeout").map(|query| query["rtt_ns"].to_string());
    assert_eq!(unanswered, waited.collect::<Vec<_>>());
    let answered = "wrapwatch.outcome == \"answered\" && dns.flags.response == 0";
    assert_eq!(filtered(&exported, answered, "dns.id").len(), count("answered"));
    for connection in &connections {
        let of = format!("wrapwatch.conn == {} && dns.flags.response == 0", connection["conn"]);
        let told = filtered(&exported, &of, "wrapwatch.rule_text");
        let asked = connection["lookups"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|lookup| lookup["queries"].as_array().unwrap());
        assert_eq!(told, vec![connection["rule"]["text"].as_str().unwrap(); asked.count()]);
    }

    let refused = wrapwatch(["export", from, "--to", "pcapng", "-o", &to.replace("pcapng", "pcap")]);
    assert_eq!(refused.status.code(), Some(2));
}
