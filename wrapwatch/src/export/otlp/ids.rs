//! Ids of traces and spans: hashes of what they are of, so that whoever tells the same connection again gives the same ones. They are names, no secrets.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::model::WallTime;

/// A trace's id, as its hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceId(u128);

/// A span's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanId(u64);

impl TraceId {
    /// Its last bits.
    pub(super) fn random(self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or(0)
    }
}

impl serde::Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl serde::Serialize for SpanId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

/// Ids of one recording's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    recording: u128,
}

impl Ids {
    pub(super) fn of(host: &str, recording: WallTime) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(host.as_bytes());
        hasher.write(&recording.0.as_nanosecond().to_le_bytes());
        Self { recording: hasher.finish128().as_u128() }
    }

    pub(super) fn trace(&self, conn: u64) -> TraceId {
        // All zeros would be no id.
        TraceId(self.hash(&[conn]).max(1))
    }

    /// The span at a place: of nowhere, the whole; then the number of each part.
    pub(super) fn span(&self, conn: u64, place: &[u64]) -> SpanId {
        let mut of = vec![conn, 1];
        of.extend(place);
        SpanId(u64::try_from(self.hash(&of) & u128::from(u64::MAX)).unwrap_or(0).max(1))
    }

    fn hash(&self, of: &[u64]) -> u128 {
        let mut hasher = SipHasher13::new();
        hasher.write(&self.recording.to_le_bytes());
        of.iter().for_each(|part| hasher.write(&part.to_le_bytes()));
        hasher.finish128().as_u128()
    }
}
