//! Decoding one record of the kernel side.

use wrapwatch_common::records as abi;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Fewer bytes than the header, the kind's body, or its tail need.
    #[error("record of {have} bytes is shorter than the {need} its kind needs")]
    Short {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// A kind this version does not know.
    #[error("unknown record kind {0}")]
    UnknownKind(u16),
}

macro_rules! events {
    ($($(#[$doc:meta])* $kind:ident = $number:literal: $body:ident { $($column:ident)* } $(+ [$byte:ty; $len:ident <= $max:ident])?;)*) => {
        /// A record: its fixed body by value, its tail borrowed from the bytes it was decoded from.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is the record of its name in wrapwatch-common")]
        pub enum Event<'a> { $($kind(abi::$body $(, &'a [$byte])?)),* }

        impl Event<'_> {
            /// The record's header.
            pub const fn header(&self) -> &abi::Header {
                match self { $(Self::$kind(body, ..) => &body.hdr),* }
            }
        }

        /// Decodes the record at the beginning of `bytes`; what follows it is left alone (the kernel may have rounded up).
        pub fn decode(bytes: &[u8]) -> Result<Event<'_>, DecodeError> {
            let header = fixed::<abi::Header>(bytes)?;
            let kind = abi::Kind::from_raw(header.kind).ok_or(DecodeError::UnknownKind(header.kind))?;
            Ok(match kind {
                $(abi::Kind::$kind => {
                    let body = fixed::<abi::$body>(bytes)?;
                    Event::$kind(body $(, tail::<abi::$body>(bytes, body.$len)?)?)
                })*
            })
        }
    };
}
wrapwatch_common::records!(events);

fn fixed<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<T, DecodeError> {
    let body = T::read_from_prefix(bytes);
    body.map(|(body, _)| body).map_err(|_| DecodeError::Short { have: bytes.len(), need: size_of::<T>() })
}

/// The `len` bytes behind a body.
fn tail<T>(bytes: &[u8], len: u16) -> Result<&[u8], DecodeError> {
    let need = size_of::<T>() + usize::from(len);
    bytes.get(size_of::<T>()..need).ok_or(DecodeError::Short { have: bytes.len(), need })
}

#[cfg(test)]
mod tests;
