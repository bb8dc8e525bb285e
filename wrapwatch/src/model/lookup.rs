//! Lookups (one name) and their queries (one packet to one nameserver).

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// Stands for a nameserver whose address is not in the trace.
pub const UNKNOWN_SERVER: &str = "unknown";

/// What was looked up.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LookupKind {
    /// The name of an address (PTR).
    Reverse,
    /// The addresses of a name (A, AAAA).
    Forward,
    /// The user at the other end (RFC 1413).
    Ident,
    /// Anything else, or not seen.
    Other,
}

/// Which thread looked it up.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ThreadRole {
    /// The accept thread, inside the wrapper check: everybody waits.
    Accept,
    /// A process or thread of the connection's own, inside the wrapper check: only this client waits.
    Checker,
    /// The connection's own thread (mysqld's own lookup): only this client waits.
    Connection,
}

/// How a lookup ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LookupOutcome {
    /// A usable answer.
    Found,
    /// The nameserver said there is none (NXDOMAIN, or no data).
    NotFound,
    /// No nameserver gave a usable answer.
    Failed,
    /// It was answered; what the answer said cannot be seen (systemd-resolved, nscd in part).
    Answered,
    /// It was still going on when the trace ended, or its end was not seen.
    Unfinished,
}

/// What carried a query.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Transport {
    /// UDP, port 53.
    Udp,
    /// TCP, port 53 (113 for ident).
    Tcp,
    /// nscd's unix socket.
    Nscd,
    /// systemd-resolved's unix socket.
    Resolved,
}

/// How a query ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum QueryOutcome {
    /// Something with its id and question came back, whatever the rcode.
    Answered,
    /// The resolver waited and went on.
    Timeout,
    /// The resolver gave up at once: an ICMP error, a refused connect, a failed send.
    Unreachable,
    /// What became of it was not seen.
    Unseen,
}

/// One packet to one nameserver and what came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Query {
    /// Nameserver, `address:port` (`[address]:port` for IPv6), or the unix socket's path.
    pub server: Arc<str>,
    /// What carried it.
    pub transport: Transport,
    /// DNS message id (RFC 1035, 4.1.1); null where it was not seen.
    pub id: Option<u16>,
    /// `PTR`, `A`, `AAAA`, …; null where it was not seen.
    pub qtype: Option<Cow<'static, str>>,
    /// Name asked for, without the last dot; a lookup with a search list asks for several.
    pub qname: Option<String>,
    /// When it was sent, from accept's return.
    pub at_ns: u64,
    /// Sent → answered; for a timeout the time waited; null while or where unseen.
    pub rtt_ns: Option<u64>,
    /// How it ended.
    pub outcome: QueryOutcome,
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL`, …; null without an answer.
    pub rcode: Option<Cow<'static, str>>,
    /// The answer section's data: names, addresses.
    pub answers: Vec<String>,
    /// The answer was cut (TC): asked again over TCP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// One name (or user) looked up, with all its queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lookup {
    /// What was looked up.
    pub kind: LookupKind,
    /// Name asked for, without the last dot; null where no query showed it.
    pub name: Option<String>,
    /// Which thread waited.
    pub thread: ThreadRole,
    /// How it ended.
    pub outcome: LookupOutcome,
    /// When it began, from accept's return.
    pub at_ns: u64,
    /// From its first call to its last.
    pub dur_ns: u64,
    /// In the order they were sent.
    pub queries: Vec<Query>,
}
