//! Who else holds a socket: all processes' descriptors looked through, for as long as that may take.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use procfs::process::{FDTarget, Process, all_processes};

use super::{HostError, kernel};
use crate::model::doctor::{Holder, Relation};

/// A machine with a hundred thousand descriptors is looked through in less.
const LIMIT: Duration = Duration::from_secs(1);
/// Holders of a socket that are told; a server that forks at its start has hundreds.
const AT_MOST: usize = 16;

/// So far a server is looked for among a process' ancestors.
const GENERATIONS: usize = 16;

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
    let mut found = Holders { complete: shows_all(), ..Holders::default() };
    let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
    let parent = parent_of(raw);
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

/// Whether /proc shows all processes of the machine: those outside of this PID namespace it never does, and others' it may hide.
fn shows_all() -> bool {
    let first = kernel::is_first_namespace("pid") == Some(true);
    let sees_hidden =
        || caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_PTRACE).unwrap_or(false);
    first
        && (std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| !hides(&mounts))
            || sees_hidden())
}

/// Whether the last mount at /proc hides processes (proc(5), hidepid).
fn hides(mountinfo: &str) -> bool {
    let at_proc = |line: &&str| line.split(' ').nth(4) == Some("/proc");
    let last = mountinfo.lines().rfind(at_proc).unwrap_or_default();
    let options = last.rsplit(' ').next().unwrap_or_default().split(',');
    options.filter_map(|option| option.strip_prefix("hidepid=")).any(|how| !matches!(how, "0" | "off"))
}

/// The process that started one.
pub fn parent_of(pid: i32) -> Option<i32> {
    Some(Process::new(pid).ok()?.stat().ok()?.ppid)
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
    let relation = relation((process.pid, stat.ppid), (server, parent), parent_of);
    let holders = found.by_inode.entry(inode).or_default();
    if holders.len() >= AT_MOST {
        found.complete = false;
        return;
    }
    holders.push(Holder { pid: u32::try_from(process.pid).unwrap_or(0), comm: stat.comm, relation });
}

/// What a process is to a server, each with its parent.
fn relation(
    (pid, own_parent): (i32, i32),
    (server, parent): (i32, Option<i32>),
    parent_of: impl Fn(i32) -> Option<i32>,
) -> Relation {
    if Some(pid) == parent {
        return Relation::Parent;
    }
    let ancestors = std::iter::successors(Some(own_parent), |&pid| parent_of(pid));
    if ancestors.take(GENERATIONS).take_while(|&pid| pid > 1).any(|pid| pid == server) {
        return Relation::Child;
    }
    let same = parent == Some(own_parent) && own_parent > 1;
    if same { Relation::Sibling } else { Relation::Other }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_what_its_ancestors_make_it() {
        // 1 → 10 → 20 (the server) → 30 → 40; 10 → 21; 1 → 22.
        let parents = HashMap::from([(10, 1), (20, 10), (21, 10), (22, 1), (30, 20), (40, 30)]);
        let parent_of = |pid| parents.get(&pid).copied();
        let to = |pid, server| relation((pid, parents[&pid]), (server, parent_of(server)), parent_of);
        assert_eq!(to(10, 20), Relation::Parent);
        assert_eq!((to(30, 20), to(40, 20)), (Relation::Child, Relation::Child));
        assert_eq!(to(21, 20), Relation::Sibling);
        assert_eq!(
            (to(22, 20), to(22, 10)),
            (Relation::Other, Relation::Other),
            "all come from the first process"
        );
    }

    #[test]
    fn hidden_processes_are_seen_to_be_hidden() {
        let mount = |options: &str| format!("25 1 0:24 / /proc rw,nosuid - proc proc {options}\n");
        for (options, expected) in [
            ("rw", false),
            ("rw,hidepid=0", false),
            ("rw,hidepid=off", false),
            ("rw,gid=4,hidepid=2", true),
            ("rw,hidepid=invisible", true),
            ("rw,hidepid=ptraceable,subset=pid", true),
        ] {
            assert_eq!(hides(&mount(options)), expected, "{options}");
        }
        assert!(!hides(&(mount("rw,hidepid=2") + &mount("rw"))), "the last one is what is seen");
        assert!(!hides(""));
    }

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
