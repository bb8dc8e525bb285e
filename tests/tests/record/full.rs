//! A full disk under what writes more than one file. One file: `crash::no_space_left`.

use std::{fs, path::Path};

use wrapwatch_tests::{
    clients::ClientsSpec,
    disk::Disk,
    lab::Files,
    wait::wait_for,
    watch::{Watch, binary},
};

use crate::support::{by_number, lab, replay};

/// `wrapwatch record` of this process into `a.wwt` on a disk of so many bytes.
fn recorder(at: &Path, bytes: u64, pid: u32, args: &[&str]) -> Watch {
    let mut command = Disk::command(at, bytes, &binary().unwrap());
    command.args(["record", "--json", "-p", &pid.to_string(), "-o"]).arg(at.join("a.wwt")).args(args);
    Watch::run(command).unwrap()
}

/// Some at once, over two seconds: what is recorded is written once a second.
fn load() -> ClientsSpec {
    ClientsSpec { count: 400, concurrency: 10, stagger_us: 5_000, ..ClientsSpec::default() }
}

#[test]
fn without_space_for_the_next_file_the_finished_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab();
    let pid = lab.server_pid().unwrap();
    let watch = recorder(dir.path(), 256 << 10, pid, &["--max-size", "48K"]);
    // It goes with the recorder.
    let disk = fs::File::open(Disk::of(watch.id(), dir.path()).path()).unwrap();
    let disk = Path::new("/proc")
        .join(std::process::id().to_string())
        .join("fd")
        .join(std::os::fd::AsRawFd::as_raw_fd(&disk).to_string());
    lab.clients(ClientsSpec { count: 4_000, concurrency: 10, ..ClientsSpec::default() }).unwrap();
    let told = watch.wait().unwrap();
    let last = told.stderr.lines().last().unwrap();
    assert!(told.status == Some(1) && last.contains("no space left"), "{}", told.stderr);
    let mut files: Vec<_> = fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 3, "{files:?}");
    let mut before = 0;
    for file in files {
        let trace = replay(&file);
        let connections = by_number(&trace);
        assert!(connections.keys().all(|conn| *conn > before), "{}", file.display());
        before = connections.keys().next_back().map_or(before, |conn| *conn);
    }
    assert!(before > 500, "{before}");
}

#[test]
fn a_flight_recorder_goes_on_and_has_what_came_when_there_was_space_again() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab();
    let args = ["--last", "10m", "--when", "refused", "--after", "1ms", "--max-total", "4M"];
    let mut watch = recorder(dir.path(), 8 << 20, lab.server_pid().unwrap(), &args);
    let disk = Disk::of(watch.id(), dir.path());
    lab.clients(load()).unwrap();
    watch.wait_connections(400).unwrap();
    disk.fill().unwrap();
    lab.clients(load()).unwrap();
    watch.wait_connections(800).unwrap();
    disk.free().unwrap();
    lab.clients(load()).unwrap();
    watch.wait_connections(1_200).unwrap();
    lab.files(Files::tables("", "ALL: ALL\n")).unwrap();
    lab.client().unwrap();
    wait_for("a trace is saved", || Ok(disk.path().join("a.wwt").exists())).unwrap();
    let saved = replay(&disk.path().join("a.wwt"));
    let connections = by_number(&saved);
    // All that came afterwards, and who was refused.
    let after = connections.range(801..).filter(|(_, connection)| connection.complete).count();
    assert_eq!((after, connections.keys().next_back()), (401, Some(&1_201)), "{}", saved.stderr);
    // What could not be written is not missing as if nobody had come.
    let gap = saved.stderr.lines().find(|line| line.contains("could not write blocks"));
    assert_eq!(gap.is_some(), connections.len() < 1_201, "{}", saved.stderr);
    let told = watch.stop().unwrap();
    assert!(told.status == Some(0) && told.stderr.contains("no space left for the ring"), "{}", told.stderr);
}
