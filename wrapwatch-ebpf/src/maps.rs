//! All maps. The loader sizes them to the target (`RLIMIT_NOFILE`, threads); the sizes here are for small servers.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use wrapwatch_common::{
    counters::COUNTERS,
    maps::{Conn, Layout, Target, Thread, Watch},
    records::RECORD_MAX,
};

/// A call between its enter and its exit.
#[repr(C)]
#[derive(Clone, Copy)]
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
    /// Zero.
    pub pad: u8,
}

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
    /// read, recvfrom: the buffer is the argument
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
}

/// Room to build a record of variable length.
#[repr(C, align(8))]
pub struct Scratch(pub [u8; RECORD_MAX]);

/// Processes traced.
#[map]
pub static TARGETS: HashMap<u32, Target> = HashMap::with_max_entries(64, 0);

/// Ports the targets listen on, in host byte order.
#[map]
pub static PORTS: HashMap<u16, u8> = HashMap::with_max_entries(1024, 0);

/// Watched descriptors, by `watch_key`.
#[map]
pub static WATCH: HashMap<u64, Watch> = HashMap::with_max_entries(16384, 0);

/// Calls between enter and exit, by `thread_key`.
#[map]
pub static INFLIGHT: HashMap<u64, Inflight> = HashMap::with_max_entries(16384, 0);

/// What threads work for, by `thread_key`.
#[map]
pub static THREADS: HashMap<u64, Thread> = HashMap::with_max_entries(16384, 0);

/// Open connections: the authority on whether a thread's or a descriptor's connection still counts.
#[map]
pub static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(16384, 0);

/// The last connection number given.
#[map]
pub static LAST_CONN: Array<u64> = Array::with_max_entries(1, 0);

/// [`wrapwatch_common::counters::Counter`].
#[map]
pub static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Room to build records.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// The records.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Bytes in the ring from which a record wakes the reader; below, the reader comes by itself.
#[unsafe(no_mangle)]
pub static WAKE_BYTES: Global<u32> = Global::new(256 * 1024);

/// Where a socket's network namespace is found.
#[map]
pub static LAYOUT: Array<Layout> = Array::with_max_entries(1, 0);
