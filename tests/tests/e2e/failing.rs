//! Accepts that fail: a server without a free descriptor.

use std::{net::TcpListener, os::fd::AsRawFd as _};

use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
        socket::accept,
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use wrapwatch::{decode::Event, host::process::ProcessInfo, probe::Options};
use wrapwatch_common::{counters::Counter, records::AcceptFailed};

use crate::support::with_probe;

/// A process that has no descriptor left and accepts all the same, without a pause.
struct Starved(Pid);

impl Starved {
    fn start(listener: &TcpListener) -> Self {
        let fd = listener.as_raw_fd();
        // SAFETY: the child makes system calls and nothing else: it allocates nothing, takes no lock and never returns.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => Self(child),
            ForkResult::Child => {
                let _ = setrlimit(Resource::RLIMIT_NOFILE, 3, 3);
                loop {
                    let _ = accept(fd);
                }
            }
        }
    }

    fn pid(&self) -> u32 {
        self.0.as_raw().cast_unsigned()
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

#[test]
fn failing_accepts_are_counted_all_and_told_ten_times_a_second() {
    const TOLD: usize = 4;
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Starved::start(&listener);
    let (told, counts) = with_probe(&Options::default(), |probe, records| {
        probe.add_target(&ProcessInfo::read(server.pid()).unwrap(), None, &[port]).unwrap();
        let mut told: Vec<AcceptFailed> = Vec::new();
        records.until(|_, event| {
            if let Event::AcceptFailed(failed) = event {
                told.push(*failed);
            }
            told.len() >= TOLD
        });
        (told, probe.counts())
    });

    for failed in &told {
        assert_eq!((failed.error, failed.listener), (libc::EMFILE, listener.as_raw_fd()), "{failed:?}");
        assert_eq!((failed.hdr.tgid, failed.hdr.conn), (server.pid(), 0), "{failed:?}");
    }
    assert_eq!(told[0].failures, 1, "{told:#?}");
    for pair in told.windows(2) {
        assert!(pair[1].hdr.ts_ns - pair[0].hdr.ts_ns >= 100_000_000, "{pair:#?}");
        assert!(pair[1].failures > pair[0].failures + 1, "those between are counted: {pair:#?}");
    }
    assert_eq!((counts.get(Counter::Accepts), counts.lost()), (0, 0));
}
