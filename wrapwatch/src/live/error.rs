//! What can end a trace before its time.

use crate::{host::HostError, probe::ProbeError};

/// A trace that could not begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// About the kernel.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// About a process.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The output could not be written.
    #[error("cannot write output: {0}")]
    Output(std::io::Error),
    /// Signals could not be set up, or the like.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
