//! The packaged unit under a real systemd, in a container: what `systemd-analyze` says of it is one thing, that the recorder traces with it is another.

use std::{fs, process::Command};

use wrapwatch::model::{Line, Outcome};
use wrapwatch_tests::{lab::parts, watch::binary};

use crate::{
    memory::skip,
    support::{program, run, wrapwatch},
    unit,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/nspawn.sh");

#[test]
fn the_packaged_unit_traces_a_server() {
    if !std::path::Path::new("/usr/lib/systemd/systemd").exists() {
        return skip("systemd::the_packaged_unit_traces_a_server", "systemd is not this machine's");
    }
    let (scratch, result) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", SCRIPT]);
    command.arg(scratch.path()).arg(result.path());
    command.arg(parts::unpacked("usr/bin/systemd-nspawn").unwrap()).arg(binary().unwrap());
    command.arg(unit::UNIT).arg(program(false));
    let output = run(&mut command);
    let read = |name: &str| fs::read_to_string(result.path().join(name)).unwrap_or_default();
    let all = || format!("{}\n{output:?}", read("said"));
    let shown = read("shown");
    for line in ["Result=success", "ExecMainStatus=0", "NRestarts=0", "MemoryMax=536870912"] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}, {}", all());
    }
    let status = read("status");
    let has = |wanted: &str| status.lines().any(|line| line.split_whitespace().eq(wanted.split(' ')));
    assert!(has("NoNewPrivs: 1") && has("Seccomp: 2") && !status.contains("Uid:\t0"), "{status}");

    let replayed =
        wrapwatch(["replay".into(), "--json".into(), result.path().join("t.wwt").into_os_string()]);
    let lines: Vec<Line> = String::from_utf8(replayed.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = lines.iter().filter_map(|line| match line {
        Line::Connection(connection) if connection.complete => Some(connection),
        _ => None,
    });
    let whole: Vec<_> = told.collect();
    assert!(!whole.is_empty(), "{}", all());
    for connection in whole {
        let rule = connection.verdict_rule.as_ref().and_then(|rule| rule.text.as_deref());
        assert_eq!((connection.outcome, rule), (Outcome::Greeted, Some("ALL: 127.0.0.1")), "{connection:#?}");
    }
    let degraded: Vec<_> = lines.iter().filter(|line| matches!(line, Line::Degradation(_))).collect();
    assert!(degraded.is_empty(), "{degraded:#?}");
}
