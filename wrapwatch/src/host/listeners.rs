//! A target's listening sockets and their accept queues.

use std::net::SocketAddr;

use netlink_packet_sock_diag::{constants::IPPROTO_TCP, inet::StateFlags};

use super::{
    HostError,
    sockdiag::{SockDiag, socket_fds},
};

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
    let fds = socket_fds(pid)?;
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

/// The queue lengths of listeners found before, without looking through the target's descriptors again.
pub fn refresh(diag: &mut SockDiag, listeners: &mut [Listener]) -> Result<(), HostError> {
    for socket in diag.dump(IPPROTO_TCP, &StateFlags::LISTEN, 0)? {
        for listener in listeners.iter_mut().filter(|listener| listener.local == socket.local) {
            listener.queued = socket.recv_queue;
            listener.limit = socket.send_queue;
        }
    }
    Ok(())
}
