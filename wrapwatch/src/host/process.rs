//! Finding the server's processes, and what they are.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::PathBuf,
};

use procfs::process::Process;

use super::{HostError, servers, unasked};

/// Names under which MySQL's and MariaDB's server runs.
pub const SERVER_NAMES: [&str; 2] = ["mysqld", "mariadbd"];

/// Which processes to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These.
    Pids(Vec<u32>),
    /// All of this name.
    Comm(String),
    /// The main process of this systemd unit.
    Unit(String),
    /// Every mysqld and mariadbd.
    Servers,
    /// Every server that has libwrap.
    Wrapped,
}

impl Wanted {
    /// In words, for messages: "process named x".
    pub fn what(&self) -> String {
        match self {
            Self::Pids(pids) => {
                let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
                format!("process with pid {}", pids.join(", "))
            }
            Self::Comm(name) => format!("process named {name}"),
            Self::Unit(unit) => format!("process of systemd unit {unit}"),
            Self::Servers => "mysqld or mariadbd".to_owned(),
            Self::Wrapped => "server with libwrap".to_owned(),
        }
    }
}

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

fn open(pid: u32) -> Result<Process, HostError> {
    let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
    Process::new(raw).map_err(|error| match error {
        procfs::ProcError::NotFound(_) => HostError::NoProcess(pid),
        other => HostError::proc(pid, "stat", other),
    })
}

/// The PIDs of what is wanted, ascending; empty where there is none (yet).
pub fn find(wanted: &Wanted) -> Result<Vec<u32>, HostError> {
    match wanted {
        Wanted::Pids(pids) => pids.iter().map(|&pid| existing_process(pid)).collect(),
        Wanted::Comm(name) => by_name(&[name.as_str()]),
        Wanted::Unit(unit) => by_unit(unit),
        Wanted::Servers => by_name(&SERVER_NAMES),
        Wanted::Wrapped => servers::wrapped(),
    }
}

/// A thread's number is no process: what was meant is its process, and saying so beats guessing.
fn existing_process(pid: u32) -> Result<u32, HostError> {
    let process = open(pid)?;
    let status = process.status().map_err(|e| HostError::proc(pid, "status", e))?;
    let tgid = u32::try_from(status.tgid).unwrap_or(pid);
    if tgid == pid {
        Ok(pid)
    } else {
        Err(HostError::NotFound(format!("{pid} is a thread of pid {tgid}; use -p {tgid}")))
    }
}

fn by_name(names: &[&str]) -> Result<Vec<u32>, HostError> {
    let mut pids: Vec<u32> = procfs::process::all_processes()
        .map_err(|e| HostError::Unusable { what: "/proc".into(), why: e.to_string() })?
        .filter_map(Result::ok)
        .filter_map(|process| {
            let stat = process.stat().ok()?;
            // Zombies answer to their name, but accept nothing.
            let alive = !matches!(stat.state, 'Z' | 'X');
            let named = names.iter().any(|name| stat.comm == comm_of(name));
            let taken = alive && named && unasked::is_of_the_machine(&process, &stat.comm);
            if taken { u32::try_from(stat.pid).ok() } else { None }
        })
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// The kernel keeps 15 bytes of a name (`TASK_COMM_LEN`, proc(5)).
fn comm_of(name: &str) -> &str {
    name.get(..15).unwrap_or(name)
}

/// systemd keeps a system unit's processes in a control group named after it; the main one is the group's first server, or its first.
fn by_unit(unit: &str) -> Result<Vec<u32>, HostError> {
    let unit = if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") };
    let mut pids: Vec<u32> = procfs::process::all_processes()
        .map_err(|e| HostError::Unusable { what: "/proc".into(), why: e.to_string() })?
        .filter_map(Result::ok)
        .filter(|process| {
            process.cgroups().is_ok_and(|groups| {
                // In the other hierarchies anybody may have been given a group to name as he likes.
                let managers = |controllers: &[String]| {
                    controllers.iter().all(String::is_empty)
                        || controllers.iter().any(|name| name == "name=systemd")
                };
                groups.into_iter().any(|group| {
                    managers(&group.controllers) && unasked::is_system_unit(&group.pathname, &unit)
                })
            })
        })
        .filter_map(|process| u32::try_from(process.pid).ok())
        .collect();
    pids.sort_unstable();
    let servers: Vec<u32> = pids
        .iter()
        .copied()
        .filter(|&pid| ProcessInfo::read(pid).is_ok_and(|info| SERVER_NAMES.contains(&info.comm.as_str())))
        .collect();
    pids.truncate(1);
    Ok(if servers.is_empty() { pids } else { servers })
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
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let task = process.task_from_tid(i32::try_from(tid).ok()?).ok()?;
    Some(task.stat().ok()?.state)
}
