//! What the schema says of what each command prints with `--json`.

use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Lab, Namespace},
    nameserver::Rule,
    watch::{Watch, binary},
};

use crate::support::{NS1, lab, wrapwatch};

/// The document that a command prints.
fn printed(args: &[&str]) -> Value {
    let output = wrapwatch(args);
    let error = || format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", error()))
}

/// What `ping` prints, run where the clients are.
fn pinged(lab: &Lab, args: &[&str]) -> Value {
    let program = binary().unwrap().display().to_string();
    let result = lab.exec(Namespace::Clients, [&[&*program, "ping", "--json"], args].concat()).unwrap();
    serde_json::from_str(&result.stdout).unwrap_or_else(|_| panic!("{args:?}: {}", result.stderr))
}

/// The names that `schema` knows, and what each admits.
fn validators() -> Vec<(&'static str, Validator)> {
    ["live", "report", "diff", "doctor", "access", "lint", "ping"]
        .into_iter()
        .map(|what| (what, jsonschema::validator_for(&printed(&["schema", what])).unwrap()))
        .collect()
}

fn record(file: &Path, pid: u32, clients: impl FnOnce()) {
    let recorder = Watch::record(pid, file, [""; 0]).unwrap();
    clients();
    assert_eq!(recorder.stop().unwrap().status, Some(0));
}

#[test]
fn everything_printed_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before.wwt"), dir.path().join("after.wwt"));
    let lab = lab();
    let pid = lab.server_pid().unwrap();
    record(&before, pid, || {
        lab.rules([Rule::silent().at(NS1)]).unwrap();
        let resolv = "nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1\n";
        lab.files(Files::resolv(resolv)).unwrap();
        lab.clients(ClientsSpec::at_once(3)).unwrap();
    });
    record(&after, pid, || {
        lab.files(Files::tables("ALL: 10.2.0.0/255.254.0.0\n", "ALL: ALL\n")).unwrap();
        lab.clients(ClientsSpec::at_once(3)).unwrap();
    });
    let (before, after) = (before.to_str().unwrap(), after.to_str().unwrap());
    let pid = pid.to_string();
    let documents = [
        ("report", printed(&["report", "--json", before])),
        ("diff", printed(&["diff", "--json", before, after])),
        ("doctor", printed(&["doctor", "--json", "-p", &pid])),
        ("access", printed(&["doctor", "--json", "--print-access"])),
        ("lint", printed(&["lint", "--json", "--trace", before])),
        ("ping", pinged(&lab, &["10.0.0.1:3306", "-n", "3"])),
        // Nobody listens there.
        ("ping", pinged(&lab, &["10.0.0.1:3307", "-n", "2"])),
    ];
    let whole = jsonschema::validator_for(&printed(&["schema"])).unwrap();
    let validators = validators();
    for (name, document) in &documents {
        for (what, validator) in &validators {
            let errors: Vec<_> = validator.iter_errors(document).map(|error| error.to_string()).collect();
            // Described by its own, and by no other: none admits everything.
            assert_eq!(errors.is_empty(), what == name, "{name} by {what}: {errors:?}");
        }
        assert!(whole.is_valid(document), "{name}");
    }
    assert!(documents[1].1["files"].as_array().is_some_and(|files| !files.is_empty()), "{}", documents[1].1);
}
