//! Clients of unix sockets: when they come into a listener's queue, which no tracepoint tells. A trampoline on the one function of the kernel that does is attached
//! where a target has such a listener; nobody else's calls come to it.

use std::collections::BTreeSet;

use aya::{Ebpf, programs::FEntry};
use wrapwatch_common::maps::Layout;

use super::{Probe, ProbeError, hooks::functions_of, maps::table};
use crate::model::error_line;

/// Called in the client once it has found room in the queue, just before it is entered.
const FUNCTION: &str = "security_unix_stream_connect";
const PROGRAM: &str = "local_connect";
/// The hook, as it is shown.
pub(super) const HOOK: &str = "fentry:security_unix_stream_connect";
const LISTENERS: &str = "LOCAL_LISTENERS";

impl Probe {
    /// From now on the queues of these unix sockets, by their inodes, are of interest, and of no others of this target. Why not, where that cannot be.
    pub fn watch_local(&mut self, pid: u32, inodes: &[u64]) -> Result<(), String> {
        if !inodes.is_empty() {
            self.attach_local()?;
        }
        let now: BTreeSet<u64> = inodes.iter().copied().collect();
        self.change_local(pid, now).map_err(|error| error.to_string())
    }

    /// A target is gone.
    pub(super) fn forget_local(&mut self, pid: u32) -> Result<(), ProbeError> {
        self.change_local(pid, BTreeSet::new())
    }

    fn change_local(&mut self, pid: u32, now: BTreeSet<u64>) -> Result<(), ProbeError> {
        let before = self.local.insert(pid, now).unwrap_or_default();
        self.local.retain(|_, inodes| !inodes.is_empty());
        let all: BTreeSet<u64> = self.local.values().flatten().copied().collect();
        if before.is_empty() && all.is_empty() {
            return Ok(());
        }
        let mut map = table::<u64, u8>(&mut self.ebpf, LISTENERS)?;
        for inode in before.difference(&all) {
            let _ = map.remove(inode);
        }
        for inode in all {
            map.insert(inode, 1, 0).map_err(ProbeError::map(LISTENERS))?;
        }
        Ok(())
    }

    fn attach_local(&mut self) -> Result<(), String> {
        if self.local_hook.is_ok() && !self.hooks.iter().any(|hook| hook == HOOK) {
            self.local_hook = attach(&mut self.ebpf);
            self.hooks.extend(self.local_hook.is_ok().then(|| HOOK.to_owned()));
        }
        self.local_hook.clone()
    }
}

/// Why the hook is of no use, if the kernel's layout says so.
pub(super) fn is_known(layout: Option<&Layout>) -> Result<(), String> {
    if layout.is_some_and(|layout| layout.sock_socket != 0 && layout.socket_inode != 0) {
        Ok(())
    } else {
        Err("where the kernel keeps a socket's inode is not known".to_owned())
    }
}

/// Attaches the hook.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<(), String> {
    let found = functions_of(&BTreeSet::from([FUNCTION.to_owned()]))?;
    if found.names.is_empty() {
        return Err(format!("this kernel has no function {FUNCTION}"));
    }
    let program = ebpf.program_mut(PROGRAM).ok_or_else(|| format!("no program {PROGRAM}"))?;
    let attached = <&mut FEntry>::try_from(program).and_then(|program| {
        program.load(FUNCTION, &found.btf)?;
        program.attach()
    });
    attached.map(drop).map_err(|error| format!("{HOOK}: {}", error_line(&error)))
}
