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
    pub pad: [u8; 6],
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
}

/// Where the running kernel keeps what no stable interface shows; 0 where that is not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Layout {
    /// Offset of `skc_net.net` in `struct sock_common`, with which a `struct sock` begins.
    pub sock_net: u32,
    /// Offset of `ns.inum` in `struct net`.
    pub net_inum: u32,
    /// Offset of `sched_info.run_delay` in `struct task_struct`.
    pub task_run_delay: u32,
}

const _: () = {
    assert!(size_of::<Layout>() == 12);
    assert!(size_of::<Target>() == 8);
    assert!(size_of::<Watch>() == 16);
    assert!(size_of::<Thread>() == 8);
    assert!(size_of::<Conn>() == 16);
};
