//! A target's listening unix sockets and their accept queues.

use std::{collections::HashMap, os::fd::AsRawFd as _};

use nix::sys::{
    socket::{UnixAddr, getsockname, getsockopt, sockopt},
    stat::fstat,
};

use super::{HostError, descriptors::Descriptors, listeners, process, sockdiag::SockDiag};

/// A listening unix socket of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalListener {
    /// Its descriptor in the target.
    pub fd: i32,
    /// Its inode.
    pub inode: u64,
    /// Its path; an abstract name behind `@`.
    pub path: String,
    /// Connections in its accept queue, and the queue's limit, where they can be read.
    pub queue: Option<(u32, u32)>,
}

/// Those of `pid` as they are now, by descriptor. `diag`, opened in its network namespace, where there is a way into that.
pub fn read(pid: u32, diag: Option<&mut SockDiag>) -> Result<Vec<LocalListener>, HostError> {
    // A kernel may have sock_diag and no unix_diag.
    let Some(Ok(known)) = diag.map(SockDiag::local_listeners) else { return read_by_descriptor(pid) };
    let fds = Descriptors::read(pid, &[])?.sockets;
    let mut found: Vec<LocalListener> = known
        .into_iter()
        .filter_map(|socket| {
            let fd = *fds.get(&socket.inode)?;
            Some(LocalListener { fd, inode: socket.inode, path: socket.path, queue: socket.queue })
        })
        .collect();
    found.sort_by_key(|listener| listener.fd);
    Ok(found)
}

/// The queue lengths of listeners found before, as far as they can be read now.
pub fn refresh(diag: &mut SockDiag, listeners: &mut [LocalListener]) {
    if listeners.is_empty() {
        return;
    }
    let known = diag.local_listeners().unwrap_or_default();
    let now: HashMap<u64, Option<(u32, u32)>> =
        known.into_iter().map(|socket| (socket.inode, socket.queue)).collect();
    for listener in listeners {
        listener.queue = now.get(&listener.inode).copied().flatten();
    }
}

/// As [`listeners::read_by_descriptor`]. What is queued does not show this way.
fn read_by_descriptor(pid: u32) -> Result<Vec<LocalListener>, HostError> {
    let pidfd = process::pidfd(pid)?;
    let mut found = Vec::new();
    for fd in 0..listeners::MOST_DESCRIPTORS {
        let Ok(socket) = listeners::duplicate(&pidfd, fd) else { continue };
        if !getsockopt(&socket, sockopt::AcceptConn).unwrap_or(false) {
            continue;
        }
        let named = getsockname::<UnixAddr>(socket.as_raw_fd());
        if let (Ok(address), Ok(stat)) = (named, fstat(&socket)) {
            let name = address.as_abstract().map(|name| format!("@{}", String::from_utf8_lossy(name)));
            let path = || address.path().map(|path| path.display().to_string());
            let path = name.or_else(path).unwrap_or_default();
            found.push(LocalListener { fd, inode: stat.st_ino, path, queue: None });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn descriptors_tell_the_same_of_unix_listeners_as_sock_diag() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.sock");
        let listener = UnixListener::bind(&path).unwrap();
        // A connection, which waits in the queue and must not be taken for a listener.
        let first = UnixStream::connect(&path).unwrap();
        let pid = std::process::id();
        let mine = |found: Vec<LocalListener>| {
            found.into_iter().find(|found| found.fd == listener.as_raw_fd()).unwrap()
        };
        let mut diag = SockDiag::open(pid).unwrap();
        let by_diag = mine(read(pid, Some(&mut diag)).unwrap());
        let by_descriptor = mine(read(pid, None).unwrap());
        assert_eq!(by_diag.path, path.display().to_string());
        assert_eq!(by_diag.queue.map(|(queued, limit)| (queued, limit > 0)), Some((1, true)));
        assert_eq!(LocalListener { queue: None, ..by_diag.clone() }, by_descriptor);
        let second = UnixStream::connect(&path).unwrap();
        let mut listeners = [by_diag];
        refresh(&mut diag, &mut listeners);
        assert_eq!(listeners[0].queue.map(|(queued, _)| queued), Some(2));
        drop((first, second));
    }
}
