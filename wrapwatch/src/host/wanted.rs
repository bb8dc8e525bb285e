//! Finding the server's processes.

use super::{
    HostError,
    process::{ProcessInfo, SERVER_NAMES, open},
    servers, unasked,
};

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
