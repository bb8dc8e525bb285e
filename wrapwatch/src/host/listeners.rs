//! A target's listening sockets and their accept queues.

use std::{
    collections::HashMap,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use netlink_packet_sock_diag::{
    constants::{IPPROTO_TCP, IPPROTO_UDP},
    inet::StateFlags,
};
use nix::sys::socket::{SockType, SockaddrStorage, getpeername, getsockname, getsockopt, sockopt};

use super::{HostError, descriptors::Descriptors, process, sockdiag::SockDiag};

/// A listening socket of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its descriptor in the target.
    pub fd: i32,
    /// Where it listens.
    pub local: SocketAddr,
    /// Connections in its accept queue.
    pub queued: u32,
    /// The queue's limit.
    pub limit: u32,
}

/// The listeners of `pid` as they are now, by descriptor. `diag` must have been opened in its network namespace.
pub fn read(pid: u32, diag: &mut SockDiag) -> Result<Vec<Listener>, HostError> {
    let fds = Descriptors::read(pid, &[])?.sockets;
    let mut found: Vec<Listener> = diag
        .dump(IPPROTO_TCP, &StateFlags::LISTEN, 0)?
        .into_iter()
        .filter_map(|socket| {
            let fd = *fds.get(&socket.inode)?;
            Some(Listener { fd, local: socket.local, queued: socket.recv_queue, limit: socket.send_queue })
        })
        .collect();
    found.sort_by_key(|listener| listener.fd);
    Ok(found)
}

/// As [`read`], by whatever way there is; and the way into its network namespace, where that is open.
pub fn of(pid: u32) -> Result<(Vec<Listener>, Option<SockDiag>), HostError> {
    match SockDiag::open(pid).and_then(|mut diag| Ok((read(pid, &mut diag)?, Some(diag)))) {
        Err(error) if error.is_refusal() => Ok((read_by_descriptor(pid)?, None)),
        asked => asked,
    }
}

/// Whether `pid` has a UDP socket that takes datagrams from anybody.
pub fn serves_datagrams(pid: u32, diag: Option<&mut SockDiag>) -> Result<bool, HostError> {
    let Some(diag) = diag else { return serves_datagrams_by_descriptor(pid) };
    let fds = Descriptors::read(pid, &[])?.sockets;
    let sockets = diag.dump(IPPROTO_UDP, &StateFlags::all(), 0)?;
    Ok(sockets
        .iter()
        .any(|socket| socket.local.port() != 0 && socket.peer.port() == 0 && fds.contains_key(&socket.inode)))
}

fn serves_datagrams_by_descriptor(pid: u32) -> Result<bool, HostError> {
    let pidfd = process::pidfd(pid)?;
    let mut sockets = (0..MOST_DESCRIPTORS).filter_map(|fd| duplicate(&pidfd, fd).ok());
    Ok(sockets.any(|socket| {
        let is_datagram = getsockopt(&socket, sockopt::SockType) == Ok(SockType::Datagram);
        let local = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok();
        let port = local.and_then(|local| match (local.as_sockaddr_in(), local.as_sockaddr_in6()) {
            (Some(v4), _) => Some(v4.port()),
            (None, Some(v6)) => Some(v6.port()),
            (None, None) => None,
        });
        let connected = getpeername::<SockaddrStorage>(socket.as_raw_fd()).is_ok();
        is_datagram && port.is_some_and(|port| port != 0) && !connected
    }))
}

/// As [`read`], without entering its network namespace: each of its descriptors is duplicated into this process (pidfd_getfd(2), Linux 5.6), asked, and
/// let go again at once. For whoever may look into the process (CAP_SYS_PTRACE) and nothing else.
pub fn read_by_descriptor(pid: u32) -> Result<Vec<Listener>, HostError> {
    let pidfd = process::pidfd(pid)?;
    let mut found = Vec::new();
    for fd in 0..MOST_DESCRIPTORS {
        match duplicate(&pidfd, fd) {
            Ok(socket) => found.extend(ask(fd, &socket)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EBADF) => {}
                Some(libc::ESRCH) => return Err(HostError::Exited(pid)),
                Some(libc::EPERM) => return Err(HostError::Permission { pid, what: "its descriptors" }),
                _ => return Err(HostError::io(format!("descriptor {fd} of pid {pid}"), error)),
            },
        }
    }
    Ok(found)
}

/// As [`refresh`], for listeners found by [`read_by_descriptor`].
pub fn refresh_by_descriptor(pid: u32, listeners: &mut [Listener]) -> Result<(), HostError> {
    let pidfd = process::pidfd(pid)?;
    for listener in listeners {
        let socket = duplicate(&pidfd, listener.fd)
            .map_err(|error| HostError::io(format!("descriptor {} of pid {pid}", listener.fd), error))?;
        if let Some(now) = ask(listener.fd, &socket).filter(|now| now.local == listener.local) {
            *listener = now;
        }
    }
    Ok(())
}

/// Servers listen before they open much else.
pub(super) const MOST_DESCRIPTORS: i32 = 1024;

pub(super) fn duplicate(pidfd: &OwnedFd, fd: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: three integers; no memory of ours is touched.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// What a descriptor is, if it is a TCP listener.
fn ask(fd: i32, socket: &OwnedFd) -> Option<Listener> {
    if !getsockopt(socket, sockopt::AcceptConn).ok()? {
        return None;
    }
    let address: SockaddrStorage = getsockname(socket.as_raw_fd()).ok()?;
    let local = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::new(v4.ip().into(), v4.port()),
        (None, Some(v6)) => SocketAddr::new(v6.ip().to_canonical(), v6.port()),
        (None, None) => return None,
    };
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the kernel writes at most `len` bytes, which is the structure's size, and says how many.
    let info = unsafe {
        let result = libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        );
        if result != 0 {
            return None;
        }
        // SAFETY: zeros are a value of it, and the kernel wrote what it has.
        info.assume_init()
    };
    // For a listener these two are its queue and the queue's limit (net/ipv4/tcp.c, tcp_get_info).
    Some(Listener { fd, local, queued: info.tcpi_unacked, limit: info.tcpi_sacked })
}

/// The queue lengths of listeners found before, without looking through the target's descriptors again.
pub fn refresh(diag: &mut SockDiag, listeners: &mut [Listener]) -> Result<(), HostError> {
    let now: HashMap<SocketAddr, (u32, u32)> = diag
        .dump(IPPROTO_TCP, &StateFlags::LISTEN, 0)?
        .into_iter()
        .map(|socket| (socket.local, (socket.recv_queue, socket.send_queue)))
        .collect();
    for listener in listeners {
        if let Some(&(queued, limit)) = now.get(&listener.local) {
            listener.queued = queued;
            listener.limit = limit;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_datagrams_from_anybody_serves_them() {
        // A process of its own: other tests have sockets, too.
        let serves = |code: &str| {
            let code = format!(
                "import socket\nu = socket.socket(type=socket.SOCK_DGRAM)\n{code}\nprint(flush=True)\ninput()"
            );
            let mut child = std::process::Command::new("python3")
                .args(["-c", &code])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            let pid = child.id();
            let found = [
                serves_datagrams(pid, Some(&mut SockDiag::open(pid).unwrap())).unwrap(),
                serves_datagrams(pid, None).unwrap(),
            ];
            drop(child.stdin.take());
            child.wait().unwrap();
            found
        };
        assert_eq!(serves("u.bind(('127.0.0.1', 0))"), [true; 2]);
        assert_eq!(serves("u.connect(('127.0.0.1', 9))"), [false; 2], "as a resolver's");
        assert_eq!(serves(""), [false; 2]);
    }

    #[test]
    fn descriptors_tell_the_same_of_listeners_as_sock_diag() {
        let pid = std::process::id();
        let sockets = ["127.0.0.1:0", "[::1]:0"].map(std::net::TcpListener::bind);
        let mine: Vec<SocketAddr> =
            sockets.iter().flatten().map(|socket| socket.local_addr().unwrap()).collect();
        // A connection, which waits in the queue and must not be taken for a listener.
        let client = std::net::TcpStream::connect(mine[0]).unwrap();
        let of_mine =
            |found: Vec<Listener>| found.into_iter().filter(|l| mine.contains(&l.local)).collect::<Vec<_>>();
        let mut by_descriptor = of_mine(read_by_descriptor(pid).unwrap());
        assert_eq!(by_descriptor.len(), mine.len());
        assert_eq!(by_descriptor, of_mine(read(pid, &mut SockDiag::open(pid).unwrap()).unwrap()));
        assert!(by_descriptor.iter().any(|l| l.local == mine[0] && l.queued == 1 && l.limit > 0));
        let (second, queued) = (std::net::TcpStream::connect(mine[0]).unwrap(), 2);
        refresh_by_descriptor(pid, &mut by_descriptor).unwrap();
        assert!(by_descriptor.iter().any(|l| l.local == mine[0] && l.queued == queued));
        drop((client, second));
    }
}
