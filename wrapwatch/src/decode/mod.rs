//! Bytes → events: the kernel's records, and the DNS messages inside them. Nothing here does I/O or can panic.

pub mod addr;
pub mod dns;
pub mod first_packet;
pub mod greeting;
mod record;

pub use record::{DecodeError, Event, decode};
