//! Which process accepts clients: a helper, or a process that is made for a client, does not, the one that it comes from does.

use std::collections::{BTreeSet, HashMap};

use netlink_packet_sock_diag::{constants::IPPROTO_TCP, inet::StateFlags};
use nix::unistd::Pid;
use procfs::process::Process;

use super::{
    HostError, descriptors::Descriptors, holders, libwrap, listeners, process::ProcessInfo,
    sockdiag::SockDiag, unasked,
};
use crate::wrappers::daemons;

/// So far a process that accepts is looked for.
const GENERATIONS: usize = 4;

/// The nearest process that started this one and accepts clients for it: it has a listener, and this process has a client of that or is in its session, as
/// helpers are. Who logged in by sshd and started a server there is in another one.
pub fn accepts_for(pid: u32) -> Option<u32> {
    let held = Descriptors::read(pid, &[]).map(|held| held.sockets).unwrap_or_default();
    let mut at = pid;
    for _ in 0..GENERATIONS {
        at = u32::try_from(holders::parent_of(i32::try_from(at).ok()?)?).ok().filter(|&parent| parent > 0)?;
        let helps = session(pid).is_some_and(|own| session(at) == Some(own));
        if accepts(at, helps, &held).unwrap_or(false) {
            return Some(at);
        }
    }
    None
}

/// Of these processes those that another one of them has made, or one that comes from that: with the one at the head of the line. A server that forks has made its helpers,
/// which are found by its name as well and followed with it: of thousands each would be looked into for whose it is.
pub fn heads(pids: &[u32]) -> HashMap<u32, u32> {
    let parent = |pid: u32| {
        let parent = holders::parent_of(i32::try_from(pid).ok()?)?;
        u32::try_from(parent).ok()
    };
    let all: BTreeSet<u32> = pids.iter().copied().collect();
    let parents: HashMap<u32, u32> = pids
        .iter()
        .filter_map(|&pid| Some((pid, parent(pid).filter(|parent| all.contains(parent))?)))
        .collect();
    let head = |pid: u32| {
        let mut at = pid;
        // Numbers that were given again while this was read may lead in a circle.
        for _ in 0..pids.len() {
            match parents.get(&at) {
                Some(&parent) => at = parent,
                None => break,
            }
        }
        at
    };
    parents.keys().map(|&pid| (pid, head(pid))).collect()
}

/// Whether a process has a listener, and one of these sockets (by inode) is a client of it; or whoever has them `helps`.
fn accepts(pid: u32, helps: bool, held: &HashMap<u64, i32>) -> Result<bool, HostError> {
    let mut diag = SockDiag::open(pid)?;
    let listeners = listeners::read(pid, &mut diag)?;
    if helps && !listeners.is_empty() {
        return Ok(true);
    }
    for port in ports(&listeners) {
        let found = diag.dump(IPPROTO_TCP, &StateFlags::ESTABLISHED, port)?;
        if found.iter().any(|socket| held.contains_key(&socket.inode)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A process' session (setsid(2)).
fn session(pid: u32) -> Option<Pid> {
    nix::unistd::getsid(Some(Pid::from_raw(i32::try_from(pid).ok()?))).ok()
}

/// The ports of these listeners, each once.
pub fn ports(listeners: &[listeners::Listener]) -> Vec<u16> {
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.local.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The processes that listen and map libwrap, or have a helper that does, ascending; of those that may be traced unasked. What inetd starts for each client maps it while it
/// runs only.
pub(super) fn wrapped() -> Result<Vec<u32>, HostError> {
    let all = procfs::process::all_processes()
        .map_err(|error| HostError::Unusable { what: "/proc".into(), why: error.to_string() })?;
    let mut found = BTreeSet::new();
    let mut names: HashMap<i32, String> = HashMap::new();
    for process in all.filter_map(Result::ok) {
        let Ok(pid) = u32::try_from(process.pid) else { continue };
        // A server that forks has made its helpers, which are followed with it: of thousands each would be looked into for whose it is.
        let Ok(stat) = process.stat() else { continue };
        if names.get(&stat.ppid) == Some(&stat.comm) {
            names.insert(stat.pid, stat.comm);
            continue;
        }
        // One that cannot be looked into is none of ours.
        if !matches!(libwrap::is_mapped(pid), Ok(true)) {
            continue;
        }
        let server = if listens(pid) {
            Some(pid)
        } else {
            let accepts = accepts_for(pid).filter(|pid| *pid != INIT);
            accepts.or_else(|| serves_datagrams(pid).then_some(pid))
        };
        let server = server.filter(|pid| is_of_the_machine(*pid));
        if server == Some(pid) {
            names.insert(stat.pid, stat.comm);
        }
        found.extend(server);
    }
    Ok(found.into_iter().collect())
}

/// It listens for others that are to be started (socket activation), and all of the machine comes from it: it is traced only where somebody says so.
pub const INIT: u32 = 1;

fn listens(pid: u32) -> bool {
    listeners::of(pid).is_ok_and(|(listeners, _)| !listeners.is_empty())
}

fn serves_datagrams(pid: u32) -> bool {
    listeners::serves_datagrams(pid, SockDiag::open(pid).ok().as_mut()).unwrap_or(false)
}

fn is_of_the_machine(pid: u32) -> bool {
    let process = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok());
    let comm = ProcessInfo::read(pid).map(|info| info.comm).unwrap_or_default();
    process.is_some_and(|process| unasked::is_of_the_machine(&process, &comm))
}

/// Whether a program is known to have its clients checked, by itself or by what it starts: systemd gives them to sshd.
pub fn starts_checks(program: &str) -> bool {
    daemons::find(program).is_some() || program.starts_with("systemd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_from_another_one_of_them_is_no_head() {
        let mut shell = std::process::Command::new("sh");
        let mut shell = shell.args(["-c", "cat; true"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let made = loop {
            if let (children, true) = super::super::children::family(shell.id(), 10).unwrap()
                && let [made] = children[..]
            {
                break made;
            }
            std::thread::yield_now();
        };
        let own = std::process::id();
        let found = heads(&[made, own, shell.id()]);
        assert_eq!(found, HashMap::from([(shell.id(), own), (made, own)]));
        assert_eq!(heads(&[made, own]), HashMap::new(), "who made it is not among them");
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn a_helper_is_told_from_a_server_that_somebody_started_in_a_login() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepts_for_one = |program: &[&str], stdin: std::process::Stdio| {
            let mut command = std::process::Command::new(program[0]);
            let mut child = command.args(&program[1..]).stdin(stdin).spawn().unwrap();
            let at = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
            while at("comm") != "sleep\n" {
                std::thread::yield_now();
            }
            let found = accepts_for(child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            found
        };
        let own = Some(std::process::id());
        let (helper, login) = (["sleep", "60"], ["setsid", "sleep", "60"]);
        assert_eq!(accepts_for_one(&helper, std::process::Stdio::null()), own);
        assert_eq!(accepts_for_one(&login, std::process::Stdio::null()), None);
        assert_eq!(accepts_for_one(&login, std::os::fd::OwnedFd::from(accepted).into()), own);
        drop(client);
    }
}
