//! The kernel side's counters, and how often the kernel ran none of its programs at a call.
//!
//! The kernel leaves out a program's run in two cases, and then the call of whoever made it is not seen:
//!
//! * It runs on this CPU already (`prog->active`): a thread was preempted within it. So with raw tracepoints from Linux 7.0 on, and on 7.2 with perf's too
//!   (`trace_call_bpf_faultable`), where it hides the same call's same side only, not all calls.
//! * Up to Linux 6.19, of perf's: anybody on this CPU is in a system call that reads or writes a map (`bpf_disable_instrumentation`), and was preempted
//!   there. So the counters are not read by such calls but mapped.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    sync::atomic::Ordering,
};

use aya::Ebpf;
use wrapwatch_common::counters::{COUNTERS, Counter, CounterClass};

use super::{ProbeError, hooks, mapped::Mapped};

/// The kernel side's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<u64>);

impl Counts {
    /// One of them.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// Sets one of them.
    pub fn set(&mut self, counter: Counter, n: u64) {
        if let Some(slot) = self.0.get_mut(counter as usize) {
            *slot = n;
        }
    }

    /// Records that did not fit into the ring, and ends of calls that were not seen.
    pub fn lost(&self) -> u64 {
        let lost = Counter::ALL.iter().filter(|(counter, _)| counter.class() == CounterClass::Lost);
        lost.map(|(counter, _)| self.get(*counter)).sum()
    }
}

/// The counters in the map.
pub(super) struct Page(Mapped);

impl Page {
    pub(super) fn map(ebpf: &Ebpf) -> Result<Self, ProbeError> {
        Ok(Self(Mapped::to_read(ebpf, "COUNTS", COUNTERS as usize * size_of::<u64>())?))
    }

    pub(super) fn read(&self) -> Counts {
        Counts(self.0.words().iter().map(|slot| slot.load(Ordering::Relaxed)).collect())
    }
}

/// How many runs of the hooks' programs the kernel left out.
pub(super) fn skipped_calls(ebpf: &Ebpf) -> u64 {
    let programs = ebpf.programs().filter(|(name, _)| hooks::is_run_first(name));
    programs.filter_map(|(_, program)| Some(skipped(program.fd().ok()?.as_fd()))).sum()
}

/// Place of `recursion_misses` in `struct bpf_prog_info` (Linux 5.12), and how much of it is asked for, in words of 8 bytes.
const MISSES: usize = 26;
const INFO_WORDS: usize = 28;
/// `BPF_OBJ_GET_INFO_BY_FD`
const GET_INFO: libc::c_int = 15;

/// `union bpf_attr` for it.
#[repr(C)]
struct GetInfo {
    fd: u32,
    len: u32,
    info: u64,
}

/// How often the kernel was to run this program and did not, because it would have interrupted another; 0 where it does not count that. Linux counts it
/// for raw tracepoints from 5.12 and for perf's from 6.7 on. Of aya's `ProgramInfo` it is no part, and /proc/self/fdinfo takes four times as long.
fn skipped(program: BorrowedFd<'_>) -> u64 {
    let mut info = [0_u64; INFO_WORDS];
    let (len, fd) = (size_of_val(&info), program.as_raw_fd());
    let mut attr = GetInfo {
        fd: u32::try_from(fd).unwrap_or(u32::MAX),
        len: u32::try_from(len).unwrap_or(0),
        info: info.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: both structures live until the call is over and are as long as it is told; a kernel that knows more or less of them minds
    // neither. No array is asked for: all lengths in `info` are 0.
    let done = unsafe { libc::syscall(libc::SYS_bpf, GET_INFO, &raw mut attr, size_of::<GetInfo>()) };
    if done == 0 { info.get(MISSES).copied().unwrap_or(0) } else { 0 }
}
