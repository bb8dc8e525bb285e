//! All maps. The loader sizes them to the target (`RLIMIT_NOFILE`, threads); the sizes here are for small servers.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf},
};
use wrapwatch_common::{
    counters::COUNTERS,
    maps::{
        Busy, CALL_SLOTS, Conn, FAILURE_SLOTS, FD_SLOTS, Failures, Gate, Inflight, PORT_WORDS, Slot, Target,
        Thread, Watch,
    },
    records::RECORD_MAX,
    syscalls::{NUMBERS, call},
};

use crate::shared::Shared;

/// A slot in which a record of variable length is built.
#[repr(C, align(8))]
pub struct Scratch(pub [u8; RECORD_MAX]);

/// Processes traced.
#[map]
pub static TARGETS: HashMap<u32, Target> = HashMap::with_max_entries(64, 0);

/// Ports the targets listen on, a bit each: see `port_bit`.
#[map]
pub static PORTS: Array<u64> = Array::with_max_entries(PORT_WORDS, 0);

/// Inodes of the network namespaces in which the targets listen. 0 stands for all: a target's is not known.
#[map]
pub static NETNS: HashMap<u32, u8> = HashMap::with_max_entries(64, 0);

/// Inodes of the unix sockets on which the targets listen.
#[map]
pub static LOCAL_LISTENERS: HashMap<u64, u8> = HashMap::with_max_entries(64, 0);

/// What lets a call go without more.
#[unsafe(link_section = ".data.gate")]
#[unsafe(no_mangle)]
pub static GATE: Shared<Gate> = Shared::new(Gate::SHUT);

/// See [`Busy`].
#[unsafe(link_section = ".data.busy")]
#[unsafe(no_mangle)]
pub static BUSY: Shared<Busy> = Shared::new(Busy { calls: 0, fds: 0 });

/// Watched descriptors of the only target by number: most are here, where nothing is hashed. User space maps it, to look through it when a target goes.
#[map]
pub static FDS: Array<Watch> = Array::with_max_entries(FD_SLOTS, BPF_F_MMAPABLE);

/// All others, by `watch_key`: high numbers, and those of several targets but for what the first had when the second came.
#[map]
pub static WATCH: HashMap<u64, Watch> = HashMap::with_max_entries(16384, 0);

/// Calls between enter and exit by `call_slot`: nearly all are here, where nothing is hashed. User space maps it as well.
#[map]
pub static CALLS: Array<Slot> = Array::with_max_entries(CALL_SLOTS, BPF_F_MMAPABLE);

/// All others, by `thread_key`: of threads whose slot was taken, and those that user space enters.
#[map]
pub static INFLIGHT: HashMap<u64, Inflight> = HashMap::with_max_entries(16384, 0);

/// What threads work for, by `thread_key`.
#[map]
pub static THREADS: HashMap<u64, Thread> = HashMap::with_max_entries(16384, 0);

/// Open connections: the authority on whether a thread's or a descriptor's connection still counts.
#[map]
pub static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(16384, 0);

/// Open connections by the kernel's address of their socket, where it is known.
#[map]
pub static SOCKS: HashMap<u64, u64> = HashMap::with_max_entries(16384, 0);

/// Accepts that failed, by `failure_key`.
#[map]
pub static FAILURES: HashMap<u64, Failures> = HashMap::with_max_entries(FAILURE_SLOTS, 0);

/// The last connection number given.
#[map]
pub static LAST_CONN: Array<u64> = Array::with_max_entries(1, 0);

/// [`wrapwatch_common::counters::Counter`]. User space maps it: while it asks for a map's value by a system call, the kernel runs no perf tracepoint's
/// program on that CPU, and where it is built to be preempted, it can be so in the middle of that.
#[map]
pub static COUNTS: Array<u64> = Array::with_max_entries(COUNTERS, BPF_F_MMAPABLE);

/// Slots to build records in, by the thread's number. From Linux 7.0 on programs can be preempted, and another thread's then build theirs on this CPU.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SCRATCHES + 1, 0);

/// So many slots each CPU has; two threads whose numbers differ by a multiple of it share one. A power of two.
pub const SCRATCHES: u32 = 64;

/// The slot of changes of a socket's state: they come in the middle of whatever the current thread does, also of a record that it builds. The kernel runs their program once at a
/// time on each CPU.
pub const SCRATCH_OF_STATES: u32 = SCRATCHES;

/// The records.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Bytes in the ring from which a record wakes the reader; below, the reader comes by itself.
#[unsafe(no_mangle)]
pub static WAKE_BYTES: Global<u32> = Global::new(256 * 1024);

/// What each system call is to us, by number: [`wrapwatch_common::syscalls::class`]. For raw tracepoints.
#[map]
pub static SYSCALLS: Array<u32> = Array::with_max_entries(NUMBERS, 0);

/// Programs for the enter of a system call, by its number.
#[map]
pub static ENTERS: ProgramArray = ProgramArray::with_max_entries(NUMBERS, 0);

/// Programs for the exit of a call, by [`call`].
#[map]
pub static EXITS: ProgramArray = ProgramArray::with_max_entries(call::KINDS, 0);
