//! Bytes → events: the kernel's records, and the DNS messages inside them. Nothing here does I/O or can panic.

pub mod addr;
pub mod dns;
pub mod first_packet;
pub mod greeting;
mod record;

pub use record::{DecodeError, Event, decode};
use wrapwatch_common::records::Header;
use zerocopy::FromBytes as _;

/// A record's header alone; none where there are fewer bytes.
pub fn header(record: &[u8]) -> Option<Header> {
    Header::read_from_prefix(record).ok().map(|(header, _)| header)
}
