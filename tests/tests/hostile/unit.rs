//! The packaged unit: what it may call is what the recorder calls, and what systemd thinks of it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use wrapwatch_tests::{
    wait_for,
    watch::{Watch, nobody},
};

use crate::support::Den;

pub const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/wrapwatch-recorder.service");

/// What the unit says under this name, of all its lines, in words.
pub fn setting(name: &str) -> Vec<String> {
    let unit = fs::read_to_string(UNIT).unwrap().replace("\\\n", " ");
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// Calls of a set, `@file-system` and the like.
fn calls_of(set: &str, calls: &mut BTreeSet<String>) {
    if !set.starts_with('@') {
        calls.insert(set.to_owned());
        return;
    }
    let output = Command::new("systemd-analyze").args(["syscall-filter", set]).output().unwrap();
    assert!(output.status.success(), "{set}: {output:?}");
    let listed = String::from_utf8(output.stdout).unwrap();
    let listed =
        listed.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    listed.for_each(|call| calls_of(call, calls));
}

/// Calls that a log of strace has, from the recorder's beginning on.
fn called(log: &str) -> BTreeSet<String> {
    let log = log.split_once("/wrapwatch\", [\"").unwrap().1;
    let calls = log.lines().skip(1).filter_map(|line| {
        let call = line.split_whitespace().nth(1)?.split('(').next()?;
        call.starts_with(|c: char| c.is_ascii_lowercase()).then(|| call.to_owned())
    });
    calls.collect()
}

/// The unit's command with the user and the capabilities that the unit gives, into this file, and with JSON lines. The copy that it runs goes with what is returned.
pub fn recorder(trace: &Path) -> (Command, tempfile::TempDir) {
    let capabilities: Vec<String> = setting("AmbientCapabilities")
        .iter()
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let (mut recorder, copy) = nobody(Some(&capabilities.join(","))).unwrap();
    let options = setting("ExecStart").into_iter().skip(1).filter(|word| word != "--quiet");
    let options = options.map(|word| word.replace("${STATE_DIRECTORY}/flight.wwt", trace.to_str().unwrap()));
    recorder.args(options).arg("--json");
    (recorder, copy)
}

#[test]
fn the_recorder_calls_nothing_that_the_unit_does_not_allow() {
    let mut allowed = BTreeSet::new();
    calls_of("@default", &mut allowed);
    setting("SystemCallFilter").iter().for_each(|set| calls_of(set, &mut allowed));
    assert!(!allowed.contains("ptrace") && !allowed.contains("mount"), "{allowed:?}");

    let den = Den::new();
    let server = den.serve(&[&den.text("hosts.allow"), &den.text("none")]);
    fs::set_permissions(den.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (log, trace) = (den.path("log"), den.path("flight.wwt"));
    let (recorder, _copy) = recorder(&trace);
    // As systemd mounts it for these settings.
    let proc = format!("hidepid={},subset={}", setting("ProtectProc")[0], setting("ProcSubset")[0]);
    let mounted = r#"mount -t proc -o "$1" proc /proc || exit 99; shift; exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", mounted, "sh", &proc]);
    // The recorder stays this process's child.
    command.args(["strace", "--daemonize", "--follow-forks", "-qq", "--signal=none", "-o"]).arg(&log);
    command.arg(recorder.get_program()).args(recorder.get_args()).args(["-p", &server.pid().to_string()]);
    let mut watch = Watch::run(command).unwrap();
    (0..3).for_each(|_| server.client());
    watch.wait_connections(3).unwrap();
    let seen = watch.stop().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    assert!(seen.connections().iter().all(|connection| connection.verdict_rule.is_some()), "{seen:?}");

    let read = || fs::read_to_string(&log);
    wait_for("the log's end", || Ok(read()?.contains("exit_group("))).unwrap();
    let called = called(&read().unwrap());
    assert!(
        ["bpf", "perf_event_open", "setns", "setfsuid"].iter().all(|&call| called.contains(call)),
        "{called:?}"
    );
    let refused: Vec<_> = called.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit does not allow {refused:?}");
}

#[test]
fn systemd_finds_little_to_say_against_it() {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=18", "--no-pager", UNIT])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("Overall exposure level"), "{said}");
}
