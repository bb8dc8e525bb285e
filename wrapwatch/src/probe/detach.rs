//! Taking the programs off. Where the kernel waits for each of them until nobody is in it any more, which takes seconds, nobody has to wait for the kernel: a child holds them when this
//! process has let go of them, and they go with it.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::wait::waitpid,
    unistd::{ForkResult, Pid, fork, pipe2},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::host::process;

/// As `ps` shows the child.
const NAME: &std::ffi::CStr = c"wwt-detach";
/// How the kernel calls descriptors of programs, and what ties them to where they run.
const HOLDS: [&str; 2] = ["anon_inode:bpf", "anon_inode:[perf_event]"];

/// Programs that are being taken off.
#[derive(Debug)]
pub struct Detaching(Option<Child>);

#[derive(Debug)]
struct Child {
    pid: Pid,
    /// Readable when it has ended.
    ended: AsyncFd<OwnedFd>,
}

impl Detaching {
    /// Lets go of what holds the programs, and has a child take them off; without one this takes as long as it takes. To be called within a tokio runtime, once nothing
    /// is a target any more.
    pub(super) fn begin(let_go: impl FnOnce()) -> Self {
        let child = Child::begin();
        let_go();
        match child {
            Ok((child, waits)) => {
                drop(waits);
                Self(Some(child))
            }
            Err(error) => {
                log::debug!("taking the programs off without a child: {error}");
                Self(None)
            }
        }
    }

    /// Waits until everything is off. Cancelling it changes nothing about that.
    pub async fn finished(&mut self) {
        if let Some(child) = &self.0 {
            // An error would mean that the runtime is going down.
            let _ = child.ended.readable().await;
            while waitpid(child.pid, None) == Err(Errno::EINTR) {}
            self.0 = None;
        }
    }
}

impl Child {
    /// Makes it; it ends when what comes with it is dropped.
    fn begin() -> std::io::Result<(Self, OwnedFd)> {
        let (waits, ends) = pipe2(OFlag::O_CLOEXEC)?;
        let others = others(waits.as_raw_fd())?;
        // SAFETY: the child calls nothing but what may be called after a fork beside other threads (signal-safety(7)): it neither allocates nor locks.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                let ended = process::pidfd(child.as_raw().unsigned_abs()).map_err(std::io::Error::other)?;
                // SAFETY: an OwnedFd returns the same open descriptor for as long as it lives, and AsyncFd owns it.
                let ended = unsafe { AsyncFd::register_with_interest(ended, Interest::READABLE) }
                    .map_err(std::io::Error::from)?;
                Ok((Self { pid: child, ended }, ends))
            }
            ForkResult::Child => {
                let _ = nix::sys::prctl::set_name(NAME);
                // Whoever waits for the end of this process' output, or for its locks, does not wait for the kernel.
                for other in others {
                    // SAFETY: it touches no memory; what owns this descriptor is the parent's copy.
                    unsafe { libc::close(other) };
                }
                let _ = File::from(waits).read(&mut [0]);
                // SAFETY: _exit ends the process; nothing of the parent's (buffered output) may be written twice.
                unsafe { libc::_exit(0) }
            }
        }
    }
}

/// All open descriptors but this one and those that hold programs.
fn others(kept: RawFd) -> std::io::Result<Vec<RawFd>> {
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It is gone by now, where it was that of this directory.
        let Ok(what) = std::fs::read_link(entry.path()) else { continue };
        let holds = what.to_str().is_some_and(|what| HOLDS.iter().any(|begins| what.starts_with(begins)));
        if fd != kept && !holds {
            others.push(fd);
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// As tracing a process has it.
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn the_child_ends_once_nothing_is_held_and_keeps_no_output_open() {
        runtime().block_on(async {
            let (mut end, mut output) = std::io::pipe().unwrap();
            let (child, waits) = Child::begin().unwrap();
            let pid = child.pid.as_raw().unsigned_abs();
            // Somebody who reads what this process writes sees its end now.
            output.write_all(b"all").unwrap();
            drop(output);
            let mut read = String::new();
            end.read_to_string(&mut read).unwrap();
            assert_eq!(read, "all");
            assert_ne!(process::thread_state(pid, pid), Some('Z'), "it waits for what it was made for");
            drop(waits);
            let mut detaching = Detaching(Some(child));
            detaching.finished().await;
            assert_eq!(process::thread_state(pid, pid), None);
            // Once more waits for nobody.
            detaching.finished().await;
        });
    }

    #[test]
    fn what_holds_programs_is_kept_open() {
        let (waits, _ends) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let others = others(waits.as_raw_fd()).unwrap();
        assert!(others.contains(&0) || others.contains(&1) || others.contains(&2), "{others:?}");
        assert!(!others.contains(&waits.as_raw_fd()));
    }
}
