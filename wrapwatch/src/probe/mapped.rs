//! A map that user space sees as memory. A look costs no system call, and while one reads or writes a map the kernel may run none of perf's programs on that
//! CPU (see `counts`).

use std::{
    num::NonZeroUsize,
    os::fd::AsFd as _,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{Ebpf, maps::Map};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::ProbeError;

/// Words of the longest value that is looked at.
const WORDS_MAX: usize = 8;

/// An array map (`BPF_F_MMAPABLE`) as words of 8 bytes.
pub(super) struct Mapped {
    start: NonNull<AtomicU64>,
    words: usize,
    len: NonZeroUsize,
}

// SAFETY: what it points to stays mapped until it is dropped, and is read and written in single steps by whichever thread.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Maps the array of this name, whose values are `bytes` long together, a multiple of 8, to read it.
    pub(super) fn to_read(ebpf: &Ebpf, name: &'static str, bytes: usize) -> Result<Self, ProbeError> {
        Self::map(ebpf, name, bytes, ProtFlags::PROT_READ)
    }

    /// Maps it to [`empty`](Self::empty) it.
    pub(super) fn to_write(ebpf: &Ebpf, name: &'static str, bytes: usize) -> Result<Self, ProbeError> {
        Self::map(ebpf, name, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    fn map(ebpf: &Ebpf, name: &'static str, bytes: usize, access: ProtFlags) -> Result<Self, ProbeError> {
        let missing = || ProbeError::Missing(format!("map {name}"));
        let Some(Map::Array(data)) = ebpf.map(name) else { return Err(missing()) };
        let len = NonZeroUsize::new(bytes).ok_or_else(missing)?;
        // SAFETY: a new mapping, where the kernel likes. It rounds up to whole pages as well, and refuses what is longer than the map.
        let start = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, data.fd().as_fd(), 0) }
            .map_err(std::io::Error::from)?;
        Ok(Self { start: start.cast(), words: bytes / size_of::<u64>(), len })
    }

    /// All of it. The kernel side writes it at the same time.
    pub(super) const fn words(&self) -> &[AtomicU64] {
        // SAFETY: as many as were mapped, aligned as a page is; they stay until this is dropped.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Zeroes the values of which that is true. Of an array that was mapped to write.
    pub(super) fn empty<T>(&self, unwanted: impl Fn(&T) -> bool)
    where
        T: FromBytes + Immutable + KnownLayout,
    {
        const { assert!(size_of::<T>().is_multiple_of(8) && size_of::<T>() <= WORDS_MAX * 8) }
        for words in self.words().chunks_exact(size_of::<T>() / size_of::<u64>()) {
            if value(words).is_some_and(|value| unwanted(&value)) {
                words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            }
        }
    }
}

/// The value that these words are.
fn value<T: FromBytes + Immutable + KnownLayout>(words: &[AtomicU64]) -> Option<T> {
    let mut copy = [0_u64; WORDS_MAX];
    for (to, from) in copy.iter_mut().zip(words) {
        *to = from.load(Ordering::Relaxed);
    }
    T::read_from_prefix(copy.as_bytes()).ok().map(|(value, _)| value)
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`; nothing refers to it any more.
        if let Err(error) = unsafe { munmap(self.start.cast(), self.len.get()) } {
            log::warn!("cannot unmap a map: {error}");
        }
    }
}
