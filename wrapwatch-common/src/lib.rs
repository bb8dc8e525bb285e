//! What the kernel side and the user side of wrapwatch agree on, defined once.
//!
//! Everything here is `repr(C)`, made of integers, explicitly padded and free of pointers. `zerocopy`'s
//! derives refuse to compile a structure with implicit padding, and the assertions at the end of each module pin sizes
//! and offsets, so that a change of layout is a decision (bump [`ABI_VERSION`]) and never an accident.
#![no_std]

pub mod abi;
pub mod counters;
pub mod maps;
pub mod mysql;
pub mod records;
pub mod syscalls;

/// Version of everything in this crate. The eBPF object carries it as a global; the loader refuses another one, and
/// trace files store it in their head.
pub const ABI_VERSION: u32 = 3;
