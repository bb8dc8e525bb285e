//! The .wwt file: what the kernel side wrote, unchanged, with everything needed to tell the story later.
//!
//! `docs/trace-format.md` describes it byte by byte and promises what stays readable. In short: a file is a sequence of
//! blocks, each a [`block::Header`] of 80 bytes with a magic, lengths, times, counts and two checksums, followed by a payload
//! that zstd compressed where that made it smaller. A block stands alone: nothing in it refers to another.
//!
//! # The crash story
//! - Blocks are only appended. The recorder writes one at least once a second ([`WriterOptions::flush_after_ns`]), with one
//!   `write` call, so a killed recorder loses at most what came in its last second; the page cache keeps what was written.
//! - A power loss can take more: the file is synced to the disk (`fdatasync`, from a thread of its own, so that a slow disk does
//!   not stop the recorder) after its head, every ten seconds ([`WriterOptions::sync_every_ns`]) and at the end.
//! - When the disk is full, the block that did not fit is cut off again and dropped, so the file ends at a whole block; the
//!   next block's counts show what is missing. The writer stays usable.
//! - The [`Reader`] believes nothing: lengths are capped before they are used, a header counts only with its checksum, a payload
//!   only with its own. After damage it looks for the next block's magic, and says how many bytes, blocks and records
//!   are missing between the two ([`Damage`]). A file cut at any byte gives everything up to its last whole block.
//! - A block of a type that this version does not know is skipped.
//!
//! # Why these parts
//! zstd level 3: of the levels tried, the one where more time no longer buys bytes once records are laid out in
//! columns ([`columns`]): 168 bytes a connection with two lookups, distinct clients and names (`cargo test -p wrapwatch size -- --nocapture`); without the
//! columns about 300, and three times the time. CRC-32 (IEEE) by
//! `crc32fast`, the crate under flate2 and png: 4 bytes find the damage that disks and cuts make. The head and everything else
//! that is not a record is JSON: readable with `zstd -d` and a text editor in ten years, and a field that an old reader does not
//! know is skipped.

#[doc(hidden)]
pub mod block;
mod bounded;
#[doc(hidden)]
pub mod columns;
mod dir;
#[doc(hidden)]
pub mod encode;
mod error;
mod flight;
mod head;
mod input;
mod not_kept;
mod prelude;
mod reader;
#[doc(hidden)]
pub mod redact;
mod scan;
mod segments;
mod sink;
#[doc(hidden)]
pub mod synth;
mod time_mark;
mod versions;
mod when;
mod writer;

pub use error::ReadError;
#[doc(hidden)]
pub use error::{CreateError, WriteError};
#[doc(hidden)]
pub use flight::{Early, FlightOptions, FlightRing, Save, SaveError, Saved, Trigger, is_continued};
pub use head::{
    AcceptErrorSample, AcceptThread, End, Head, InCheck, InCheckSocket, Listener, ListenerSample,
    NetnsSample, Origin, ProcessSample, ProgramsSample, Sample, Snapshot, SnapshotMeta, SnapshotRole, Target,
};
pub use input::Input;
#[doc(hidden)]
pub use not_kept::{NO_ROOM, TOO_MUCH, TOO_OFTEN};
pub use reader::Reader;
pub use scan::{Damage, DamageKind};
#[doc(hidden)]
pub use scan::{Found, Scanner};
pub(crate) use segments::CONTINUED;
#[doc(hidden)]
pub use segments::{Limits, Segmented, numbered};
#[doc(hidden)]
pub use sink::{BlockSink, FileSink, SingleFile, Sink};
pub use versions::FORMAT_VERSION;
#[doc(hidden)]
pub use when::{Condition, ConditionError};
#[doc(hidden)]
pub use writer::{Writer, WriterOptions};

#[cfg(test)]
mod tests;

#[cfg(target_endian = "big")]
compile_error!("trace files are little-endian, and so far is everything that reads and writes them");
