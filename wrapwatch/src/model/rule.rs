//! A rule in one of the tables.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a rule is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// libwrap itself named it (`tcpd_context`).
    Observed,
    /// Worked out from the tables and the client's address.
    Inferred,
}

/// A rule in hosts.allow or hosts.deny.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleRef {
    /// The table's path as the server sees it.
    pub file: Arc<str>,
    /// Line, from 1: the rule's last line where it continues over several, as libwrap counts.
    pub line: u32,
    /// The rule's text from the copy that was in force; null where that copy is not at hand.
    pub text: Option<Arc<str>>,
    /// How it is known.
    pub how: How,
}
