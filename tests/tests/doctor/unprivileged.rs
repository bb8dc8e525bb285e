//! `doctor` without any privilege: it does what needs none, and says what it left out.

use std::process::Command;

use wrapwatch::model::{
    DegradationKind,
    doctor::{HookState, View, Wrapped},
};
use wrapwatch_tests::lab::{Lab, LabConfig};

use crate::support::{copy_for_all, run};

#[test]
fn nobody_sees_what_needs_no_privilege() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = copy_for_all(folder.path());
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
        .args(["--no-new-privs", "--"])
        .arg(program)
        .args(["doctor", "--json", "--no-queries", "-p", &pid.to_string()])
        .current_dir("/");
    let run = run(command);
    assert_eq!(run.status, Some(0));
    let report = &run.report;
    // The kernel, but for what has to be tried.
    assert!(!report.kernel.release.is_empty() && report.kernel.perf_event_paranoid.is_some());
    assert_eq!((report.kernel.capabilities.len(), report.kernel.ring_buffer), (0, None));
    assert!(!report.kernel.capabilities_missing.is_empty());
    assert!(report.hooks.iter().all(|hook| hook.state != HookState::Works), "{:#?}", report.hooks);
    // The server, as far as everybody may see it.
    let target = run.target();
    assert_eq!((target.comm.as_str(), target.daemon.as_str()), ("mariadbd", "mariadbd"));
    assert!(target.started.is_some() && target.threads > 1);
    assert_eq!((target.view, target.libwrap.state), (View::Here, Wrapped::Unknown));
    assert_eq!(target.listeners, None);
    // And what was left out, with the way to get it.
    let said = |kind| report.degradations.iter().find(|missing| missing.kind == kind);
    let privileges = said(DegradationKind::NoEbpf).unwrap_or_else(|| panic!("{report:#?}"));
    assert!(privileges.change.is_some(), "{privileges:?}");
    assert!(report.degradations.iter().any(|missing| missing.pid == Some(pid)), "{report:#?}");
}
