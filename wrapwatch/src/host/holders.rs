//! Who else holds a socket: all processes' descriptors looked through, for as long as that may take.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use procfs::process::{FDTarget, Process, all_processes};

use super::HostError;
use crate::model::doctor::{Holder, Relation};

/// A machine with a hundred thousand descriptors is looked through in less.
const LIMIT: Duration = Duration::from_secs(1);
/// Holders of a socket that are told; a server that forks at its start has hundreds.
const AT_MOST: usize = 16;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// By the socket's inode.
    pub by_inode: HashMap<u64, Vec<Holder>>,
    /// All processes were looked through, and all holders are told.
    pub complete: bool,
}

/// The processes that hold one of these sockets, other than `pid`.
pub fn find(pid: u32, inodes: &BTreeSet<u64>) -> Result<Holders, HostError> {
    let until = Instant::now() + LIMIT;
    let mut found = Holders { complete: true, ..Holders::default() };
    let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
    let parent = Process::new(raw).and_then(|process| process.stat()).map(|stat| stat.ppid).ok();
    for process in all_processes().map_err(|error| HostError::proc(pid, "the list of processes", error))? {
        let Ok(process) = process else { continue };
        if process.pid == raw {
            continue;
        }
        if Instant::now() > until {
            found.complete = false;
            break;
        }
        match held(&process, inodes, until) {
            Ok((sockets, whole)) => {
                found.complete &= whole;
                for inode in sockets {
                    note(&mut found, inode, &process, (raw, parent));
                }
            }
            // One that has ended holds nothing.
            Err(procfs::ProcError::NotFound(_)) => {}
            Err(_) => found.complete = false,
        }
    }
    Ok(found)
}

/// Those of the sockets that a process holds, and whether all its descriptors were looked at.
fn held(
    process: &Process,
    inodes: &BTreeSet<u64>,
    until: Instant,
) -> procfs::ProcResult<(HashSet<u64>, bool)> {
    let mut sockets = HashSet::new();
    for (count, descriptor) in process.fd()?.enumerate() {
        if count % 256 == 255 && Instant::now() > until {
            return Ok((sockets, false));
        }
        if let Ok(FDTarget::Socket(inode)) = descriptor.map(|descriptor| descriptor.target)
            && inodes.contains(&inode)
        {
            sockets.insert(inode);
        }
    }
    Ok((sockets, true))
}

fn note(found: &mut Holders, inode: u64, process: &Process, (server, parent): (i32, Option<i32>)) {
    let Ok(stat) = process.stat() else { return };
    let relation = match process.pid {
        _ if stat.ppid == server => Relation::Child,
        pid if Some(pid) == parent => Relation::Parent,
        _ => Relation::Other,
    };
    let holders = found.by_inode.entry(inode).or_default();
    if holders.len() >= AT_MOST {
        found.complete = false;
        return;
    }
    holders.push(Holder { pid: u32::try_from(process.pid).unwrap_or(0), comm: stat.comm, relation });
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_that_inherited_a_listener_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap().ino();
        let inodes = BTreeSet::from([inode]);
        let own = std::process::id();
        assert_eq!(find(own, &inodes).unwrap().by_inode, HashMap::new());
        // Its standard input is the listener.
        let mut child = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener.try_clone().unwrap())))
            .spawn()
            .unwrap();
        let found = find(own, &inodes).unwrap();
        let of_child = find(child.id(), &inodes).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let holders = &found.by_inode[&inode];
        let told: Vec<_> = holders.iter().map(|holder| (holder.pid, holder.relation)).collect();
        assert_eq!(told, [(child.id(), Relation::Child)], "{found:?}");
        assert_eq!(of_child.by_inode[&inode][0].relation, Relation::Parent, "{of_child:?}");
    }
}
