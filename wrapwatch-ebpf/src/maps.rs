//! All maps. The loader sizes them to the target (`RLIMIT_NOFILE`, threads); the sizes here are for small servers.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf},
};
use wrapwatch_common::{
    counters::COUNTERS,
    maps::{CALL_SLOTS, Conn, FD_SLOTS, Inflight, Target, Thread, Watch, call, syscall},
    records::RECORD_MAX,
};

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

/// By descriptor: the process that last watched one of this number, 0 where it does so no longer. Right where there is only one target: then most
/// calls need no look-up in [`WATCH`].
#[map]
pub static FDS: Array<u32> = Array::with_max_entries(FD_SLOTS, 0);

/// How many entries [`CONNS`] has at most; mostly none. Right where there is only one target.
#[map]
pub static ALL_CONNS: Array<u64> = Array::with_max_entries(1, 0);

/// How many entries [`WATCH`] has at most; often none, but the socket of syslog stays. Right where there is only one target.
#[map]
pub static ALL_FDS: Array<u64> = Array::with_max_entries(1, 0);

/// By `call_slot`: how many entries of [`INFLIGHT`] threads of this slot have. Right where there is only one target: then most exits need no
/// look-up there.
#[map]
pub static CALLS: Array<u64> = Array::with_max_entries(CALL_SLOTS, 0);

/// How many entries [`INFLIGHT`] has; mostly none. Right where there is only one target.
#[map]
pub static ALL_CALLS: Array<u64> = Array::with_max_entries(1, 0);

/// What threads work for, by `thread_key`.
#[map]
pub static THREADS: HashMap<u64, Thread> = HashMap::with_max_entries(16384, 0);

/// Open connections: the authority on whether a thread's or a descriptor's connection still counts.
#[map]
pub static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(16384, 0);

/// The last connection number given.
#[map]
pub static LAST_CONN: Array<u64> = Array::with_max_entries(1, 0);

/// [`wrapwatch_common::counters::Counter`]. User space maps it: while it asks for a map's value by a system call, the kernel runs no perf tracepoint's
/// program on that CPU, and where it is built to be preempted, it can be so in the middle of that.
#[map]
pub static COUNTS: Array<u64> = Array::with_max_entries(COUNTERS, BPF_F_MMAPABLE);

/// Room to build records.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// The records.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Bytes in the ring from which a record wakes the reader; below, the reader comes by itself.
#[unsafe(no_mangle)]
pub static WAKE_BYTES: Global<u32> = Global::new(256 * 1024);

/// The only target's process; 0 where there are, or were, several, and [`TARGETS`] must be asked.
#[map]
pub static ONLY_TARGET: Array<u32> = Array::with_max_entries(1, 0);

/// What each system call is to us, by number: [`syscall`]. For raw tracepoints.
#[map]
pub static SYSCALLS: Array<u32> = Array::with_max_entries(syscall::NUMBERS, 0);

/// Programs for the enter of a system call, by its number.
#[map]
pub static ENTERS: ProgramArray = ProgramArray::with_max_entries(syscall::NUMBERS, 0);

/// Programs for the exit of a call, by [`call`].
#[map]
pub static EXITS: ProgramArray = ProgramArray::with_max_entries(call::KINDS, 0);
