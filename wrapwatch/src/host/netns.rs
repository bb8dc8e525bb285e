//! Doing something in a target's network namespace.

use std::{fs::File, os::unix::fs::MetadataExt as _, thread};

use nix::sched::{CloneFlags, setns};

use super::HostError;

/// Runs `work` in the network namespace of `pid`, on a thread of its own that ends with it, so that no other thread's namespace ever changes. Sockets
/// made there stay there. Where the caller is in it already, `work` runs on the caller's thread.
pub fn within<T: Send>(pid: u32, work: impl FnOnce() -> Result<T, HostError> + Send) -> Result<T, HostError> {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => HostError::Exited(pid),
        std::io::ErrorKind::PermissionDenied => HostError::Permission { pid, what: "ns/net" },
        _ => HostError::io(format!("/proc/{pid}/ns/net"), error),
    })?;
    // Whoever is there already needs no privilege to go there.
    let inode = |file: std::io::Result<std::fs::Metadata>| file.ok().map(|meta| (meta.dev(), meta.ino()));
    let there = inode(namespace.metadata());
    if there.is_some() && there == inode(std::fs::metadata("/proc/thread-self/ns/net")) {
        return work();
    }
    thread::scope(|scope| {
        scope
            .spawn(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET)
                    .map_err(|e| HostError::io(format!("network namespace of pid {pid}"), e.into()))?;
                work()
            })
            .join()
            .unwrap_or_else(|_| {
                Err(HostError::Unusable {
                    what: "a helper thread".into(),
                    why: "it ended unexpectedly".into(),
                })
            })
    })
}
