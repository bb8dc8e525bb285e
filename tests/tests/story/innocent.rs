//! Slow for other reasons than DNS: each is named for what it is.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::fanotify::{EventFFlags, Fanotify, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response},
};
use wrapwatch::model::{Outcome, StallCause};
use wrapwatch_tests::{
    clients::{self, ClientsSpec},
    lab::{Files, ServerConfig, Signal},
};

use crate::stage::Stage;
use crate::support::MS;

/// What the others' share may be of a wait that is not theirs.
const NEXT_TO_NOTHING: f64 = 0.05;

fn assert_not_dns(summary: &wrapwatch::model::Summary) {
    assert!(summary.dns_share.unwrap() < NEXT_TO_NOTHING, "{summary:#?}");
    assert!(!summary.verdict.contains("DNS"), "{}", summary.verdict);
}

#[test]
fn a_server_that_is_full_is_not_dns() {
    let mut stage = Stage::with(ServerConfig::options(["--max-connections=10"]));
    let mode = clients::Mode::Hold { ms: 1_000 };
    let spec = ClientsSpec { count: 16, concurrency: 16, mode, ..ClientsSpec::default() };
    let told = stage.clients(spec);
    let full = told.iter().filter(|(_, connection)| connection.error_code == Some(1040)).count();
    assert!(full > 0);
    let seen = stage.end();
    let summary = seen.summary().unwrap();
    assert_eq!(summary.errors, [(1040, full as u64)]);
    assert!(summary.verdict.contains("too many connections"), "{}", summary.verdict);
}

#[test]
fn a_frozen_syslog_is_not_dns() {
    let mut stage = Stage::with(ServerConfig::default());
    stage.files(Files::tables("", "ALL: ALL\n"));
    stage.lab.freeze_syslog(true).unwrap();
    let clients = stage.lab.begin_clients(ClientsSpec::at_once(5)).unwrap();
    stage.line(|line| match line {
        wrapwatch::model::Line::Stall(stall) => (stall.blocked_ns > 1_000_000_000).then_some(()),
        _ => None,
    });
    stage.lab.freeze_syslog(false).unwrap();
    for (_, connection) in stage.told(clients.wait().unwrap()) {
        assert_eq!(connection.outcome, Outcome::Refused);
    }
    let seen = stage.end();
    let summary = seen.summary().unwrap();
    assert_not_dns(summary);
    assert!(summary.verdict.contains("syslog"), "{}", summary.verdict);
}

#[test]
fn a_server_stopped_while_it_waits_for_a_fast_nameserver_is_not_dns() {
    let mut stage = Stage::with(ServerConfig::default());
    stage.lab.signal(Signal::Stop).unwrap();
    let clients = stage.lab.begin_clients(ClientsSpec::at_once(5)).unwrap();
    // How long it is stopped is the scenario.
    std::thread::sleep(Duration::from_secs(2));
    stage.lab.signal(Signal::Cont).unwrap();
    stage.told(clients.wait().unwrap());
    let seen = stage.end();
    let summary = seen.summary().unwrap();
    assert!(summary.total.max_ns > 1_000_000_000, "{summary:#?}");
    assert_not_dns(summary);
    // In a check or between two, as it happened to be stopped.
    let named = ["stopped, short of CPU", "off the CPU"].iter().any(|cause| summary.verdict.contains(cause));
    assert!(named, "{}", summary.verdict);
}

/// Lets every opening of some files by one process take this long, inside the kernel's call, as a slow disk would (fanotify(7), permission events).
struct SlowFiles {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl SlowFiles {
    fn start(files: &[&Path], pid: u32, delay: Duration) -> Self {
        let flags = InitFlags::FAN_CLOEXEC | InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_NONBLOCK;
        let group = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC).unwrap();
        for file in files {
            let mask = MaskFlags::FAN_OPEN_PERM;
            group.mark(MarkFlags::FAN_MARK_ADD, mask, nix::fcntl::AT_FDCWD, Some(*file)).unwrap();
        }
        let over = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !theirs.load(Ordering::Acquire) {
                let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&group), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::from(50_u16));
                for event in group.read_events().unwrap_or_default() {
                    // Others that look at it, wrapwatch among them, are let through.
                    if u32::try_from(event.pid()).is_ok_and(|opener| opener == pid) {
                        std::thread::sleep(delay);
                    }
                    if let Some(fd) = event.fd() {
                        group.write_response(FanotifyResponse::new(fd, Response::FAN_ALLOW)).unwrap();
                    }
                }
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for SlowFiles {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // The group goes with the thread, and with it whoever still waits is let through.
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_slow_disk_under_the_tables_is_files_and_not_dns() {
    let mut stage = Stage::with(ServerConfig::default());
    let pid = stage.lab.server_pid().unwrap();
    let table = format!("/proc/{pid}/root/etc/hosts.allow");
    let slow = SlowFiles::start(&[Path::new(&table)], pid, Duration::from_millis(300));
    let told = stage.clients(ClientsSpec::at_once(4));
    drop(slow);
    for (_, connection) in &told {
        assert!(connection.parts.files_ns >= 300 * MS, "{connection:#?}");
        assert_eq!(connection.blame[0].cause, StallCause::File, "{connection:#?}");
        let used = connection.files.iter().find(|file| &*file.path == "/etc/hosts.allow").unwrap();
        assert!(used.dur_ns >= 300 * MS);
    }
    let seen = stage.end();
    let summary = seen.summary().unwrap();
    assert_not_dns(summary);
    assert!(summary.verdict.contains("reading files"), "{}", summary.verdict);
}
