//! `lint --trace`: the clients of a recording, the tables in it, and a proposal that holds on the real server.

use std::process::{Command, Output};

use wrapwatch_tests::{
    clients::{ClientsSpec, Outcome, Source},
    lab::{Files, Lab, LabConfig},
    nameserver::Rule,
    watch::{Watch, binary},
};

fn lint(args: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(binary().unwrap()).arg("lint").args(args).output().unwrap();
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// A file after a diff that shows all of it.
fn patched(diff: &str, path: &str) -> String {
    let (_, hunk) =
        diff.split_once(&format!("+++ {path}\n")).unwrap_or_else(|| panic!("no {path} in {diff}"));
    let lines = hunk.lines().skip(1).take_while(|line| !line.starts_with("--- "));
    lines.filter(|line| !line.starts_with('-')).map(|line| format!("{}\n", &line[1..])).collect()
}

#[test]
fn a_recording_is_linted_and_its_fix_holds() {
    let files = Files::tables("# ours\nALL: .lab.example\n", "ALL: ALL\n");
    let lab = Lab::start(LabConfig { files, ..LabConfig::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.wwt");
    let path = file.to_str().unwrap();
    let watch = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    let spec = ClientsSpec { source: Source::Distinct(3), ..ClientsSpec::one_by_one(3) };
    let clients = lab.clients(spec.clone()).unwrap();
    watch.stop().unwrap();

    let report: serde_json::Value = serde_json::from_str(&lint(&["--trace", path, "--json"])).unwrap();
    assert_eq!(report["daemon"], "mariadbd");
    let seen = report["clients"].as_array().unwrap();
    assert_eq!(seen.len(), 3, "{report:#}");
    for (client, seen) in clients.iter().zip(seen) {
        let address = client.source.unwrap().ip().to_string();
        assert_eq!(seen["client"], address.as_str());
        let name = format!("c-{}.lab.example", address.replace('.', "-"));
        assert_eq!((&seen["name"], &seen["verdict"]), (&name.into(), &"allow".into()), "{seen:#}");
        assert_eq!(seen["verdict_rule"]["line"], 2);
        assert_eq!(seen["lookups"], serde_json::json!(["reverse", "forward"]));
    }

    // What it proposes, on the real server: the same clients come in, and nobody asks the nameservers.
    let fixed = patched(&lint(&["--trace", path, "--fix"]), "/etc/hosts.allow");
    lab.files(Files::tables(fixed, "ALL: ALL\n")).unwrap();
    lab.rules([Rule::silent()]).unwrap();
    lab.take_dns_log().unwrap();
    let again = lab.clients(spec).unwrap();
    assert!(again.iter().all(|client| client.outcome == Outcome::Greeting), "{again:#?}");
    assert_eq!(lab.take_dns_log().unwrap(), []);
}
