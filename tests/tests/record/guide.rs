//! The commands of `docs/postmortem.md`, run as they stand there: who copies one at night has no time to find out that it does not work.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Lab, LabConfig, ServerConfig},
    nameserver::Rule,
    wait_for,
    watch::{Watch, binary},
};

use crate::support::{NS1, replay};

const GUIDE: &str = include_str!("../../../docs/postmortem.md");

/// A shell in a folder of its own, in which `wrapwatch` is the one under test.
struct Shell<'a> {
    folder: &'a Path,
    /// The server's name: with no target a command would take every server of this machine.
    server: &'a str,
    /// Commands that were run.
    done: RefCell<BTreeSet<&'static str>>,
}

/// Every command of the guide: the lines of its blocks, and what stands in its text between backquotes.
fn commands() -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for (n, part) in GUIDE.split("```").enumerate() {
        if n % 2 == 1 {
            let lines = part.lines().skip(1).map(|line| line.split('#').next().unwrap_or(line).trim());
            found.extend(lines.map(|line| line.trim_start_matches("sudo ")));
        } else {
            found.extend(part.split('`').skip(1).step_by(2));
        }
    }
    found.retain(|text| {
        ["wrapwatch ", "strace ", "--fail-on ", "--max-overhead "].iter().any(|begin| text.starts_with(begin))
    });
    found
}

impl Shell<'_> {
    /// The command of the guide that is this, or else the only one that has it in it.
    fn command(&self, part: &str) -> &'static str {
        let all = commands();
        let mut found = all.iter().filter(|text| text.contains(part));
        let command = all.get(part).or_else(|| found.next().filter(|_| found.next().is_none()));
        let command = command.unwrap_or_else(|| panic!("not one command with {part:?} in the guide"));
        self.done.borrow_mut().insert(command);
        command
    }

    fn shell(&self, command: &str) -> Command {
        let command =
            command.replace("wrapwatch record", &format!("wrapwatch record --comm {}", self.server));
        let path = format!("{}/bin:{}", self.folder.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec {command}")]).current_dir(self.folder).env("PATH", path);
        shell
    }

    /// Runs it, expects it to succeed, gives its stdout.
    fn run(&self, command: &str) -> String {
        let output = self.status(command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn status(&self, command: &str) -> Output {
        self.shell(command).output().unwrap()
    }

    /// Starts a recorder and has it wait for the server if need be.
    fn recorder(&self, command: &str) -> Watch {
        Watch::starting(self.shell(command)).unwrap()
    }
}

/// The first nameserver is dead, and somebody waits behind somebody else who asks it.
fn outage(lab: &Lab) {
    lab.rules([Rule::silent().at(NS1)]).unwrap();
    lab.clients(ClientsSpec::at_once(3)).unwrap();
    lab.rules([]).unwrap();
}

/// Before it happens: the flight recorder, to its end, over its limit, and killed.
fn before(shell: &Shell<'_>, lab: &Lab) {
    let flight = shell.command("--last").replace("/var/lib/wrapwatch/", "");
    let night = shell.folder.join("night.wwt");
    let mut recorder = shell.recorder(&flight);
    recorder.wait_said("waiting").unwrap();
    lab.restart_server(None).unwrap();
    recorder.wait_said("watching").unwrap();
    outage(lab);
    recorder.wait_said("a trace will be saved").unwrap();
    let told = recorder.stop().unwrap();
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    assert_eq!(replay(&night).connections().len(), 3);
    fs::rename(&night, shell.folder.join("before.wwt")).unwrap();

    let limit = shell.command("--max-overhead").replace("1%", "0.00001%");
    let mut recorder = shell.recorder(&format!("{flight} {limit}"));
    recorder.wait_said("watching").unwrap();
    // What the programs cost is looked at once a second, and only calls cost something.
    let clients =
        lab.begin_clients(ClientsSpec { stagger_us: 10_000, ..ClientsSpec::one_by_one(300) }).unwrap();
    let told = recorder.wait().unwrap();
    assert_eq!(told.status, Some(1), "{}", told.stderr);
    assert!(told.stderr.contains("detached") && told.stderr.contains("--max-overhead"), "{}", told.stderr);
    clients.wait().unwrap();

    let mut recorder = shell.recorder(&flight);
    recorder.wait_said("watching").unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    // All but its last second is in the ring.
    let ring = shell.folder.join("night.wwt.ring");
    let bytes = || {
        fs::read_dir(&ring)
            .map_or(0, |files| files.flatten().map(|file| file.metadata().map_or(0, |m| m.len())).sum())
    };
    let begun = bytes();
    wait_for("a block in the ring", || Ok(bytes() > begun.max(1))).unwrap();
    drop(recorder);
    shell.run(shell.command("night.wwt.ring"));
    assert!(replay(&night).stderr.contains("did not end by itself"));
}

/// While it happens: wrapwatch or strace.
fn during(shell: &Shell<'_>, lab: &Lab) {
    let record = shell.command("record -d").replace("60s", "3s");
    let mut recorder = shell.recorder(&record);
    recorder.wait_said("watching").unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    let told = recorder.wait().unwrap();
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    // Without lines of them, too.
    assert!(told.stderr.contains(": 3 connections, "), "{}", told.stderr);

    let (now, after) = (shell.folder.join("now.wwt"), shell.folder.join("after.wwt"));
    assert_eq!(replay(&now).connections().len(), 3);
    fs::rename(&now, after).unwrap();
    let pid = lab.server_pid().unwrap().to_string();
    let command = shell.command("strace -f").replace("PID", &pid);
    let said = shell.folder.join("strace.err");
    let mut strace = shell.shell(&command).stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
    wait_for("strace is attached", || Ok(fs::read_to_string(&said)?.contains("attached"))).unwrap();
    outage(lab);
    kill(Pid::from_raw(i32::try_from(strace.id()).unwrap()), Signal::SIGINT).unwrap();
    strace.wait().unwrap();
    shell.run(shell.command("import strace"));
    let told = replay(&now);
    assert_eq!(told.connections().len(), 3);
    assert!(told.connections().iter().all(|connection| connection.queued_ns.is_none()));
}

/// The day after, and whether the fix worked.
fn after(shell: &Shell<'_>) {
    let said = shell.run(shell.command("wrapwatch report now.wwt"));
    assert!(said.contains("10.1.1.53"), "the nameserver is named: {said}");
    shell.run(shell.command("--html"));
    assert!(fs::read_to_string(shell.folder.join("now.html")).unwrap().contains("10.1.1.53"));
    let nobody = shell.run(shell.command("--since"));
    assert!(nobody.contains("The filter matched none of the trace's 3 connections"), "{nobody}");
    assert!(shell.run(shell.command("replay")).contains("10.1.1.53"));
    let diff = shell.run(shell.command("diff"));
    assert!(diff.contains("first-nameserver-dead"), "{diff}");

    // Status 3 where a finding is as bad, else 0.
    let fails = shell.command("--fail-on");
    let report = shell.command("report --json");
    for file in ["before.wwt", "after.wwt", "now.wwt"] {
        let found: Value = serde_json::from_str(&shell.run(&format!("{report} {file}"))).unwrap();
        let critical =
            found["findings"].as_array().unwrap().iter().any(|finding| finding["severity"] == "critical");
        assert!(critical || file == "after.wwt", "{file}: {found:#}");
        let status = shell.status(&format!("{report} {file} {fails}")).status.code();
        assert_eq!(status, Some(if critical { 3 } else { 0 }), "{file}");
    }
}

/// Before it leaves the house, and for programs.
fn out(shell: &Shell<'_>) {
    shell.run(shell.command("--redact"));
    let public = shell.run(shell.command("report public.wwt"));
    assert!(public.contains("nameserver") && !public.contains("10.1.1.53"), "{public}");
    let lines = shell.run(&format!("{} now.wwt", shell.command("--to jsonl")));
    assert_eq!(lines.lines().filter(|line| line.contains(r#""type":"connection""#)).count(), 3);
    let schema: Value = serde_json::from_str(&shell.run(shell.command("schema"))).unwrap();
    assert!(schema.is_object());
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    let folder = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp").unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(binary().unwrap(), folder.path().join("bin/wrapwatch")).unwrap();
    let name = format!("guide{}", std::process::id());
    let program = folder.path().join(&name);
    std::os::unix::fs::symlink("/usr/sbin/mariadbd", &program).unwrap();
    let lab = Lab::start(LabConfig {
        server: ServerConfig {
            path: Some(program),
            daemon: Some("mariadbd".into()),
            ..ServerConfig::default()
        },
        files: Files::resolv("nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1\n"),
        start_server: false,
        ..LabConfig::default()
    })
    .unwrap();
    let shell = Shell { folder: folder.path(), server: &name, done: RefCell::default() };
    before(&shell, &lab);
    during(&shell, &lab);
    after(&shell);
    out(&shell);
    assert_eq!(*shell.done.borrow(), commands(), "a command of the guide was not run");
}
