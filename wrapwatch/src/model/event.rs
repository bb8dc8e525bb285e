//! Everything else that wrapwatch prints while a trace goes on: stalls, degradations, losses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::{Client, Connection, LookupKind, RuleRef, StallCause, Summary, WallTime};

/// One line of `live --json` and `export --to jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// A connection, once it has ended.
    Connection(Box<Connection>),
    /// A client that was looked up, or about whom libwrap was asked, otherwise than when it connected: the sender of a datagram, of a request within a connection, a login.
    Request(Box<Connection>),
    /// The accept thread is blocked.
    Stall(Stall),
    /// Something cannot be seen here.
    Degradation(Degradation),
    /// Events were lost since the last such line.
    Lost(Lost),
    /// The end.
    Summary(Box<Summary>),
}

/// An accept thread that has been in one check for longer than `--slow`; repeated once a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stall {
    /// When this was found.
    pub at: WallTime,
    /// Server process.
    pub pid: u32,
    /// The accept thread.
    pub tid: u32,
    /// The connection in the check; null where it was accepted before attach and is not known.
    pub conn: Option<u64>,
    /// Its client.
    #[schemars(with = "Option<String>")]
    pub peer: Option<Client>,
    /// How long the check has lasted; a lower bound where `since_attach`.
    pub blocked_ns: u64,
    /// The check began before wrapwatch attached.
    pub since_attach: bool,
    /// What it hangs on.
    pub cause: StallCause,
    /// The lookup, where it is one.
    pub lookup: Option<LookupKind>,
    /// Name being looked up.
    pub name: Option<String>,
    /// Nameserver or other address that does not answer.
    pub server: Option<String>,
    /// The table that is open.
    pub table: Option<String>,
    /// The rule that asked.
    pub rule: Option<RuleRef>,
    /// Connections waiting in the accept queue.
    pub queued: Option<u32>,
    /// The queue's limit.
    pub queue_limit: Option<u32>,
}

/// What cannot be seen.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum DegradationKind {
    /// No `sock:inet_sock_set_state`: `queued_ns` is null.
    NoQueueTime,
    /// The wait in the queue of a unix socket is not seen: `queued_ns` of local clients is null.
    NoLocalQueueTime,
    /// libwrap's `tcpd_context` not found: no observed rules.
    NoRuleContext,
    /// No uprobes: wrapwatch takes the last table's close as the check's end.
    NoUprobes,
    /// A hook that is not there on this kernel.
    NoHook,
    /// The network namespace of a socket is not known: connections of equal addresses are ambiguous.
    NoNetns,
    /// Accept queues cannot be read.
    NoQueueLength,
    /// The target does not map libwrap.
    NotWrapped,
    /// What happened before the trace.
    BeganMidway,
    /// No raw tracepoints: perf tracepoints instead.
    NoRawTracepoints,
    /// Raw tracepoints on a kernel that skips calls there, and does not say which.
    SkippedCalls,
    /// The kernel side cannot be loaded at all.
    NoEbpf,
    /// tracefs is not there.
    NoTracefs,
    /// The kernel's lockdown state cannot be read.
    NoLockdownState,
    /// A process cannot be looked into.
    NoProcessAccess,
    /// The target's namespaces cannot be entered: something was looked at from elsewhere.
    OtherView,
    /// Nameservers were not asked.
    NoQueries,
    /// The server was not asked about itself, or did not answer.
    NoCounters,
    /// wrapwatch runs in a container.
    InContainer,
    /// What the programs cost the server cannot be measured.
    NoRunTime,
    /// They cost more than `--max-overhead`: the trace ended here.
    TooExpensive,
    /// Network calls are not in the trace: lookups cannot be seen.
    NoLookupCalls,
    /// Opens and reads of files are not in the trace: whether tables are read cannot be seen.
    NoFileCalls,
    /// Opens of files are in the trace, and none of a table: lines of it may have been left out.
    NoTableOpens,
    /// What is sent to clients is not in the trace: when they were greeted cannot be seen.
    NoClientCalls,
    /// The trace has no times.
    NoTimes,
    /// The trace says how long calls took, but not when they were made: what passed between them is not known.
    NoLineTimes,
    /// Texts or lines are cut.
    LogCut,
    /// Threads or processes of the server are not in the trace.
    NotFollowed,
    /// Of a server that gives its clients to processes or helpers libwrap's functions are not seen: whose check it was, and what was decided, only tables tell.
    ChecksUnseen,
    /// What the server receives on TCP by `recv` and its relatives is not in the trace: a nameserver's answers may be among it.
    NoTcpAnswers,
}

/// A loss of sight that is known in advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Degradation {
    /// Which.
    pub kind: DegradationKind,
    /// Server process it is about; null for all.
    pub pid: Option<u32>,
    /// What will be missing, and how to get it: one sentence for a person.
    pub message: String,
}

/// Events lost since the last such line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// Events that did not fit into the ring.
    pub events: u64,
    /// By probe: counter's name and number. `skipped_calls` are no `events`: runs of the programs that the kernel skipped, at any process' call.
    pub by: Vec<(String, u64)>,
    /// Monotonic clock after which the first was lost, or left out; null where that was not noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ns: Option<u64>,
    /// And before which the last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<u64>,
}
