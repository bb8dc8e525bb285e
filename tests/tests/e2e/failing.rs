//! Accepts that fail: a server without a free descriptor.

use std::{
    hint,
    net::TcpListener,
    num::NonZeroUsize,
    os::fd::AsRawFd as _,
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous},
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

const PAGE: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// A process that has no descriptor left and accepts all the same, without a pause. Until it may go on it makes no system call.
struct Starved {
    pid: Pid,
    /// A page that it shares with the test.
    goes: NonNull<AtomicBool>,
}

impl Starved {
    fn start(listener: &TcpListener) -> Self {
        let fd = listener.as_raw_fd();
        // SAFETY: a mapping of its own; it is never unmapped, so it is there for the child and for as long as the test is.
        let goes = unsafe {
            mmap_anonymous(None, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)
        };
        let goes = goes.unwrap().cast::<AtomicBool>();
        // SAFETY: the child makes system calls and nothing else: it allocates nothing, takes no lock and never returns.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => Self { pid: child, goes },
            ForkResult::Child => {
                let _ = setrlimit(Resource::RLIMIT_NOFILE, 3, 3);
                // SAFETY: the page above: zeroes, which are `false`.
                while !unsafe { goes.as_ref() }.load(Ordering::Acquire) {
                    hint::spin_loop();
                }
                loop {
                    let _ = accept(fd);
                }
            }
        }
    }

    fn go(&self) {
        // SAFETY: as in `start`.
        unsafe { self.goes.as_ref() }.store(true, Ordering::Release);
    }

    fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
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
        // It was running when it was made a target, and in none of the calls that it may have been in: of those no end is lost.
        server.go();
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
