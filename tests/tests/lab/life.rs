//! Beginning and end of a lab: nothing of it is left, and two of them never meet.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use wrapwatch_tests::clients::{ClientsSpec, Outcome};
use wrapwatch_tests::lab::{Files, Lab, LabConfig, Link};
use wrapwatch_tests::nameserver::Rule;
use wrapwatch_tests::wait_for;

/// Processes that have a lab's file system among their mounts: all that are in its mount namespaces.
fn processes_of(marker: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Processes come and go.
        let mounts = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        if mounts.split([' ', '\n']).any(|word| word == marker) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether there is such a process. A dead one whose parent has not noticed yet does not count.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

fn wait_until_gone(marker: &str, pids: &[u32]) -> Result<()> {
    wait_for("all processes are gone", || Ok(processes_of(marker)?.is_empty()))?;
    wait_for("all processes are dead", || Ok(!pids.iter().any(|pid| lives(*pid))))
}

#[test]
fn killed_it_vanishes_whole() -> Result<()> {
    let mounts_before = fs::read_to_string("/proc/self/mountinfo")?;
    let lab = Lab::start(LabConfig::default())?;
    let info = lab.info();
    // In the middle of everything: a check that hangs, a capture, a burn.
    lab.rules([Rule::silent()])?;
    lab.start_capture(Link::Dns)?;
    let _clients = lab.begin_clients(ClientsSpec::at_once(20))?;
    let _burn = lab.begin_burn(20_000)?;
    let alive = processes_of(&info.marker)?;
    let server = info.server_pid.context("the server runs")?;
    for pid in [server, info.init_pid] {
        assert!(alive.contains(&pid), "{pid} is not among {alive:?}");
    }
    let namespaces = fs::read_link(format!("/proc/{server}/ns/net"))?;
    assert_ne!(namespaces, fs::read_link("/proc/self/ns/net")?);

    Command::new("kill").arg("-9").arg(lab.outer_pid().to_string()).status()?;
    wait_until_gone(&info.marker, &alive)?;
    assert_eq!(fs::read_to_string("/proc/self/mountinfo")?, mounts_before, "the machine's own mounts");
    assert!(lab.client().is_err(), "and whoever still asks is told so");
    Ok(())
}

#[test]
fn dropped_it_vanishes_whole() -> Result<()> {
    let lab = Lab::start(LabConfig::default())?;
    let marker = lab.info().marker;
    assert!(!processes_of(&marker)?.is_empty());
    drop(lab);
    // Its first process has ended and so, to whoever waited for that, has everything.
    assert_eq!(processes_of(&marker)?, [0; 0]);
    Ok(())
}

#[test]
fn two_labs_side_by_side_do_not_meet() -> Result<()> {
    let (one, two) = (Lab::start(LabConfig::default())?, Lab::start(LabConfig::default())?);
    one.files(Files::tables("", "ALL: ALL\n"))?;
    let at_once = one.begin_clients(ClientsSpec::at_once(10))?;
    let others = two.clients(ClientsSpec::at_once(10))?;
    let clients = at_once.wait()?;
    assert!(clients.iter().all(|client| client.outcome == Outcome::Closed), "{clients:?}");
    assert!(others.iter().all(|client| client.outcome == Outcome::Greeting), "{others:?}");
    let addresses = |clients: &[wrapwatch_tests::clients::ClientResult]| {
        clients.iter().filter_map(|client| client.source.map(|source| source.ip())).collect::<Vec<_>>()
    };
    assert_eq!(addresses(&clients), addresses(&others), "the same addresses in both");
    assert_eq!(one.take_dns_log()?, []);
    assert_eq!(two.take_dns_log()?.len(), 20);
    Ok(())
}

#[test]
fn what_cannot_work_is_said_in_one_line() -> Result<()> {
    let folder = format!("/tmp/wrapwatch-lab-test-{}", std::process::id());
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    let binary = format!("{folder}/wrapwatch-lab");
    fs::copy(env!("CARGO_BIN_EXE_wrapwatch-lab"), &binary)?;
    let run = |argument: &str, uid: u32| -> Result<String> {
        let output = Command::new(&binary).arg(argument).uid(uid).stdin(Stdio::null()).output()?;
        ensure!(!output.status.success() && output.stderr.is_empty(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let nobody = run("{}", 65534);
    let mistyped = run(r#"{"servers":{}}"#, 0);
    let no_library = run(r#"{"preload":"/nowhere.so"}"#, 0);
    fs::remove_dir_all(&folder)?;
    assert_eq!(
        nobody?,
        "{\"error\":\"the lab needs root: it makes namespaces and mounts of its own; run it with sudo\"}\n"
    );
    assert!(mistyped?.contains("unknown field `servers`"));
    let no_library = no_library?;
    assert!(no_library.contains("/nowhere.so") && no_library.lines().count() == 1, "{no_library}");
    Ok(())
}

#[test]
fn commands_that_are_nonsense_are_refused_and_the_lab_goes_on() -> Result<()> {
    let config = r#"{"start_server":false}"#;
    let mut child = Command::new(env!("CARGO_BIN_EXE_wrapwatch-lab"))
        .arg(config)
        .env("WRAPWATCH_PRELOAD", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("piped")?;
    for line in [
        "nonsense",
        r#"{"id":1,"cmd":"unheard-of"}"#,
        r#"{"id":2,"cmd":"signal","sig":"STOP"}"#,
        r#"{"id":3,"cmd":"files","other":{"../escape":"x"}}"#,
        r#"{"id":4,"cmd":"exec","ns":"dns","argv":["echo","hello"]}"#,
    ] {
        writeln!(stdin, "{line}")?;
    }
    drop(stdin);
    let output = child.wait_with_output()?;
    let lines: Vec<_> = std::str::from_utf8(&output.stdout)?.lines().collect();
    assert!(output.status.success() && lines.len() == 6, "{lines:?}");
    assert!(lines[0].contains("\"server_pid\":null"), "{lines:?}");
    assert!(lines[1..5].iter().all(|line| line.contains("\"error\"")), "{lines:?}");
    assert!(lines[5].contains("hello"), "{lines:?}");
    Ok(())
}
