//! The kernel side's counters, and how often the kernel ran none of its programs at a call.
//!
//! The kernel leaves out a program's run in two cases, and then the call of whoever made it is not seen:
//!
//! * It runs on this CPU already (`prog->active`): a thread was preempted within it. So with raw tracepoints from Linux 7.0 on, and on 7.2 with perf's too
//!   (`trace_call_bpf_faultable`), where it hides the same call's same side only, not all calls.
//! * Up to Linux 6.19, of perf's: anybody on this CPU is in a system call that reads or writes a map (`bpf_disable_instrumentation`), and was preempted
//!   there. So the counters are not read by such calls but mapped.

use std::{
    num::NonZeroUsize,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{
    Ebpf,
    maps::{Array, Map},
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use wrapwatch_common::counters::{COUNTERS, Counter};

use super::{ProbeError, hooks};

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

    /// Records that did not fit into the ring.
    pub fn lost(&self) -> u64 {
        let lost = Counter::ALL.iter().filter(|(_, name)| name.starts_with("lost"));
        lost.map(|(counter, _)| self.get(*counter)).sum()
    }
}

/// The map `COUNTS`, mapped.
pub(super) struct Page {
    start: NonNull<AtomicU64>,
    len: NonZeroUsize,
}

// SAFETY: what it points to stays mapped until it is dropped, and is read in single steps by whichever thread.
unsafe impl Send for Page {}

impl Page {
    pub(super) fn map(ebpf: &Ebpf) -> Result<Self, ProbeError> {
        let missing = || ProbeError::Missing("map COUNTS".to_owned());
        let map = ebpf.map("COUNTS").ok_or_else(missing)?;
        let Map::Array(data) = map else { return Err(missing()) };
        // The kernel rounds up to whole pages as well.
        let len = NonZeroUsize::new(COUNTERS as usize * size_of::<u64>()).ok_or_else(missing)?;
        Array::<_, u64>::try_from(map).map_err(ProbeError::map("COUNTS"))?;
        // SAFETY: a new mapping, where the kernel likes.
        let start =
            unsafe { mmap(None, len, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, data.fd().as_fd(), 0) }
                .map_err(std::io::Error::from)?;
        Ok(Self { start: start.cast(), len })
    }

    pub(super) fn read(&self) -> Counts {
        let slots = (0..COUNTERS as usize)
            // SAFETY: as many as were mapped, aligned as a page is; the kernel side writes them in single steps.
            .map(|slot| unsafe { self.start.add(slot).as_ref() }.load(Ordering::Relaxed));
        Counts(slots.collect())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`; nothing refers to it any more.
        if let Err(error) = unsafe { munmap(self.start.cast(), self.len.get()) } {
            log::warn!("cannot unmap the counters: {error}");
        }
    }
}

/// How many runs of the system calls' programs the kernel left out.
pub(super) fn skipped_calls(ebpf: &Ebpf) -> u64 {
    let programs = ebpf.programs().filter(|(name, _)| hooks::sees_calls(name));
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
