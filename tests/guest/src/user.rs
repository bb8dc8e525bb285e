//! Programs run as an ordinary user that has a few capabilities.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

/// nobody, who owns nothing.
const NOBODY: u32 = 65534;

/// Has the command run as nobody with these capabilities, which it can use (they are ambient).
pub(crate) fn nobody_with(command: &mut Command, capabilities: &[Capability]) {
    let capabilities = capabilities.to_vec();
    // SAFETY: between fork and exec only this thread's identity is changed. What that allocates is glibc's allocator's, which is usable after fork.
    unsafe { command.pre_exec(move || become_nobody(&capabilities)) };
}

fn become_nobody(capabilities: &[Capability]) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    nix::sys::prctl::set_keepcaps(true)?;
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let set: CapsHashSet = capabilities.iter().copied().collect();
    for which in [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable] {
        // Effective ones are gone with root; they come back from the permitted ones.
        caps::set(None, which, &set).map_err(io::Error::other)?;
    }
    caps::set(None, CapSet::Ambient, &set).map_err(io::Error::other)
}
