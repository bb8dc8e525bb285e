//! One accepted connection and where its time went.

use std::net::SocketAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::{
    Client, ClockPair, KtimeNs, Lookup, Missing, RuleRef, Stage, StallCause, Unknown, WallTime, missing,
};

/// What became of a connection.
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
pub enum Outcome {
    /// The server sent its greeting.
    Greeted,
    /// The server's first packet was an error; `error_code` says which.
    ServerError,
    /// Closed in the accept thread after its check, without a first packet; or libwrap said no, no matter who asked it.
    Refused,
    /// The trace shows neither a greeting nor a refusal: still going on when the trace ended, or closed otherwise.
    Unfinished,
    /// Another process, which is not traced, has the client's socket: what became of it there is not known.
    HandedOver,
    /// A server that gives the clients of this port to processes or threads of their own answered this one itself, without a check: it had reached its limit
    /// (MaxStartups, `instances`).
    Dropped,
    /// Of a request: libwrap said yes.
    Admitted,
    /// Of a request: the server looked its client up, and libwrap was not asked.
    LookedUp,
    /// Of a login: the server let the client in. One that it does not let in has `server_error`.
    LoggedIn,
    /// Of a login: the client asked for TLS. What follows is not seen.
    Encrypted,
    /// Of a login: the server closed the connection before it was over.
    Aborted,
}

impl Outcome {
    /// As one says of several: `3 handed over to another process`.
    pub const fn of_several(self) -> &'static str {
        match self {
            Self::Greeted => "greeted",
            Self::ServerError => "with a server error",
            Self::Refused => "refused",
            Self::Unfinished => "without a seen end",
            Self::HandedOver => "handed over to another process",
            Self::Dropped => "dropped by the server",
            Self::Admitted => "admitted",
            Self::LookedUp => "looked up",
            Self::LoggedIn => "logged in",
            Self::Encrypted => "encrypted from the login on",
            Self::Aborted => "closed by the server in the login",
        }
    }
}

/// How a client left before it was greeted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LeaveKind {
    /// It closed its side.
    Fin,
    /// It reset the connection.
    Rst,
}

/// A client that left before its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientLeft {
    /// How.
    pub how: LeaveKind,
    /// When.
    pub at: WallTime,
    /// When, from ESTABLISHED; null where that was not seen.
    pub after_ns: Option<u64>,
}

/// The disjoint parts of a wrapper check; they add up to `wrapper_ns` exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parts {
    /// Waiting for nameservers (also through nscd or systemd-resolved).
    pub dns_ns: u64,
    /// Inside calls on files.
    pub files_ns: u64,
    /// Ident.
    pub ident_ns: u64,
    /// Waiting for a spawned command.
    pub spawn_ns: u64,
    /// Inside calls on syslog's socket.
    pub syslog_ns: u64,
    /// The rest: computing, being off the CPU, calls listed under `other`.
    pub other_ns: u64,
}

impl Parts {
    /// What they add up to.
    pub const fn total(&self) -> u64 {
        self.dns_ns
            .saturating_add(self.files_ns)
            .saturating_add(self.ident_ns)
            .saturating_add(self.spawn_ns)
            .saturating_add(self.syslog_ns)
            .saturating_add(self.other_ns)
    }
}

/// A file used inside the check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileUse {
    /// Path as the server opened it.
    pub path: Arc<str>,
    /// Time inside calls on it.
    pub dur_ns: u64,
    /// Number of reads.
    pub reads: u32,
    /// Bytes read.
    pub bytes: u64,
    /// errno's name where opening failed (`ENOENT`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Something used inside the check that is none of wrapwatch's categories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OtherUse {
    /// Address, or a unix socket's path.
    pub what: String,
    /// Time inside calls on it.
    pub dur_ns: u64,
}

/// What libwrap was asked for a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckCall {
    /// Which function: `hosts_access`, or `hosts_ctl`, which looks no name up.
    pub call: Arc<str>,
    /// The daemon's name as libwrap was given it, which rules are compared with.
    pub daemon: Arc<str>,
    /// Thread that asked; of a process that the server has made its number.
    pub tid: u32,
    /// When, from accepted.
    pub at_ns: u64,
    /// How long it took; null where its end was not seen.
    pub dur_ns: Option<u64>,
    /// Whether the client was let in; null where the end was not seen.
    pub allowed: Option<bool>,
}

/// A client's login, from the greeting to the server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Login {
    /// Greeting → the server's answer (or TLS, or close).
    pub login_ns: u64,
    /// Of it: the server waited for the client. The rest the client waited for the server.
    pub client_ns: u64,
    /// Packets that the server sent after its greeting.
    pub packets: u32,
}

/// A part of the client's wait that wrapper checks explain: its own check, and the checks of earlier connections that held its accept
/// thread while it was queued (head-of-line blocking).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blame {
    /// What those checks were waiting for.
    pub cause: StallCause,
    /// Nameserver, where `cause` is `dns`; null where it is not known.
    pub server: Option<Arc<str>>,
    /// In its own check. All of them add up to `wrapper_ns`.
    pub own_ns: u64,
    /// In others' checks: while it was queued, and while the thread that serves all did not serve it (`served_behind_ns`). All of them add up to no more than those two.
    pub queued_ns: u64,
}

/// Most computing of one check: reading rules of any usual length takes far less. What goes beyond it in no call that was seen is unknown.
pub const COMPUTING_MAX_NS: u64 = 1_000_000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
pub(super) const fn is_zero(ns: &u64) -> bool {
    *ns == 0
}

/// One accepted connection; or a request: a client that was looked up, or about whom libwrap was asked, otherwise than when it connected. Of a request the time begins when that
/// did: `accepted` is then, and what is before it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// Number given by the kernel side at accept; to a request, when libwrap is asked or a name is looked up.
    pub conn: u64,
    /// Of a request: the connection on which the client made it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<u64>,
    /// Server process.
    pub pid: u32,
    /// Thread that accepted it.
    pub tid: u32,
    /// Client, `address:port`; `unix` for a client of the unix socket (it is not checked, but waits behind the same thread); null where neither accept nor the handshake told.
    #[schemars(with = "Option<String>")]
    pub peer: Option<Client>,
    /// Server's side, `address:port`.
    #[schemars(with = "Option<String>")]
    pub local: Option<SocketAddr>,
    /// TCP handshake completed; null where not seen or ambiguous.
    pub established: Option<WallTime>,
    /// `accept` returned.
    pub accepted: WallTime,
    /// The same on the monotonic clock, which durations between connections are taken on: the wall clock is compared again each second, and
    /// can be set in between. Not in JSON; 0 in a connection read from there.
    #[serde(skip)]
    pub accepted_ktime: KtimeNs,
    /// What became of it.
    pub outcome: Outcome,
    /// Code in the server's first packet where `outcome` is `server_error`.
    pub error_code: Option<u16>,
    /// A client that left before its first packet.
    pub client_left: Option<ClientLeft>,
    /// ESTABLISHED → accept returned. Lost SYNs are before it, so it is a lower bound after a queue overflow.
    pub queued_ns: Option<u64>,
    /// When the wrapper check began, from accepted: later where the server had looked the client up itself before it asked libwrap, or asks when a request has come. 0 where there
    /// was no check.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub check_at_ns: u64,
    /// The wrapper check, from `check_at_ns` to its end.
    pub wrapper_ns: u64,
    /// The check's parts.
    #[serde(flatten)]
    pub parts: Parts,
    /// Check's end → the connection thread took over.
    pub handover_ns: Option<u64>,
    /// Check's end → the connection thread took over, or the thread that serves all came to it, also before its check: it was in the server's own lookups for other clients.
    #[serde(default)]
    pub handover_resolve_ns: u64,
    /// The server's own lookups, outside the wrapper check.
    pub resolve_ns: u64,
    /// Of `queued_ns`: the accept thread was in the server's own lookups for earlier clients.
    #[serde(default)]
    pub queued_resolve_ns: u64,
    /// ESTABLISHED (else accept) → first packet or close, or as far as it was seen: what the parts and `unknown_ns` add up to. Of a login without `client_ns`.
    #[serde(default)]
    pub waited_ns: u64,
    /// Before its own check, and from its end → first packet, or another thread's taking over: the thread that serves all was in what other clients' checks waited for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub served_behind_ns: u64,
    /// Thread that sent the first packet; of a process that the server has made its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeted_by: Option<u32>,
    /// Accept returned → first packet.
    pub greeting_ns: Option<u64>,
    /// ESTABLISHED (else accept) → first packet, or close. Of a login as `waited_ns`.
    pub total_ns: Option<u64>,
    /// Of a refused client: the verdict → close. libwrap's `refuse` sleeps five seconds in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_ns: Option<u64>,
    /// How long it held the accept thread: to the next accept where one was queued, else `wrapper_ns`.
    pub service_ns: u64,
    /// Connections that held the accept thread while this one was queued, longest first, five at most.
    pub queued_behind: Vec<u64>,
    /// How many there were.
    pub queued_behind_count: u64,
    /// Of a request that is a login, where that is asked for (`--logins`): how long it took, and whom it waited for. None where its end was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// Its calls of libwrap, where the processes that the server makes are followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckCall>,
    /// What the wait in the queue and in the check was spent on, by cause and nameserver.
    #[serde(default)]
    pub blame: Vec<Blame>,
    /// Rule that forced the first lookup.
    pub rule: Option<RuleRef>,
    /// Rule that decided.
    pub verdict_rule: Option<RuleRef>,
    /// Lookups in order.
    pub lookups: Vec<Lookup>,
    /// Files in order of first use.
    pub files: Vec<FileUse>,
    /// What else was used inside the check.
    pub other: Vec<OtherUse>,
    /// Whether everything about it was seen.
    pub complete: bool,
    /// What was not, and why; empty where `complete`.
    #[serde(with = "missing::said")]
    #[schemars(with = "Vec<missing::MissingSaid>")]
    pub missing: Vec<Missing>,
    /// How much of the client's wait is unknown: neither seen to be a lookup nor seen to be none. What was seen and this add up to the wait.
    #[serde(default)]
    pub unknown_ns: u64,
    /// Why, and where in the wait; adds up to `unknown_ns`.
    #[serde(default)]
    pub unknown: Vec<Unknown>,
}

impl Connection {
    /// The wall-clock time so long after accept, by the clocks as they stood then.
    pub fn at(&self, after_accept_ns: u64) -> WallTime {
        self.clock().wall(self.accepted_ktime.plus(after_accept_ns))
    }

    /// Accept on both clocks.
    pub fn clock(&self) -> ClockPair {
        // Nanoseconds of an i64 reach to the year 2262.
        let wall_ns = i64::try_from(self.accepted.0.as_nanosecond()).unwrap_or(i64::MAX);
        ClockPair { ktime: self.accepted_ktime, wall_ns }
    }

    /// What of one stage of the wait is unknown.
    pub fn unknown_in(&self, stage: Stage) -> u64 {
        let parts = self.unknown.iter().filter(|part| part.stage == stage);
        parts.fold(0, |sum, part| sum.saturating_add(part.ns))
    }
}
