//! Clients of unix sockets: when they come into a listener's queue, which no tracepoint tells. A trampoline on the one function of the kernel that does is attached
//! where a target has such a listener; nobody else's calls come to it.

use std::{collections::BTreeSet, fs};

use aya::{Btf, Ebpf, Endianness, programs::FEntry};

use super::{Probe, ProbeError, btf, hooks, maps::table};
use crate::{host::kernel, model::error_line};

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
        if self.hooks.iter().any(|hook| hook == HOOK) {
            return Ok(());
        }
        if !self.knows_local {
            return Err("where the kernel keeps a socket's inode is not known".to_owned());
        }
        attach(&mut self.ebpf)?;
        self.hooks.push(HOOK.to_owned());
        Ok(())
    }
}

fn attach(ebpf: &mut Ebpf) -> Result<(), String> {
    hooks::trampolines_are_safe()?;
    let named = |why: String| format!("{}: {why}", kernel::BTF);
    let bytes = fs::read(kernel::BTF).map_err(|error| named(error.to_string()))?;
    let found = btf::Btf::new(&bytes).map_err(named)?.only_functions(&BTreeSet::from([FUNCTION.to_owned()]));
    if found.names.is_empty() {
        return Err(format!("this kernel has no function {FUNCTION}"));
    }
    let btf = Btf::parse(&found.bytes, Endianness::default()).map_err(|error| named(error.to_string()))?;
    let program = ebpf.program_mut(PROGRAM).ok_or_else(|| format!("no program {PROGRAM}"))?;
    let attached = <&mut FEntry>::try_from(program).and_then(|program| {
        program.load(FUNCTION, &btf)?;
        program.attach()
    });
    attached.map(drop).map_err(|error| format!("{HOOK}: {}", error_line(&error)))
}
