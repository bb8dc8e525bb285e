//! Reading the kernel's own structures, at the offsets that the loader found.
//!
//! They are constants by the time the verifier looks: where one is 0 the code behind it is not there, nor the helper that it calls.

use aya_ebpf::{
    bindings::bpf_pidns_info,
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_kernel,
        generated::{bpf_get_current_task, bpf_get_ns_current_pid_tgid},
    },
};
use wrapwatch_common::{
    abi::AF_INET,
    maps::{ELSEWHERE, Layout, PidNamespace, thread_key},
    records::Addr,
};

use crate::sockaddr::{self, SOCKADDR_IN6, Socket};

/// See [`Layout`].
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout {
    sock_net: 0,
    net_inum: 0,
    task_run_delay: 0,
    sock_family: 0,
    sock_sport: 0,
    sock_dport: 0,
    sock_rcv_saddr: 0,
    sock_daddr: 0,
    sock_v6_rcv_saddr: 0,
    sock_v6_daddr: 0,
    sock_protocol: 0,
    sock_err: 0,
    task_signal: 0,
    signal_live: 0,
    task_status: 0,
    task_pid: 0,
    task_tgid: 0,
    task_files: 0,
    files_fdt: 0,
    fdtable_max_fds: 0,
    fdtable_fd: 0,
    file_private_data: 0,
    socket_sk: 0,
    sock_socket: 0,
    sock_state: 0,
    socket_inode: 0,
};

/// One of the offsets.
macro_rules! offset {
    ($member:ident) => {
        // SAFETY: a static's member can be read. Volatile, since the compiler would take what stands there now for the value.
        unsafe { core::ptr::addr_of!(LAYOUT.$member).read_volatile() }
    };
}

/// See [`PidNamespace`].
#[unsafe(no_mangle)]
pub static PID_NAMESPACE: PidNamespace = PidNamespace { dev: 0, inode: 0 };

/// Now, on the records' clock.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The current thread's process and thread, in the high and the low half, by the numbers that user space knows; [`ELSEWHERE`] where it has none there.
#[inline(always)]
pub fn current() -> u64 {
    let Some((dev, inode)) = pid_namespace() else { return bpf_get_current_pid_tgid() };
    let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: the helper (Linux 5.7) writes the structure, whose size it is told.
    let failed =
        unsafe { bpf_get_ns_current_pid_tgid(dev, inode, &raw mut ids, size_of::<bpf_pidns_info>() as u32) };
    // It fails where the thread lives in another namespace, also in one within.
    if failed == 0 { thread_key(ids.tgid, ids.pid) } else { thread_key(ELSEWHERE, ELSEWHERE) }
}

/// The number by which user space knows the current thread that the kernel knows by `global`; 0 where it is another thread's.
#[inline(always)]
pub fn known_as(global: u32) -> u32 {
    if pid_namespace().is_none() {
        global
    } else if global == bpf_get_current_pid_tgid() as u32 {
        current() as u32
    } else {
        0
    }
}

/// Device and inode of the namespace whose numbers are asked for; None for the first one's.
#[inline(always)]
fn pid_namespace() -> Option<(u64, u64)> {
    // SAFETY: a static's members can be read. Volatile, since the compiler would take what stands there now for the value.
    let (dev, inode) = unsafe {
        (
            core::ptr::addr_of!(PID_NAMESPACE.dev).read_volatile(),
            core::ptr::addr_of!(PID_NAMESPACE.inode).read_volatile(),
        )
    };
    if inode == 0 { None } else { Some((dev, inode)) }
}

/// How long the current thread has been runnable without a CPU since it began; 0 where the loader does not know where that stands.
#[inline(always)]
pub fn run_delay() -> u64 {
    let run_delay = offset!(task_run_delay);
    if run_delay == 0 {
        return 0;
    }
    // SAFETY: the helpers have no preconditions but a valid address, which they check; the offset comes from the running kernel's own BTF.
    unsafe {
        let task = bpf_get_current_task();
        bpf_probe_read_kernel((task + u64::from(run_delay)) as *const u64).unwrap_or(0)
    }
}

/// `thread_info.status` of the current thread; None where the loader does not know where that stands.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub fn thread_status() -> Option<u32> {
    let status = offset!(task_status);
    if status == 0 {
        return None;
    }
    // SAFETY: the helpers have no preconditions but a valid address, which they check; the offset comes from the running kernel's own BTF.
    unsafe {
        let task = bpf_get_current_task();
        bpf_probe_read_kernel((task + u64::from(status)) as *const u32).ok()
    }
}

/// Inode of the network namespace of the `struct sock` at `sk`; 0 where the loader does not know where it is.
#[inline(always)]
pub fn netns(sk: u64) -> u32 {
    let (sock_net, net_inum) = (offset!(sock_net), offset!(net_inum));
    if net_inum == 0 {
        return 0;
    }
    // SAFETY: the helper fails on a bad address; the offsets come from the running kernel's own BTF.
    unsafe {
        let Ok(net) = bpf_probe_read_kernel((sk + u64::from(sock_net)) as *const u64) else {
            return 0;
        };
        bpf_probe_read_kernel((net + u64::from(net_inum)) as *const u32).unwrap_or(0)
    }
}

/// Whether the current thread, which ends, is the last of its process; false where that is not known.
#[inline(always)]
pub fn is_last_thread() -> bool {
    let (signal, live) = (offset!(task_signal), offset!(signal_live));
    if signal == 0 || live == 0 {
        return false;
    }
    // SAFETY: the helpers have no preconditions but valid addresses, which they check; the offsets come from the running kernel's own BTF.
    unsafe {
        let task = bpf_get_current_task();
        let Ok(signal) = bpf_probe_read_kernel((task + u64::from(signal)) as *const u64) else {
            return false;
        };
        // `do_exit` counts it down before it comes to the tracepoint.
        bpf_probe_read_kernel((signal + u64::from(live)) as *const i32) == Ok(0)
    }
}

/// Whether user space numbers processes as the kernel does: a new process' number can be read before it runs.
#[inline(always)]
pub fn numbers_are_global() -> bool {
    pid_namespace().is_none()
}

/// Process and thread number of a `struct task_struct`, as [`thread_key`] has them; 0 where the loader does not know where they stand.
#[inline(always)]
pub fn task_key(task: u64) -> u64 {
    let (pid, tgid) = (offset!(task_pid), offset!(task_tgid));
    if pid == 0 || tgid == 0 {
        return 0;
    }
    // SAFETY: the helper checks the addresses; the offsets come from the running kernel's own BTF.
    unsafe {
        let tid = bpf_probe_read_kernel((task + u64::from(pid)) as *const u32).unwrap_or(0);
        let tgid = bpf_probe_read_kernel((task + u64::from(tgid)) as *const u32).unwrap_or(0);
        thread_key(tgid, tid)
    }
}

/// Address of the `struct sock` behind a descriptor of the current process; 0 where there is none, or the loader does not know the way there. Of a descriptor that is no
/// socket some number: it is to be compared with known ones.
#[inline(always)]
pub fn sock_of(fd: i32) -> u64 {
    if !knows_sockets() || fd < 0 {
        return 0;
    }
    let files = offset!(task_files);
    let found = || {
        // SAFETY: the helper has no preconditions.
        let task = unsafe { bpf_get_current_task() };
        let table = pointer(pointer(task, files)?, offset!(files_fdt))?;
        let max = table + u64::from(offset!(fdtable_max_fds));
        // SAFETY: the helper checks the address; the offset comes from the running kernel's own BTF.
        let max = unsafe { bpf_probe_read_kernel(max as *const u32) }.ok()?;
        if fd as u32 >= max {
            return None;
        }
        behind(pointer(pointer(table, offset!(fdtable_fd))? + 8 * fd as u64, 0)?)
    };
    found().unwrap_or(0)
}

/// The same of a `struct file`.
#[inline(always)]
pub fn sock_of_file(file: u64) -> u64 {
    if knows_sockets() { behind(file).unwrap_or(0) } else { 0 }
}

/// The `struct sock` of a `struct file`.
#[inline(always)]
fn behind(file: u64) -> Option<u64> {
    pointer(pointer(file, offset!(file_private_data))?, offset!(socket_sk))
}

/// Inode of the `struct sock` at `sk`, as `/proc/PID/fd` shows it; 0 where there is none, or the loader does not know where it stands.
#[inline(always)]
pub fn inode_of(sk: u64) -> u64 {
    let (socket, inode) = (offset!(sock_socket), offset!(socket_inode));
    if socket == 0 || inode == 0 {
        return 0;
    }
    match pointer(sk, socket) {
        Some(socket) if socket != 0 => pointer(socket, inode).unwrap_or(0),
        _ => 0,
    }
}

/// The address in the `struct msghdr` (include/linux/socket.h) of the kernel's at `msg`, which begins with a pointer to it.
#[inline(always)]
pub fn message_address(msg: u64) -> Addr {
    // SAFETY: the helper checks the address. Whatever the family, there is room for the longest address (`struct sockaddr_storage`).
    let read = |name: u64| unsafe { bpf_probe_read_kernel(name as *const [u8; SOCKADDR_IN6]) }.ok();
    pointer(msg, 0).and_then(read).map_or(sockaddr::NONE, |bytes| sockaddr::of(&bytes))
}

/// A pointer in a structure of the kernel's.
#[inline(always)]
fn pointer(structure: u64, offset: u32) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((structure + u64::from(offset)) as *const u64) }.ok()
}

/// Whether [`sock_of`] knows the way.
#[inline(always)]
pub fn knows_sockets() -> bool {
    offset!(task_files) != 0 && offset!(socket_sk) != 0
}

/// A `struct sock`.
pub struct Sock(pub u64);

impl Sock {
    #[inline(always)]
    fn member<T: Default>(&self, offset: u32) -> T {
        // SAFETY: the helper checks the address; T is plain data for every caller (integers, arrays of them).
        unsafe { bpf_probe_read_kernel((self.0 + u64::from(offset)) as *const T) }.unwrap_or_default()
    }

    /// The error queued on it, positive.
    #[inline(always)]
    pub fn error(&self) -> i32 {
        self.member(offset!(sock_err))
    }

    /// Whether somebody has accepted it; false where the loader does not know where that stands.
    #[inline(always)]
    pub fn is_accepted(&self) -> bool {
        let socket = offset!(sock_socket);
        socket != 0 && offset!(sock_state) != 0 && self.member::<u64>(socket) != 0
    }

    /// Its state, of net/tcp_states.h; 0 where the loader does not know where that stands.
    #[inline(always)]
    pub fn state(&self) -> u8 {
        let state = offset!(sock_state);
        if state == 0 { 0 } else { self.member(state) }
    }

    #[inline(always)]
    fn ip(&self, family: u16, v4: u32, v6: u32) -> [u8; 16] {
        if family == AF_INET { sockaddr::v4_mapped(self.member(v4)) } else { self.member(v6) }
    }
}

impl Socket for Sock {
    #[inline(always)]
    fn protocol(&self) -> u16 {
        self.member(offset!(sock_protocol))
    }

    #[inline(always)]
    fn family(&self) -> u16 {
        self.member(offset!(sock_family))
    }

    #[inline(always)]
    fn local_port(&self) -> u16 {
        u16::from_be(self.member(offset!(sock_sport)))
    }

    #[inline(always)]
    fn peer_port(&self) -> u16 {
        u16::from_be(self.member(offset!(sock_dport)))
    }

    #[inline(always)]
    fn local_ip(&self, family: u16) -> [u8; 16] {
        self.ip(family, offset!(sock_rcv_saddr), offset!(sock_v6_rcv_saddr))
    }

    #[inline(always)]
    fn peer_ip(&self, family: u16) -> [u8; 16] {
        self.ip(family, offset!(sock_daddr), offset!(sock_v6_daddr))
    }
}
