//! What keeps an accept thread, and those behind it, waiting.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// What an accept thread is blocked on, or was.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StallCause {
    /// An unanswered nameserver.
    Dns,
    /// Ident.
    Ident,
    /// A spawned command.
    Spawn,
    /// Syslog's socket.
    Syslog,
    /// A file.
    File,
    /// Something else, or not known.
    Other,
    /// Nothing: the thread was stopped (SIGSTOP, a debugger), or ready to run and had no CPU.
    OffCpu,
}
