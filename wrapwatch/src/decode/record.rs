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

/// A record: its fixed body by value, its tail borrowed from the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the record of its name in wrapwatch-common")]
pub enum Event<'a> {
    Accept(abi::Accept),
    Open(abi::Open, &'a [u8]),
    Connect(abi::Connect, &'a [u8]),
    Send(abi::Payload, &'a [u8]),
    Recv(abi::Payload, &'a [u8]),
    Io(abi::Io),
    Close(abi::Close),
    Shutdown(abi::Shutdown),
    FirstPacket(abi::FirstPacket),
    SockState(abi::SockState),
    Peer(abi::Peer),
    Wait(abi::Wait),
    Rule(abi::Rule, &'a [u8]),
    Check(abi::Check),
    Exit(abi::Exit),
    Exec(abi::Exec),
    SockError(abi::SockError),
}

impl Event<'_> {
    /// The record's header.
    pub const fn header(&self) -> &abi::Header {
        match self {
            Self::Accept(r) => &r.hdr,
            Self::Open(r, _) => &r.hdr,
            Self::Connect(r, _) => &r.hdr,
            Self::Send(r, _) | Self::Recv(r, _) => &r.hdr,
            Self::Io(r) => &r.hdr,
            Self::Close(r) => &r.hdr,
            Self::Shutdown(r) => &r.hdr,
            Self::FirstPacket(r) => &r.hdr,
            Self::SockState(r) => &r.hdr,
            Self::Peer(r) => &r.hdr,
            Self::Wait(r) => &r.hdr,
            Self::Rule(r, _) => &r.hdr,
            Self::Check(r) => &r.hdr,
            Self::Exit(r) => &r.hdr,
            Self::Exec(r) => &r.hdr,
            Self::SockError(r) => &r.hdr,
        }
    }
}

/// Decodes the record at the beginning of `bytes`; what follows it is left alone (the kernel may have rounded up).
pub fn decode(bytes: &[u8]) -> Result<Event<'_>, DecodeError> {
    let (header, _) = body::<abi::Header>(bytes)?;
    let kind = abi::Kind::from_raw(header.kind).ok_or(DecodeError::UnknownKind(header.kind))?;
    Ok(match kind {
        abi::Kind::Accept => Event::Accept(fixed(bytes)?),
        abi::Kind::Open => with_tail(bytes, |r: &abi::Open| r.path_len).map(|(r, t)| Event::Open(r, t))?,
        abi::Kind::Connect => {
            with_tail(bytes, |r: &abi::Connect| r.path_len).map(|(r, t)| Event::Connect(r, t))?
        }
        abi::Kind::Send => {
            with_tail(bytes, |r: &abi::Payload| r.payload_len).map(|(r, t)| Event::Send(r, t))?
        }
        abi::Kind::Recv => {
            with_tail(bytes, |r: &abi::Payload| r.payload_len).map(|(r, t)| Event::Recv(r, t))?
        }
        abi::Kind::Io => Event::Io(fixed(bytes)?),
        abi::Kind::Close => Event::Close(fixed(bytes)?),
        abi::Kind::Shutdown => Event::Shutdown(fixed(bytes)?),
        abi::Kind::FirstPacket => Event::FirstPacket(fixed(bytes)?),
        abi::Kind::SockState => Event::SockState(fixed(bytes)?),
        abi::Kind::Peer => Event::Peer(fixed(bytes)?),
        abi::Kind::Wait => Event::Wait(fixed(bytes)?),
        abi::Kind::Rule => with_tail(bytes, |r: &abi::Rule| r.file_len).map(|(r, t)| Event::Rule(r, t))?,
        abi::Kind::Check => Event::Check(fixed(bytes)?),
        abi::Kind::Exit => Event::Exit(fixed(bytes)?),
        abi::Kind::Exec => Event::Exec(fixed(bytes)?),
        abi::Kind::SockError => Event::SockError(fixed(bytes)?),
    })
}

fn body<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short { have: bytes.len(), need: size_of::<T>() })
}

fn fixed<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<T, DecodeError> {
    body(bytes).map(|(body, _)| body)
}

fn with_tail<T: FromBytes + KnownLayout + Immutable>(
    bytes: &[u8],
    len: impl Fn(&T) -> u16,
) -> Result<(T, &[u8]), DecodeError> {
    let (body, rest) = body::<T>(bytes)?;
    let len = usize::from(len(&body));
    let tail = rest
        .get(..len)
        .ok_or(DecodeError::Short { have: bytes.len(), need: size_of::<T>().saturating_add(len) })?;
    Ok((body, tail))
}

#[cfg(test)]
mod tests;
