//! What several tests need.

use std::{
    path::Path,
    process::{Command, Output},
};

use wrapwatch::model::{
    doctor::{Doctor, DoctorProblem, Target},
    ping::{Ping, PingProblemKind},
};
use wrapwatch_tests::{
    lab::{Lab, Namespace},
    watch::binary,
};

/// What one run of `doctor` gave.
pub struct Run {
    pub report: Doctor,
    pub status: Option<i32>,
}

/// Runs `wrapwatch doctor --json` of one server, with further arguments.
pub fn doctor(pid: u32, args: &[&str]) -> Run {
    let mut command = Command::new(binary().unwrap());
    command.args(["doctor", "--json", "-p", &pid.to_string()]).args(args);
    run(command)
}

/// Runs a command that is a `wrapwatch doctor --json`.
pub fn run(mut command: Command) -> Run {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let report = serde_json::from_slice(&stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
    Run { report, status: status.code() }
}

impl Run {
    /// The one server.
    pub fn target(&self) -> &Target {
        assert_eq!(self.report.targets.len(), 1, "{:#?}", self.report.targets);
        &self.report.targets[0]
    }

    /// The problem of this kind, by its name in JSON.
    pub fn problem(&self, kind: &str) -> &DoctorProblem {
        self.find(kind).unwrap_or_else(|| panic!("no {kind} in {:#?}", self.report.problems))
    }

    /// The same, where there may be none.
    pub fn find(&self, kind: &str) -> Option<&DoctorProblem> {
        self.report.problems.iter().find(|problem| serde_json::to_value(problem.kind).unwrap() == kind)
    }
}

/// Runs `wrapwatch ping --json` from the clients' place of a lab.
pub fn ping(lab: &Lab, args: &[&str]) -> Ping {
    let (ping, _) = ping_and_status(lab, args);
    ping
}

/// The same, with its exit status.
pub fn ping_and_status(lab: &Lab, args: &[&str]) -> (Ping, Option<i32>) {
    let program = binary().unwrap().display().to_string();
    let argv = [&[program.as_str(), "ping", "--json"], args].concat();
    let result = lab.exec(Namespace::Clients, argv).unwrap();
    let ping = serde_json::from_str(&result.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", result.stdout, result.stderr));
    (ping, result.status)
}

/// Kinds of a ping's problems.
pub fn kinds(ping: &Ping) -> Vec<PingProblemKind> {
    ping.problems.iter().map(|problem| problem.kind).collect()
}

/// A copy of the binary under test where everybody can run it.
pub fn copy_for_all(folder: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.join("wrapwatch");
    std::fs::copy(binary().unwrap(), &copy).unwrap();
    copy
}
