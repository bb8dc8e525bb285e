//! The summary of a trace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection::is_zero;
use super::{Cost, Outcome, UnknownReason, WallTime};

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

impl Percentiles {
    /// Whether there is no value.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Connections of one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeCount {
    /// Outcome.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// One accept thread: how busy it was, and how fast it could go.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptThreadStats {
    /// Server process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Connections it accepted.
    pub connections: u64,
    /// Time they held it: the sum of their service times.
    pub busy_ns: u64,
    /// From its first accept to the end of its last service.
    pub span_ns: u64,
    /// Utilisation: share of that time it was busy.
    pub utilisation: f64,
    /// Ceiling: connections a second it can take at this service time; null without service time.
    pub ceiling_per_s: Option<f64>,
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
    /// Time that accept threads spent waiting for it, timeouts included.
    pub blamed_ns: u64,
    /// The clients' waiting that it explains: in their own checks, those they were queued behind, and the server's own lookups.
    #[serde(default)]
    pub explained_ns: u64,
    /// Of `explained_ns`: in the server's own lookups.
    #[serde(default)]
    pub own_ns: u64,
}

/// What of the clients' waiting is unknown for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnknownTotal {
    /// Why.
    pub reason: UnknownReason,
    /// How much.
    pub ns: u64,
}

/// The clients' waiting, all connections together, by what explains it. The parts are disjoint and add up to `total_ns` exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// ESTABLISHED (else accept) to the first packet, the close, or the trace's end.
    pub total_ns: u64,
    /// DNS in wrapper checks: the client's own, or an earlier one that held the accept thread.
    pub dns_ns: u64,
    /// Files in wrapper checks.
    pub files_ns: u64,
    /// Ident in wrapper checks.
    pub ident_ns: u64,
    /// Spawned commands in wrapper checks.
    pub spawn_ns: u64,
    /// Syslog in wrapper checks.
    pub syslog_ns: u64,
    /// Computing in wrapper checks: what is none of the above, up to 1 ms a check.
    pub computing_ns: u64,
    /// In wrapper checks too, but not of their making: the thread was stopped or had no CPU.
    pub off_cpu_ns: u64,
    /// In the queue while the accept thread was in no check: stopped, without CPU, or busy otherwise.
    pub queue_other_ns: u64,
    /// From the check's end to the connection thread.
    pub handover_ns: u64,
    /// The server's own lookups outside its wrapper check: the client's own, or an earlier one's that held the accept thread.
    pub resolve_ns: u64,
    /// The rest, in the connection thread before the first packet.
    pub rest_ns: u64,
    /// Of which the trace does not show what it was spent on: it may have been lookups, or not.
    #[serde(default)]
    pub unknown_ns: u64,
}

impl Waiting {
    /// What the wrapper checks explain.
    pub const fn explained(&self) -> u64 {
        self.dns_ns
            .saturating_add(self.files_ns)
            .saturating_add(self.ident_ns)
            .saturating_add(self.spawn_ns)
            .saturating_add(self.syslog_ns)
            .saturating_add(self.computing_ns)
    }

    /// What lookups of names explain, no matter who asked.
    pub const fn lookups(&self) -> u64 {
        self.dns_ns.saturating_add(self.resolve_ns)
    }

    /// What they do not, as far as that is known.
    pub const fn unexplained(&self) -> u64 {
        self.off_cpu_ns
            .saturating_add(self.queue_other_ns)
            .saturating_add(self.handover_ns)
            .saturating_add(self.resolve_ns)
            .saturating_add(self.rest_ns)
    }
}

/// What the clients waited for, in one word.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Wrapper checks: a client's own, or those it was queued behind.
    Wrappers,
    /// The server's own lookups, besides the wrappers.
    ServerLookups,
    /// The queue: the accept thread was slow to take them, and in no check.
    Queue,
    /// Something else: neither wrappers nor lookups.
    Elsewhere,
    /// Not the wait is the matter: clients were refused.
    Refusals,
    /// Nobody waited long.
    NobodyWaited,
    /// Too little was seen to say.
    #[default]
    #[serde(other)]
    CannotTell,
}

/// Calls of `accept` that failed with one error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AcceptErrors {
    /// Server process.
    pub pid: u32,
    /// Name of the error: `EMFILE`, `EBADF`, …
    pub errno: String,
    /// How often.
    pub count: u64,
    /// The first; null where it is not known.
    pub first: Option<WallTime>,
    /// The last.
    pub last: Option<WallTime>,
}

/// What a trace comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The verdict: one or two sentences for a person.
    pub verdict: String,
    /// The same in one word.
    #[serde(default)]
    pub verdict_kind: VerdictKind,
    /// Share of the clients' waiting of which the trace does not show what it was spent on, 0 to 1; at least the share of connections in `ends_unseen`. Null without
    /// connections.
    #[serde(default)]
    pub unknown_share: Option<f64>,
    /// What of the waiting is unknown, by reason, most first; adds up to `waiting.unknown_ns`.
    #[serde(default)]
    pub unknown: Vec<UnknownTotal>,
    /// Connections whose wait went on where it was not seen: how long it was is not known.
    #[serde(default)]
    pub ends_unseen: u64,
    /// Share that lookups of names explain, no matter who asked (the wrappers or the server itself) and in which way.
    #[serde(default)]
    pub lookup_share: Option<f64>,
    /// Share of the clients' waiting (queue and check, to the first packet) that wrapper checks explain, 0 to 1; null without connections.
    pub wrapper_share: Option<f64>,
    /// Share that DNS inside the checks explains.
    pub dns_share: Option<f64>,
    /// The clients' waiting by what explains it.
    #[serde(default)]
    pub waiting: Waiting,
    /// First moment.
    pub from: Option<WallTime>,
    /// Last moment.
    pub to: Option<WallTime>,
    /// Connections told of.
    pub connections: u64,
    /// Of these, not complete.
    pub incomplete: u64,
    /// Of these, accepted before the trace began (not in `accepts`).
    #[serde(default)]
    pub began_before: u64,
    /// Clients that were still in the accept queue at the end.
    #[serde(default)]
    pub still_queued: u64,
    /// Requests told of: clients that were looked up, or about whom libwrap was asked, otherwise than when they connected, by how long that took. They are in `waiting`,
    /// `nameservers` and the shares, and in no other number.
    #[serde(default)]
    pub requests: Percentiles,
    /// Logins, where they are followed, by what the client waited for the server.
    #[serde(default, skip_serializing_if = "Percentiles::is_empty")]
    pub logins: Percentiles,
    /// The same, by what the server waited for the client.
    #[serde(default, skip_serializing_if = "Percentiles::is_empty")]
    pub logins_client: Percentiles,
    /// Requests by outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_outcomes: Vec<OutcomeCount>,
    /// Questions to libwrap about clients that there was no room to follow: what these waited is in no other number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unowned_checks: u64,
    /// The kernel side's own count of accepts.
    pub accepts: u64,
    /// By outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// Error codes of first packets, with how many connections got each, most first.
    #[serde(default)]
    pub errors: Vec<(u16, u64)>,
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
    /// Accept threads, busiest first.
    #[serde(default)]
    pub accept_threads: Vec<AcceptThreadStats>,
    /// Nameservers, most blamed first.
    pub nameservers: Vec<NameserverStats>,
    /// Calls of `accept` that failed, most frequent first.
    #[serde(default)]
    pub accept_errors: Vec<AcceptErrors>,
    /// Events lost.
    pub lost: u64,
    /// Accept records lost.
    pub lost_accepts: u64,
    /// What the trace cost; null where it was not made here (imports) or did not end by itself.
    #[serde(default)]
    pub cost: Option<Cost>,
}
