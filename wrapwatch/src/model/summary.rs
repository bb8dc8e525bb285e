//! The summary of a trace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Outcome, WallTime};

/// Percentiles of one duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Largest, exact.
    pub max_ns: u64,
    /// Sum, exact.
    pub sum_ns: u64,
}

/// Connections of one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeCount {
    /// Outcome.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// One nameserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameserverStats {
    /// `address:port`.
    pub server: String,
    /// Queries sent to it.
    pub queries: u64,
    /// Answered.
    pub answered: u64,
    /// Timed out.
    pub timeouts: u64,
    /// Unreachable.
    pub unreachable: u64,
    /// Not seen to the end.
    pub unseen: u64,
    /// Round trips of the answered ones.
    pub rtt: Percentiles,
    /// Time that accept threads spent waiting for it, time-outs included.
    pub blamed_ns: u64,
}

/// What a trace comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The verdict: one or two sentences for a person.
    pub verdict: String,
    /// Share of the clients' waiting (queue and check, to the first packet) that wrapper checks explain, 0 to 1; null without connections.
    pub wrapper_share: Option<f64>,
    /// Share that DNS inside the checks explains.
    pub dns_share: Option<f64>,
    /// First and last moment.
    pub from: Option<WallTime>,
    /// Last moment.
    pub to: Option<WallTime>,
    /// Connections told of.
    pub connections: u64,
    /// Of these, not complete.
    pub incomplete: u64,
    /// The kernel side's own count of accepts.
    pub accepts: u64,
    /// By outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// Clients that left before their first packet.
    pub clients_left: u64,
    /// Queue.
    pub queued: Percentiles,
    /// Check.
    pub wrapper: Percentiles,
    /// DNS inside the check.
    pub dns: Percentiles,
    /// Accept to first packet.
    pub greeting: Percentiles,
    /// ESTABLISHED to first packet: what clients felt.
    pub total: Percentiles,
    /// Nameservers, most blamed first.
    pub nameservers: Vec<NameserverStats>,
    /// Events lost.
    pub lost: u64,
    /// Accept records lost.
    pub lost_accepts: u64,
}
