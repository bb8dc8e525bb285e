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

/// A traced process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Target {
    /// Address of libwrap's `tcpd_context` in the process, 0 where it is not known.
    pub tcpd_context: u64,
}

/// A watched descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Watch {
    /// Connection it belongs to.
    pub conn: u64,
    /// [`crate::records::Class`].
    pub class: u8,
    /// `SOCK_STREAM`, `SOCK_DGRAM`, …; 0 unknown or not a socket.
    pub sock_type: u8,
    /// Zero.
    pub pad: u16,
    /// In a slot by descriptor: whose it is, 0 where it is not watched. Otherwise of no meaning.
    pub process: u32,
}

/// What a thread is working for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Thread {
    /// The connection; what the thread opens is watched while [`Conn`] has it.
    pub conn: u64,
}

/// An open connection: from accept to its first packet or its close.
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
    /// Zero.
    pub pad: u32,
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
    /// One of [`call`].
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
const WORDS: usize = (syscall::NUMBERS / 64) as usize;

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

/// As a number of entries: so many that it never comes back to 0. What is exact for one target only is then not used.
pub const MANY: u64 = 1 << 62;

/// As the only target: no process has this number.
pub const NOBODY: u32 = u32::MAX;

/// What [`Inflight::call`] says: an exit program takes only its own.
pub mod call {
    /// accept, accept4
    pub const ACCEPT: u8 = 1;
    /// open, openat, openat2
    pub const OPEN: u8 = 2;
    /// socket
    pub const SOCKET: u8 = 3;
    /// connect
    pub const CONNECT: u8 = 4;
    /// read, readv, recvfrom: the buffer is the argument
    pub const READ: u8 = 5;
    /// recvmsg
    pub const RECVMSG: u8 = 6;
    /// recvmmsg
    pub const RECVMMSG: u8 = 7;
    /// write, writev, sendto, sendmsg, sendmmsg
    pub const WRITE: u8 = 8;
    /// getpeername
    pub const PEER: u8 = 9;
    /// wait4
    pub const WAIT: u8 = 10;
    /// Entered by user space for each thread that was there before the probes, where exits bear no name (raw tracepoints): its first exit may
    /// be accept's.
    pub const MIDWAY: u8 = 11;
    /// dup, dup2, dup3, fcntl
    pub const DUP: u8 = 12;
    /// Number of slots of a table by call.
    pub const KINDS: u32 = 13;
}

/// What a system call is to a raw tracepoint, by its number.
pub mod syscall {
    /// Not looked at.
    pub const OTHER: u32 = 0;
    /// Looked at where the thread works for a connection: while one is open.
    pub const HOOKED: u32 = 1;
    /// Makes a connection at its exit.
    pub const ACCEPT: u32 = 2;
    /// Looked at where its first argument is a watched descriptor, while a connection is open.
    pub const DESCRIPTOR: u32 = 3;
    /// As that, but also while none is: a descriptor goes.
    pub const CLOSE: u32 = 4;
    /// As that, where the first argument does not say which one.
    pub const CLOSE_OTHER: u32 = 5;
    /// Number of slots of a table by number; all that matter were there before the five hundredth call.
    pub const NUMBERS: u32 = 512;

    /// Whether a call of this sort matters also while no connection is open: it makes one, or takes a watched descriptor away.
    pub const fn always(sort: u32) -> bool {
        matches!(sort, ACCEPT | CLOSE | CLOSE_OTHER)
    }
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
}

const _: () = {
    assert!(size_of::<Layout>() == 56);
    assert!(size_of::<Target>() == 8);
    assert!(size_of::<Watch>() == 16);
    assert!(size_of::<Thread>() == 8);
    assert!(size_of::<Conn>() == 24);
    assert!(size_of::<Inflight>() == 40);
    assert!(size_of::<Slot>() == 56);
    assert!(size_of::<Gate>() == 80);
    assert!(size_of::<Busy>() == 16);
};
