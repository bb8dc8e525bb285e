//! Where this kernel keeps what no stable interface shows, from its own description of its types (BTF): a socket's ends and network namespace, a
//! thread's wait for a CPU.
//!
//! `sock:inet_sock_set_state` names addresses and ports, but no namespace; two servers in two containers can have the same of both. Without
//! BTF such connections stay ambiguous, and the output says so.

use std::fs;

use wrapwatch_common::maps::Layout;

use super::btf::Btf;
use crate::{
    host::kernel,
    model::{Degradation, DegradationKind},
};

/// Structure, member, where its offset goes, and whether a kernel may do without: IPv6 or CONFIG_SCHED_INFO can be left out.
type Member = (&'static str, &'static str, fn(&mut Layout) -> &mut u32, bool);
const MEMBERS: [Member; 26] = [
    ("sock_common", "skc_net.net", |layout| &mut layout.sock_net, false),
    ("net", "ns.inum", |layout| &mut layout.net_inum, false),
    ("task_struct", "sched_info.run_delay", |layout| &mut layout.task_run_delay, true),
    ("sock_common", "skc_family", |layout| &mut layout.sock_family, false),
    ("inet_sock", "inet_sport", |layout| &mut layout.sock_sport, false),
    ("sock_common", "skc_dport", |layout| &mut layout.sock_dport, false),
    ("sock_common", "skc_rcv_saddr", |layout| &mut layout.sock_rcv_saddr, false),
    ("sock_common", "skc_daddr", |layout| &mut layout.sock_daddr, false),
    ("sock_common", "skc_v6_rcv_saddr", |layout| &mut layout.sock_v6_rcv_saddr, true),
    ("sock_common", "skc_v6_daddr", |layout| &mut layout.sock_v6_daddr, true),
    ("sock", "sk_protocol", |layout| &mut layout.sock_protocol, false),
    ("sock", "sk_err", |layout| &mut layout.sock_err, false),
    ("task_struct", "signal", |layout| &mut layout.task_signal, true),
    ("signal_struct", "live", |layout| &mut layout.signal_live, true),
    // All or none of these: without them a connection is told by addresses and ports, and what other processes do with it is not seen.
    ("task_struct", "pid", |layout| &mut layout.task_pid, true),
    ("task_struct", "tgid", |layout| &mut layout.task_tgid, true),
    ("task_struct", "files", |layout| &mut layout.task_files, true),
    ("files_struct", "fdt", |layout| &mut layout.files_fdt, true),
    ("fdtable", "max_fds", |layout| &mut layout.fdtable_max_fds, true),
    ("fdtable", "fd", |layout| &mut layout.fdtable_fd, true),
    ("file", "private_data", |layout| &mut layout.file_private_data, true),
    ("socket", "sk", |layout| &mut layout.socket_sk, true),
    // Without it each client's leaving has a record.
    ("sock_common", "skc_state", |layout| &mut layout.sock_state, true),
    // Without these the wait in a unix listener's queue is not seen.
    ("sock", "sk_socket", |layout| &mut layout.sock_socket, true),
    ("socket_alloc", "vfs_inode.i_ino", |layout| &mut layout.socket_inode, true),
    // Of x86 alone.
    ("task_struct", "thread_info.status", |layout| &mut layout.task_status, true),
];

/// The offsets, or why not.
pub(super) fn read() -> Result<Layout, String> {
    let named = |why: String| format!("{}: {why}", kernel::BTF);
    let bytes = fs::read(kernel::BTF).map_err(|error| named(error.to_string()))?;
    let btf = Btf::new(&bytes).map_err(named)?;
    let mut layout = Layout::default();
    for (structure, member, field, optional) in MEMBERS {
        match btf.offset(structure, member) {
            Ok(offset) => *field(&mut layout) = offset,
            Err(why) if optional => log::debug!("{}: {why}", kernel::BTF),
            Err(why) => return Err(named(why)),
        }
    }
    Ok(layout)
}

/// What it means to do without.
pub(super) fn degradation(why: &str) -> Degradation {
    Degradation {
        kind: DegradationKind::NoNetns,
        pid: None,
        message: format!(
            "the kernel does not say where it keeps a socket's network namespace ({why}): if servers in two network namespaces have clients with the same address and port, wrapwatch leaves out their wait in the queue; and a server without CPU can look like a slow nameserver"
        ),
    }
}

/// Those asked for.
#[cfg(test)]
pub(super) fn members() -> impl Iterator<Item = (&'static str, &'static str)> {
    MEMBERS.into_iter().map(|(structure, member, ..)| (structure, member))
}
