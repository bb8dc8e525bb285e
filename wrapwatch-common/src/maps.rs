//! Keys and values of the maps that both sides touch.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Key of a watched descriptor: process in the high half, descriptor in the low one.
pub const fn watch_key(tgid: u32, fd: i32) -> u64 {
    ((tgid as u64) << 32) | fd.cast_unsigned() as u64
}

/// Key of a thread, as `bpf_get_current_pid_tgid` gives it: process in the high half, thread in the low one.
pub const fn thread_key(tgid: u32, tid: u32) -> u64 {
    ((tgid as u64) << 32) | tid as u64
}

/// A traced process: one that user space has entered, or one that such a process has made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Target {
    /// Address of libwrap's `tcpd_context` in the process, 0 where it is not known.
    pub tcpd_context: u64,
    /// Where `tcpd_context` lies from the beginning of `hosts_access`, a difference of addresses that wraps; 0 where it is not known. A process that has
    /// become another program has libwrap elsewhere.
    pub context_from_check: u64,
    /// The process that user space has entered: itself, or the one that it comes from. Records name that one.
    pub server: u32,
    /// 0, where the processes that it makes are not followed, [`Self::FOLLOWED`] or [`Self::CHECKS_TOLD`].
    pub follows: u16,
    /// Tells what the process is now from what it was before an `execve`, and from a process that had its number: see [`Watch::generation`].
    pub generation: u16,
}

impl Target {
    /// [`Self::follows`]: the processes that it makes are targets, too.
    pub const FOLLOWED: u16 = 1;
    /// [`Self::follows`]: they are, and uprobes tell when a thread is in a check.
    pub const CHECKS_TOLD: u16 = 2;
}

/// A watched descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Watch {
    /// Connection it belongs to.
    pub conn: u64,
    /// [`crate::records::Class`].
    pub class: u8,
    /// `SOCK_STREAM`, `SOCK_DGRAM`, …; 0 unknown or not a socket. Of a file 1 once a read found its end.
    pub sock_type: u8,
    /// [`Target::generation`] of the process when the descriptor came to be watched: `execve` closes descriptors without a call.
    pub generation: u16,
    /// In a slot by descriptor: whose it is, 0 where it is not watched. Otherwise of no meaning.
    pub process: u32,
}

/// What a thread is working for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Thread {
    /// The connection; what the thread opens is watched while [`Conn`] has it. 0 for none.
    pub conn: u64,
    /// Within libwrap's `hosts_access` (1) or `hosts_ctl` (2), as far as uprobes tell: a process that it makes is a command that a rule spawned.
    pub in_check: u32,
    /// 1 where it was made for that connection, which its process serves alone.
    pub made_for: u32,
    /// Whom it worked for before a check of somebody else; between two lookups of the server's own the subject of the last one.
    pub before: u64,
}

/// An open connection: from accept to its first packet or its close. Or a [`crate::records::Subject`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Conn {
    /// Records attempted so far.
    pub seq: u32,
    /// Line of the last [`crate::records::Rule`] written.
    pub rule_line: i32,
    /// Address of the path of the last [`crate::records::Rule`] written, as a mark of change.
    pub rule_file: u64,
    /// Descriptors of the accepted socket beside the first one.
    pub duplicates: u32,
    /// [`Target::server`] of the process that accepted it.
    pub process: u32,
    /// The kernel's address of the accepted socket: who holds a descriptor of it has this connection. 0 where it is not known.
    pub sk: u64,
    /// [`thread_key`] of the thread that accepted it.
    pub acceptor: u64,
    /// [`thread_key`] of the last thread that closed a descriptor of it, and when.
    pub let_go_by: u64,
    /// See [`Self::let_go_by`].
    pub let_go_ns: u64,
    /// 1 where the socket's own end is the connection's, and no descriptor's: a process or thread was made for it, or one that the server has made accepted it.
    pub socket_ends: u32,
    /// 1 when its client has reset it: then no change of state tells when the last descriptor goes.
    pub reset: u32,
    /// 0 for a connection; a subject's [`Self::ASKED`], [`Self::LOOKED_UP`] or [`Self::LOGS_IN`].
    pub subject: u32,
    /// Of a login: packets that the server has sent since its greeting.
    pub packets: u32,
    /// Of a login: for how long the server has waited for the client.
    pub client_ns: u64,
    /// Of a login: since when it waits for the client; 0 while it does not.
    pub turn_ns: u64,
}

impl Conn {
    /// [`Self::subject`]: libwrap is asked about it.
    pub const ASKED: u32 = 1;
    /// [`Self::subject`]: the server looks it up. `let_go_ns` is when a nameserver's socket was closed last.
    pub const LOOKED_UP: u32 = 2;
    /// [`Self::subject`]: it was greeted, and logs in.
    pub const LOGS_IN: u32 = 3;
}

/// So soon after a nameserver's socket was closed another lookup is of the same [`Conn::LOOKED_UP`]: of the address that the name has, of the next nameserver.
/// Less than user space waits before it tells what there is.
pub const SAME_SUBJECT_NS: u64 = 5_000_000;

/// Key of a process' accepts that failed with an error: process in the high half, errno in the low one.
pub const fn failure_key(tgid: u32, error: i32) -> u64 {
    ((tgid as u64) << 32) | error.cast_unsigned() as u64
}

/// Processes and errors for which failing accepts are counted.
pub const FAILURE_SLOTS: u32 = 4_096;

/// Accepts of a process that failed with the same error.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// When one was told last.
    pub told_ns: u64,
}

/// A call between its enter and its exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Inflight {
    /// When it was entered.
    pub enter_ns: u64,
    /// Connection of the descriptor or thread.
    pub conn: u64,
    /// First pointer argument that is of use: buffer, address, message header, path.
    pub ptr: u64,
    /// Its length, or a second pointer.
    pub aux: u64,
    /// Descriptor, 0 where there is none yet.
    pub fd: i32,
    /// One of [`crate::syscalls::call`].
    pub call: u8,
    /// Class of the descriptor.
    pub class: u8,
    /// Type of the socket.
    pub sock_type: u8,
    /// Whether [`Slot::entries`] counts it. User space does not count what it enters while another target runs.
    pub counted: u8,
}

/// A thread's place for the call that it is in. Threads that share it are told apart by their number: the first comes into it, others into a table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Slot {
    /// Threads of this slot that are in a call which was remembered, here or in the table.
    pub entries: u64,
    /// [`thread_key`] of the one whose call is here; 0 none.
    pub thread: u64,
    /// Its call.
    pub call: Inflight,
}

/// Words of [`Gate::always`].
const WORDS: usize = (crate::syscalls::NUMBERS / 64) as usize;

/// What nearly every system call of the machine is asked, and is let go by. It is written when a connection comes or goes and otherwise only
/// read, so it stays in every CPU's cache: one line of it or two, as the kernel happens to place it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Gate {
    /// How many connections are open at most; mostly none. [`MANY`] where there are, or were, several targets.
    pub conns: u64,
    /// The only target's process; 0 where there are, or were, several, and the table of targets must be asked.
    pub only_target: u32,
    /// Zero.
    pub pad: u32,
    /// A bit for each system call's number: it matters also while no connection is open.
    pub always: [u64; WORDS],
}

impl Gate {
    /// Of no target.
    pub const SHUT: Self = Self { conns: 0, only_target: NOBODY, pad: 0, always: [0; WORDS] };
}

/// What is counted at nearly each call of a target that matters: apart from [`Gate`], since it is written as often as it is read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Busy {
    /// How many calls between enter and exit are remembered; mostly none. [`MANY`] where there are, or were, several targets.
    pub calls: u64,
    /// How many descriptors are watched at most; often none, but the socket of syslog stays. [`MANY`] as well.
    pub fds: u64,
}

/// As a number of entries: so many that it never comes back to 0. What is exact for one target only is then not used. No byte of it is 0: where the kernel
/// copies it byte by byte in the place of another number, that is not 0 in between, which would let calls go.
pub const MANY: u64 = 0x4040_4040_4040_4040;

/// As the only target: no process has this number.
pub const NOBODY: u32 = u32::MAX;
/// As [`Gate::only_target`]: there are several, or were. Every process is looked up.
pub const SEVERAL: u32 = 0;

/// As the process and as the thread of whoever has no number in the [`PidNamespace`]: no process has this number, and it is nobody's target.
pub const ELSEWHERE: u32 = u32::MAX - 1;

/// The PID namespace in whose numbers the kernel side is to think: the one of the /proc that user space reads. Zeros where that is the first one, of whose
/// numbers the kernel knows without being asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PidNamespace {
    /// Device of the namespace's file as the kernel writes it: major number in bits 20 and above, minor number below.
    pub dev: u64,
    /// Inode of that file.
    pub inode: u64,
}

/// Words of the bitmap of ports.
pub const PORT_WORDS: u32 = 65_536 / 64;

/// A port's word in the bitmap of ports, and its bit there.
pub const fn port_bit(port: u16) -> (u32, u64) {
    (port as u32 / 64, 1 << (port % 64))
}

/// Slots of the table of watched descriptors by number. Higher numbers are looked up in another.
pub const FD_SLOTS: u32 = 65_536;

/// Slots of the table of calls by thread. A power of two: threads whose numbers are that far apart share one, see [`Slot`].
pub const CALL_SLOTS: u32 = 16_384;

/// A thread's slot among [`CALL_SLOTS`].
pub const fn call_slot(tid: u32) -> u32 {
    tid & (CALL_SLOTS - 1)
}

/// Where the running kernel keeps what no stable interface shows, in bytes from the beginning of its structure; 0 where that is not known, but for
/// `sock_daddr`, with which a socket begins.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Layout {
    /// `skc_net.net` in `struct sock_common`, with which a `struct sock` begins.
    pub sock_net: u32,
    /// `ns.inum` in `struct net`.
    pub net_inum: u32,
    /// `sched_info.run_delay` in `struct task_struct`.
    pub task_run_delay: u32,
    /// `skc_family` in `struct sock_common`.
    pub sock_family: u32,
    /// `inet_sport` in `struct inet_sock`, which begins with a `struct sock`: this side's port, network byte order. Not `skc_num`: a reset
    /// clears that before it tells of the new state (`inet_put_port` in `tcp_set_state`).
    pub sock_sport: u32,
    /// `skc_dport` there: the other side's, network byte order.
    pub sock_dport: u32,
    /// `skc_rcv_saddr` there.
    pub sock_rcv_saddr: u32,
    /// `skc_daddr` there.
    pub sock_daddr: u32,
    /// `skc_v6_rcv_saddr` there.
    pub sock_v6_rcv_saddr: u32,
    /// `skc_v6_daddr` there.
    pub sock_v6_daddr: u32,
    /// `sk_protocol` in `struct sock`.
    pub sock_protocol: u32,
    /// `sk_err` there.
    pub sock_err: u32,
    /// `signal` in `struct task_struct`.
    pub task_signal: u32,
    /// `live` in `struct signal_struct`: threads that have not ended.
    pub signal_live: u32,
    /// `thread_info.status` in `struct task_struct` (x86): whether the system call that it is in is a 32-bit program's.
    pub task_status: u32,
    /// `pid` in `struct task_struct`: the thread's number in the first PID namespace.
    pub task_pid: u32,
    /// `tgid` there: the process'.
    pub task_tgid: u32,
    /// `files` there.
    pub task_files: u32,
    /// `fdt` in `struct files_struct`.
    pub files_fdt: u32,
    /// `max_fds` in `struct fdtable`, with which it begins.
    pub fdtable_max_fds: u32,
    /// `fd` there.
    pub fdtable_fd: u32,
    /// `private_data` in `struct file`: of a socket its `struct socket`.
    pub file_private_data: u32,
    /// `sk` in `struct socket`.
    pub socket_sk: u32,
    /// `sk_socket` in `struct sock`: its `struct socket`, which a listener has, and any other from its accept on.
    pub sock_socket: u32,
    /// `skc_state` in `struct sock_common`.
    pub sock_state: u32,
    /// `vfs_inode.i_ino` in `struct socket_alloc`, which begins with a `struct socket`: the number by which user space knows a socket.
    pub socket_inode: u32,
}

const _: () = {
    assert!(size_of::<Layout>() == 104);
    assert!(size_of::<Target>() == 24);
    assert!(size_of::<Watch>() == 16);
    assert!(size_of::<Thread>() == 24);
    assert!(size_of::<Conn>() == 88);
    assert!(size_of::<Failures>() == 16);
    assert!(size_of::<Inflight>() == 40);
    assert!(size_of::<Slot>() == 56);
    assert!(size_of::<Gate>() == 80);
    assert!(size_of::<Busy>() == 16);
    let bytes = MANY.to_ne_bytes();
    let mut at = 0;
    while at < bytes.len() {
        assert!(bytes[at] != 0);
        at += 1;
    }
    assert!(size_of::<PidNamespace>() == 16);
};
