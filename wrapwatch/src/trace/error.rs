//! Why a trace could not be made, written or read.

use std::io;
use std::path::PathBuf;

use super::block::PackError;
use super::columns::RECORD_MIN;
use super::versions::FORMAT_VERSION;

/// Why a trace file could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is something of that name, and `force` was not given.
    #[error("{} exists already; choose another name, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// The ring of an earlier flight recorder, and `force` was not given.
    #[error(
        "{} was left by a flight recorder that did not end by itself; make a trace of it (wrapwatch export {} --to wwt -o FILE.wwt) and remove it, choose another name, or --force to replace it",
        .0.display(), .0.display()
    )]
    RingLeft(PathBuf),
    /// It is a directory, device, socket or pipe: never replaced.
    #[error("{} is not a regular file and is not replaced", .0.display())]
    NotAFile(PathBuf),
    /// What stands where the ring should be is no directory of this user alone.
    #[error("{} is not a directory of this user alone (mode 0700, no link): it is not taken over", .0.display())]
    NotOurs(PathBuf),
    /// Less than a flight recorder can do with.
    #[error(
        "a flight recorder cannot keep to {limit} bytes: give --max-total at least {least} bytes ({}K)",
        least >> 10
    )]
    TotalSmall {
        /// What there may be.
        limit: u64,
        /// What it needs.
        least: u64,
    },
    /// What earlier flight recorders saved leaves no room for a ring.
    #[error(
        "{} and its numbered traces have {saved} bytes already: with a ring of {ring} that is more than --max-total allows ({limit}); remove some of them, or give it more",
        path.display()
    )]
    TotalUsed {
        /// The first trace.
        path: PathBuf,
        /// Bytes saved.
        saved: u64,
        /// Bytes of the ring.
        ring: u64,
        /// What there may be.
        limit: u64,
    },
    /// Everything else.
    #[error("cannot create {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why something could not be written. The writer can be used on: what could not be written is dropped and counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// No space left on the file system, or in the quota.
    #[error("no space left for {name}: it is readable up to its last whole block ({len} bytes)")]
    Full {
        /// Which file.
        name: String,
        /// Its length.
        len: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Any other error of the system.
    #[error("cannot write {name} behind its first {len} bytes: {source}")]
    Io {
        /// Which file.
        name: String,
        /// Its length.
        len: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A limit on bytes that it would pass: it is not written.
    #[error("{needed} bytes have no room within the limit of {limit}")]
    NoRoom {
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there may be.
        limit: u64,
    },
    /// A further file of a rotated recording could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A block could not be made.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Something could not be turned into JSON.
    #[error("cannot describe it as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Bytes that are not a record: shorter than a header, or than the header states.
    #[error("{have} bytes are not a record (the shortest has {RECORD_MIN})")]
    NotARecord {
        /// Bytes there.
        have: usize,
    },
}

impl WriteError {
    /// Whether there is no space left on the disk, also for a further file.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind;
        match self {
            Self::Full { .. } => true,
            Self::Create(CreateError::Io { source, .. }) => {
                matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    pub(super) fn from_io(name: String, len: u64, source: io::Error) -> Self {
        use io::ErrorKind;
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { name, len, source },
            _ => Self::Io { name, len, source },
        }
    }
}

/// Why a trace cannot be read at all, or no further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system said so.
    #[error("cannot read the trace: {0}")]
    Io(#[from] io::Error),
    /// No block was found.
    #[error("not a wrapwatch trace (no block in its first {0} bytes)")]
    NotATrace(u64),
    /// A later version wrote it.
    #[error(
        "written by a later wrapwatch: format {format}, records {abi}; this one reads format {FORMAT_VERSION}, \
         records {}. Update wrapwatch",
        wrapwatch_common::ABI_VERSION
    )]
    TooNew {
        /// Its format.
        format: u16,
        /// Its records' layout.
        abi: u16,
    },
}
