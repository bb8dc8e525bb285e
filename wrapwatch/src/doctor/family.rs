//! Who accepts clients for a process that has no listener of its own.

use std::collections::HashMap;

use netlink_packet_sock_diag::{constants::IPPROTO_TCP, inet::StateFlags};
use nix::unistd::Pid;

use crate::{
    host::{
        HostError, descriptors::Descriptors, holders, listeners, process::ProcessInfo, sockdiag::SockDiag,
    },
    model::doctor::{Holder, Relation},
};

/// So far a process that accepts is looked for.
const GENERATIONS: usize = 4;

/// The nearest process that started this one and accepts clients for it: it has a listener, and this process has a client of that or is in its session, as
/// helpers are. Who logged in by sshd and started a server there is in another one.
pub(super) fn accepts_for(pid: u32) -> Option<Holder> {
    let held = Descriptors::read(pid, &[]).map(|held| held.sockets).unwrap_or_default();
    let mut at = pid;
    for _ in 0..GENERATIONS {
        at = u32::try_from(holders::parent_of(i32::try_from(at).ok()?)?).ok().filter(|&parent| parent > 0)?;
        let helps = session(pid).is_some_and(|own| session(at) == Some(own));
        if accepts(at, helps, &held).unwrap_or(false) {
            let comm = ProcessInfo::read(at).ok()?.comm;
            return Some(Holder { pid: at, comm, relation: Relation::Parent });
        }
    }
    None
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
pub(super) fn ports(listeners: &[listeners::Listener]) -> Vec<u16> {
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.local.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let found = accepts_for(child.id()).map(|holder| holder.pid);
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
