//! Where this kernel keeps a socket's network namespace and a thread's wait for a CPU, from its own description of its types (BTF).
//!
//! `sock:inet_sock_set_state` names addresses and ports, but no namespace; two servers in two containers can have the same of both. Without
//! BTF such connections stay ambiguous, and the output says so.

use std::fs;

use btfparse::{ErrorKind, Offset, Readable, TypeInformation};
use wrapwatch_common::maps::Layout;

use crate::model::{Degradation, DegradationKind};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

struct Bytes(Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let to = from.saturating_add(buffer.len());
        let bytes = self
            .0
            .get(from..to)
            .ok_or_else(|| btfparse::Error::new(ErrorKind::IOError, "read past the end"))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// The offsets, or why not.
pub(super) fn read() -> Result<Layout, String> {
    let layout = parse();
    // The type tree took some fifty megabytes; a tool next to a database gives them back.
    // SAFETY: malloc_trim only returns free memory to the system.
    unsafe { libc::malloc_trim(0) };
    layout
}

fn parse() -> Result<Layout, String> {
    let bytes = fs::read(VMLINUX).map_err(|e| format!("{VMLINUX}: {e}"))?;
    let types = TypeInformation::new(&Bytes(bytes)).map_err(|e| format!("{VMLINUX}: {e:?}"))?;
    Ok(Layout {
        sock_net: offset(&types, "sock_common", "skc_net.net")?,
        net_inum: offset(&types, "net", "ns.inum")?,
        // Without CONFIG_SCHED_INFO there is no such thing; only the scheduler's share of a wait is then not told apart.
        task_run_delay: offset(&types, "task_struct", "sched_info.run_delay").unwrap_or(0),
    })
}

fn offset(types: &TypeInformation, name: &str, member: &str) -> Result<u32, String> {
    let id = types.id_of(name).ok_or_else(|| format!("no type {name}"))?;
    match types.offset_of(id, member) {
        Ok((_, Offset::ByteOffset(bytes))) => Ok(bytes),
        _ => Err(format!("no member {member} in {name}")),
    }
}

/// What it means to do without.
pub(super) fn degradation(why: &str) -> Degradation {
    Degradation {
        kind: DegradationKind::NoNetns,
        pid: None,
        message: format!(
            "the kernel does not describe its types ({why}; CONFIG_DEBUG_INFO_BTF): the wait in the queue is left out where two servers \
             in two network namespaces have the same client address and port, and a server without CPU can look like a slow nameserver"
        ),
    }
}
