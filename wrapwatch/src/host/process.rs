//! What a process is.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::PathBuf,
};

use procfs::process::Process;

use super::{HostError, kernel};

/// Names under which MySQL's and MariaDB's server runs.
pub const SERVER_NAMES: [&str; 2] = ["mysqld", "mariadbd"];

/// A process as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// In the PID namespace of /proc.
    pub pid: u32,
    /// Its name, as ps shows it (15 bytes at most).
    pub comm: String,
    /// Its program; None where it cannot be read.
    pub exe: Option<PathBuf>,
    /// Its arguments.
    pub cmdline: Vec<String>,
    /// Clock ticks from boot to its start: with the PID, its identity.
    pub start_ticks: u64,
    /// Inode of its network namespace; 0 where it cannot be read.
    pub netns: u32,
    /// Soft limit of its descriptors.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessInfo {
    /// Reads it.
    pub fn read(pid: u32) -> Result<Self, HostError> {
        let process = open(pid)?;
        let stat = process.stat().map_err(|e| HostError::proc(pid, "stat", e))?;
        let netns =
            fs::metadata(format!("/proc/{pid}/ns/net")).map_or(0, |m| u32::try_from(m.ino()).unwrap_or(0));
        let max_fds = process.limits().ok().map_or(1024, |limits| match limits.max_open_files.soft_limit {
            procfs::process::LimitValue::Value(n) => n,
            procfs::process::LimitValue::Unlimited => u64::from(u32::MAX),
        });
        Ok(Self {
            pid,
            comm: stat.comm,
            exe: process.exe().ok(),
            cmdline: process.cmdline().unwrap_or_default(),
            start_ticks: stat.starttime,
            netns,
            max_fds,
            threads: u64::try_from(stat.num_threads).unwrap_or(1),
        })
    }
}

pub(super) fn open(pid: u32) -> Result<Process, HostError> {
    let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
    Process::new(raw).map_err(|error| match error {
        procfs::ProcError::NotFound(_) => HostError::NoProcess(pid),
        other => HostError::proc(pid, "stat", other),
    })
}

/// A descriptor that becomes readable when the process ends (pidfd_open(2), Linux 5.3).
pub fn pidfd(pid: u32) -> Result<OwnedFd, HostError> {
    use std::os::fd::FromRawFd as _;
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => {
            let error = std::io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::ESRCH) {
                Err(HostError::Exited(pid))
            } else {
                Err(HostError::io(format!("pidfd of {pid}"), error))
            }
        }
    }
}

/// The threads that a process has now.
pub fn threads(pid: u32) -> Vec<u32> {
    let tasks = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()?.tasks().ok());
    tasks.into_iter().flatten().filter_map(|task| u32::try_from(task.ok()?.tid).ok()).collect()
}

/// A thread's state as ps shows it (`R`, `S`, `D`, `T`, …); None where it is gone.
pub fn thread_state(pid: u32, tid: u32) -> Option<char> {
    let stat = kernel::read(&format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    state_in(&stat)
}

/// The state in `/proc/PID/stat`: behind the name, which may have any characters and ends with the last parenthesis.
fn state_in(stat: &[u8]) -> Option<char> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let state = stat.get(end..)?.strip_prefix(b") ")?.first()?;
    Some(char::from(*state))
}

#[cfg(test)]
mod tests {
    use super::state_in;

    #[test]
    fn a_threads_state_is_behind_its_name_whatever_that_is() {
        assert_eq!(state_in(b"7 (a) T (b)) S 1 7 7 0\n"), Some('S'));
        assert_eq!(state_in(b"7 (mysqld) R 1"), Some('R'));
        for broken in [&b""[..], b"7 mysqld S", b"7 (mysqld)", b"7 (mysqld) "] {
            assert_eq!(state_in(broken), None);
        }
    }
}
