//! A trace handed on: with pseudonyms (`export --redact`), and as JSON lines.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use wrapwatch::{
    decode::{Event, decode},
    trace::{
        Found, Input, Reader, Scanner,
        block::{BlockType, Unpacker},
        columns::gather,
    },
};
use wrapwatch_tests::{clients::ClientsSpec, lab::Files, nameserver::Rule, watch::Watch};

use crate::support::{NS1, lab, wrapwatch};

/// Slow lookups, a dead nameserver, refusals: something of everything that holds names.
fn record(dir: &Path) -> PathBuf {
    let file = dir.join("a.wwt");
    let lab = lab();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    lab.rules([Rule::delay(150).name("1.0.2.10.in-addr.arpa")]).unwrap();
    lab.clients(ClientsSpec::at_once(12)).unwrap();
    lab.rules([Rule::silent().at(NS1)]).unwrap();
    lab.files(Files::resolv(
        "nameserver 10.1.1.53\nnameserver 10.1.1.54\nsearch corp.lab.example\noptions timeout:1\n",
    ))
    .unwrap();
    lab.client().unwrap();
    lab.files(Files::tables("sshd: .friends.example 192.168.7.\n", "ALL: .lab.example\n")).unwrap();
    lab.rules([]).unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    assert_eq!(recorder.stop().unwrap().status, Some(0));
    file
}

/// Every byte of a file: headers, payloads decompressed, records as they were.
fn everything(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let (mut scanner, mut unpacker, mut all) =
        (Scanner::new(bytes.as_slice()), Unpacker::default(), Vec::new());
    while let Some(found) = scanner.next_block().unwrap() {
        let Found::Block(header, payload, _) = found else { panic!("damage") };
        let raw = unpacker.unpack(&header, payload).unwrap();
        all.extend_from_slice(&header.to_bytes());
        all.extend_from_slice(raw);
        if header.kind == BlockType::Records as u16 {
            gather(raw, header.items as usize, &mut all).unwrap();
        }
    }
    all.to_ascii_lowercase()
}

/// The clients, as the records say.
fn clients(file: &Path) -> BTreeSet<Ipv4Addr> {
    let mut reader = Reader::new(fs::File::open(file).unwrap());
    let mut found = BTreeSet::new();
    while let Some(item) = reader.next_input().unwrap() {
        let Input::Record(record) = item else { continue };
        if let Ok(Event::AcceptSocket(accept)) = decode(record) {
            found.insert(Ipv4Addr::from(*accept.peer.ip.last_chunk().unwrap()));
        }
    }
    found
}

/// An address as text, in reverse, as labels of a DNS name, as a socket address and as part of a client's name.
fn forms(address: Ipv4Addr) -> Vec<Vec<u8>> {
    let [a, b, c, d] = address.octets();
    let labels = [d, c, b, a].map(|octet| octet.to_string());
    let dns = labels.iter().flat_map(|label| {
        std::iter::once(u8::try_from(label.len()).unwrap()).chain(label.bytes()).collect::<Vec<_>>()
    });
    vec![
        address.to_string().into_bytes(),
        labels.join(".").into_bytes(),
        dns.collect(),
        address.to_ipv6_mapped().octets()[10..].to_vec(),
        format!("c-{a}-{b}-{c}-{d}").into_bytes(),
    ]
}

/// What a report says, without the names: they are others, and stand in texts.
fn story(file: &Path) -> Value {
    let output = wrapwatch(["report", "--json", "--quiet", "--slowest", "100", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let each = |value: &Value, tell: fn(&Value) -> Value| -> Vec<Value> {
        value.as_array().unwrap().iter().map(tell).collect()
    };
    let mut summary = report["summary"].clone();
    let object = summary.as_object_mut().unwrap();
    object.remove("verdict");
    for server in object["nameservers"].as_array_mut().unwrap() {
        server.as_object_mut().unwrap().remove("server");
    }
    json!({
        "summary": summary,
        "what_if": report["what_if"],
        "what_if_caveats": report["what_if_caveats"],
        "findings": each(&report["findings"], |finding| {
            let evidence = &finding["evidence"];
            json!([finding["id"], finding["severity"], evidence["count"], evidence["connections"], evidence["rule"]["line"]])
        }),
        "connections": each(&report["connections"], |connection| {
            let mut connection = connection.clone();
            let object = connection.as_object_mut().unwrap();
            for names in ["peer", "local", "other"] {
                object.remove(names);
            }
            for rule in ["rule", "verdict_rule"] {
                object[rule] = object[rule]["line"].clone();
            }
            for blame in object["blame"].as_array_mut().unwrap() {
                blame.as_object_mut().unwrap().remove("server");
            }
            for lookup in object["lookups"].as_array_mut().unwrap() {
                lookup["name"].take();
                for query in lookup["queries"].as_array_mut().unwrap() {
                    for name in ["server", "qname", "answers"] {
                        query[name].take();
                    }
                }
            }
            connection
        }),
    })
}

#[test]
fn a_redacted_copy_holds_no_name_and_tells_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = record(dir.path());
    let copy = dir.path().join("copy.wwt");
    let redact = ["export", "--redact", file.to_str().unwrap(), "-o", copy.to_str().unwrap()];
    let output = wrapwatch(redact);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!wrapwatch(redact).status.success(), "it replaces what is there");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);

    let (original, redacted) = (everything(&file), everything(&copy));
    let contains = |all: &[u8], form: &[u8]| all.windows(form.len()).any(|window| window == form);
    let mut addresses = clients(&file);
    assert_eq!(addresses.len(), 16);
    for address in ["10.1.1.53", "10.1.1.54", "10.0.0.1"] {
        addresses.insert(address.parse().unwrap());
    }
    let mut secrets: Vec<Vec<u8>> = addresses.into_iter().flat_map(forms).collect();
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_ascii_lowercase();
    let names = [
        "lab.example",
        "\x03lab\x07example",
        "friends.example",
        "corp.lab",
        "192.168.7",
        "10.1.1.",
        "10.2.0",
    ];
    secrets.extend(names.iter().map(|name| name.as_bytes().to_vec()));
    // It may be two letters long, as others are by chance.
    secrets.push(format!("\"{hostname}\"").into_bytes());
    let mut there = 0;
    for secret in secrets {
        there += usize::from(contains(&original, &secret));
        assert!(!contains(&redacted, &secret), "{}", String::from_utf8_lossy(&secret));
    }
    assert!(there > 45, "only {there} of these are in the original: nothing was tested");
    assert_eq!(story(&file), story(&copy));
    let said = String::from_utf8(wrapwatch(["report", copy.to_str().unwrap()]).stdout).unwrap();
    assert!(!said.contains(&IpAddr::to_string(&NS1)) && said.contains("resolv.conf"), "{said}");
}

#[test]
fn json_lines_are_what_replay_prints() {
    let dir = tempfile::tempdir().unwrap();
    let file = record(dir.path());
    let lines = dir.path().join("a.jsonl");
    let (file, to) = (file.to_str().unwrap(), lines.to_str().unwrap());
    let replayed = wrapwatch(["replay", "--json", file]).stdout;
    assert_eq!(std::str::from_utf8(&replayed).unwrap().lines().count(), 16 + 1 + stalls(&replayed));
    assert_eq!(wrapwatch(["export", "--to", "jsonl", file]).stdout, replayed);
    assert!(wrapwatch(["export", "--to", "jsonl", file, "-o", to]).status.success());
    assert_eq!(fs::read(&lines).unwrap(), replayed);
    assert_eq!(fs::metadata(&lines).unwrap().permissions().mode() & 0o777, 0o600);
    let again = wrapwatch(["export", "--to", "jsonl", file, "-o", to]);
    assert!(String::from_utf8(again.stderr).unwrap().contains("exists already"));
    assert!(wrapwatch(["export", "--to", "jsonl", file, "-o", to, "--force"]).status.success());
}

/// Lines that are neither connections nor the summary.
fn stalls(lines: &[u8]) -> usize {
    let text = std::str::from_utf8(lines).unwrap();
    let other =
        |line: &&str| !line.contains(r#""type":"connection""#) && !line.contains(r#""type":"summary""#);
    text.lines().filter(other).count()
}
