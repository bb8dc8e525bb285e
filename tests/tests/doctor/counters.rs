//! `doctor --mysql-defaults-file`: the server's own variables and counters, by the real client program.

use std::fs;

use wrapwatch::model::DegradationKind;
use wrapwatch_tests::lab::{Lab, LabConfig, ServerConfig};

use crate::support::{doctor, kinds, ping};

#[test]
fn the_servers_own_counters() {
    let server = ServerConfig { wrapped: false, ..ServerConfig::default() };
    let lab = Lab::start(LabConfig { server, ..LabConfig::default() }).unwrap();
    let info = lab.info();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doctor.cnf");
    let socket = format!("/proc/{}/root{}", info.init_pid, info.socket.display());
    fs::write(&file, format!("[client]\nuser=root\nsocket={socket}\n")).unwrap();
    let arguments = ["--no-queries", "--mysql-defaults-file", file.to_str().unwrap()];
    let pid = lab.server_pid().unwrap();
    let before = doctor(pid, &arguments).target().counters.clone().unwrap();
    assert!(before.version.unwrap().contains("MariaDB"));
    assert_eq!((before.port, before.back_log, before.max_connections), (Some(3306), Some(80), Some(151)));
    assert_eq!(before.skip_name_resolve, Some(true));
    // What ping says of itself: each is counted as interrupted.
    assert_eq!(kinds(&ping(&lab, &["10.0.0.1:3306", "-n", "3"])), []);
    let after = doctor(pid, &arguments).target().counters.clone().unwrap();
    assert_eq!(after.aborted_connects.unwrap() - before.aborted_connects.unwrap(), 3);
    // Nobody answers there.
    fs::write(&file, "[client]\nsocket=/nowhere/server.sock\n").unwrap();
    let run = doctor(pid, &arguments);
    assert_eq!((run.status, run.target().counters.clone()), (Some(0), None));
    let missing: Vec<_> = run
        .report
        .degradations
        .iter()
        .filter(|missing| missing.kind == DegradationKind::NoCounters)
        .collect();
    assert!(missing.len() == 1 && missing[0].message.contains("/nowhere/server.sock"), "{missing:#?}");
}
