//! Reading the ring.
//!
//! The kernel side does not wake the reader for each record: that costs the traced thread 12 to 20 µs. It does so when a quarter of the ring is
//! full; below that the reader is to come by itself, some ten times a second. Nothing is lost by coming late, only told late.

use std::os::fd::AsFd as _;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::ProbeError;

/// Records handled before others get a turn: a reader that can not keep up must still see Ctrl-C.
const BATCH: usize = 16_384;

/// What is wanted after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next one.
    Next,
    /// Others get a turn, then the next one.
    Pause,
    /// What there is behind it can wait for the next look.
    Later,
}

/// The ring's reader.
pub struct Ring {
    buffer: RingBuf<MapData>,
    /// A duplicate of the map's descriptor, for waiting: the buffer itself is borrowed while records are handed out.
    ready: AsyncFd<std::os::fd::OwnedFd>,
}

impl Ring {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let map = ebpf.take_map("EVENTS").ok_or_else(|| ProbeError::Missing("map EVENTS".into()))?;
        let buffer = RingBuf::try_from(map).map_err(ProbeError::map("EVENTS"))?;
        let watched = buffer.as_fd().try_clone_to_owned()?;
        // SAFETY: an OwnedFd returns the same open descriptor for as long as it lives, and AsyncFd owns it.
        let ready = unsafe { AsyncFd::register_with_interest(watched, Interest::READABLE) }
            .map_err(std::io::Error::from)?;
        Ok(Self { buffer, ready })
    }

    /// Waits until the kernel side wakes the reader. Cancelling it loses nothing.
    pub async fn wait(&mut self) -> Result<(), ProbeError> {
        self.ready.readable().await?.clear_ready();
        Ok(())
    }

    /// Hands out the records that are there, a batch at most, or until `take` wants no more; true where there may be more to take at once.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8]) -> Then) -> bool {
        for _ in 0..BATCH {
            match self.buffer.next().map(|record| take(&record)) {
                Some(Then::Next) => {}
                Some(Then::Pause) => return true,
                Some(Then::Later) | None => return false,
            }
        }
        true
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}
