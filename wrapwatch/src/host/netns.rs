//! Doing something in a target's network namespace.

use std::{fs::File, thread};

use nix::sched::{CloneFlags, setns};

use super::HostError;

/// Runs `work` in the network namespace of `pid`, on a thread of its own that ends with it, so that no other thread's namespace ever changes. Sockets
/// made there stay there.
pub fn within<T: Send>(pid: u32, work: impl FnOnce() -> Result<T, HostError> + Send) -> Result<T, HostError> {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => HostError::Exited(pid),
        std::io::ErrorKind::PermissionDenied => HostError::Permission { pid, what: "ns/net" },
        _ => HostError::io(format!("/proc/{pid}/ns/net"), error),
    })?;
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
