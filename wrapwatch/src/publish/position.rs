//! How far a trace has been published, kept in a file of its own: a later run goes on there, counts nothing twice, and sends what was not sent.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::beside::replace;
use crate::model::ClockPair;

/// Which recording, and which of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recording {
    /// When it began, to the nanosecond: what tells one from another.
    pub(super) clock: ClockPair,
    /// Number of the file.
    pub(super) file: u64,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// What is up to it has been counted and published.
    #[serde(flatten)]
    pub(super) counted: Position,
    /// What is up to it has been sent, or dropped and counted; none: no run has sent anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sent: Option<Position>,
}

impl Kept {
    /// The one in this file; none where there is no file yet.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        replace(path, &serde_json::to_vec(self).map_err(io::Error::other)?, 0o600)
    }
}

/// A place in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// When the recording began.
    clock: ClockPair,
    /// Number of its file.
    file: u64,
    /// Inputs taken from that file.
    inputs: u64,
}

impl Position {
    pub(super) const fn new(recording: Recording, inputs: u64) -> Self {
        Self { clock: recording.clock, file: recording.file, inputs }
    }

    /// Whether an input, the so-manieth of its file, lies behind it. None: of no recording, before any head.
    pub(super) fn is_before(&self, recording: Option<Recording>, number: u64) -> bool {
        recording.is_some_and(|recording| {
            if recording.clock == self.clock {
                (recording.file, number) > (self.file, self.inputs)
            } else {
                recording.clock.wall_ns > self.clock.wall_ns
            }
        })
    }

    /// Files that were not read to their end and are gone, where this is the first that is left.
    pub(super) fn missed(&self, first: Option<Recording>) -> u64 {
        let same = first.filter(|first| first.clock == self.clock);
        same.map_or(0, |first| first.file.saturating_sub(self.file))
    }
}
