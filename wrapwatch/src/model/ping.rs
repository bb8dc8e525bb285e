//! What `wrapwatch ping` says: connections made from here, how long each took to connect and to be greeted, and what that means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Protocol, Severity, WallTime};

/// Everything `ping` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ping {
    /// What was asked for.
    pub target: String,
    /// The address it stands for: `address:port`.
    pub address: String,
    /// Whose greeting was waited for.
    pub protocol: Protocol,
    /// How long finding the address took; null where none had to be found. It is in none of the times below.
    pub resolve_ns: Option<u64>,
    /// The server's version, from its greeting; null where nobody was greeted.
    pub version: Option<String>,
    /// Connections asked for.
    pub wanted: u64,
    /// Why fewer were made; null where they were not.
    pub stopped: Option<PingStop>,
    /// Each connection, in the order begun.
    pub attempts: Vec<PingAttempt>,
    /// By outcome, most first.
    pub outcomes: Vec<PingCount>,
    /// First SYN → connected.
    pub connect: Option<PingTimes>,
    /// What is known from here of the wait in the server's accept queue.
    #[serde(default)]
    pub queue: PingQueue,
    /// Connected → first packet.
    pub greeting: Option<PingTimes>,
    /// First SYN → first packet: what a client waits.
    pub total: Option<PingTimes>,
    /// Of `total`, from the fastest to the slowest.
    pub histogram: Vec<PingBucket>,
    /// What is wrong, worst first.
    pub problems: Vec<PingProblem>,
}

/// The wait in the server's accept queue, as far as a client can tell. The server's kernel completes a connection before the server accepts it, and
/// nothing tells the client when that happens: the wait in the queue is part of `greeting`. Only connections of ours that waited at the same time show
/// whether they were served one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingQueue {
    /// How they were served, by all signs; null if unknown.
    pub served: Option<PingServed>,
    /// The most that waited for their greeting at the same time.
    pub together: u64,
    /// Where they were served one by one: from one greeting to the next, on average.
    pub turn_ns: Option<u64>,
    /// And the longest that one of them waited while others of ours were served before it.
    pub behind_ns: Option<u64>,
}

/// How connections that waited at the same time were served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PingServed {
    /// One after another: the accept queue is where they waited.
    OneByOne,
    /// Greeted at about the same time: side by side, or all after the same wait.
    SideBySide,
}

/// Why not all connections were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PingStop {
    /// More would have reached `max_connect_errors`.
    MaxConnectErrors,
    /// Ctrl-C.
    Interrupted,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PingOutcome {
    /// The greeting came.
    Greeted,
    /// The first packet was an error: see `error_code`.
    ServerError,
    /// Connected, and closed by the server without a byte: what libwrap does with whom it refuses.
    Closed,
    /// Connected, and reset by the server before its first packet.
    Reset,
    /// Connected, and nothing came: the kernel accepted, the server did not get to it.
    Silent,
    /// Its first bytes came, and the rest did not.
    HalfGreeting,
    /// Nothing listens there: the SYN was answered by a reset.
    Refused,
    /// No SYN was answered.
    NoAnswer,
    /// The network says that it cannot be reached.
    Unreachable,
    /// What came first was not the greeting of the protocol that was asked for: see `said`.
    NotMysql,
    /// It could not even begin here.
    Failed,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingAttempt {
    /// From 1.
    pub number: u64,
    /// When it began.
    pub started: WallTime,
    /// Its own `address:port`; null where it got none.
    pub local: Option<String>,
    /// What became of it.
    pub outcome: PingOutcome,
    /// How often its SYN was sent again.
    pub syn_retries: u32,
    /// First SYN → connected.
    pub connect_ns: Option<u64>,
    /// Connected → first byte of the greeting; null where there was none, or not all of it.
    pub greeting_ns: Option<u64>,
    /// Connected → first byte, whatever it belongs to.
    pub first_byte_ns: Option<u64>,
    /// What came first, where it was no greeting that was asked for: its first 200 characters.
    pub said: Option<String>,
    /// First SYN → first packet, or whatever else ended it.
    pub total_ns: u64,
    /// Error code of the first packet.
    pub error_code: Option<u16>,
    /// The server's words, or the kernel's.
    pub error: Option<String>,
}

/// Connections of one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingCount {
    /// Outcome.
    pub outcome: PingOutcome,
    /// Error code, where the outcome is `server_error`.
    pub error_code: Option<u16>,
    /// How many.
    pub count: u64,
}

/// Percentiles, exact: each is a value that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingTimes {
    /// How many values.
    pub count: u64,
    /// Smallest.
    pub min_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Largest.
    pub max_ns: u64,
}

/// Connections that took from `from_ns` to less than `to_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingBucket {
    /// From here.
    pub from_ns: u64,
    /// Up to and without this.
    pub to_ns: u64,
    /// How many.
    pub count: u64,
}

/// What is wrong. The names are a contract: they are added to, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PingProblemKind {
    /// Error 1129.
    HostBlocked,
    /// Error 1130.
    HostNotAllowed,
    /// Error 1040.
    TooManyConnections,
    /// Another error as first packet.
    ServerError,
    /// Connected, not greeted.
    NoGreeting,
    /// The greeting began and did not end.
    HalfGreeting,
    /// Closed without a byte.
    ClosedWithoutGreeting,
    /// Reset before the first packet.
    ResetBeforeGreeting,
    /// Nothing listens.
    NothingListens,
    /// No SYN answered.
    NoAnswer,
    /// Not to be reached.
    Unreachable,
    /// Another service.
    NotMysql,
    /// Could not begin here.
    FailedHere,
    /// Connected only after a SYN was sent again.
    SynDropped,
    /// Greeted late although connected at once.
    GreetingSlow,
    /// Finding the address took long.
    NameSlow,
    /// Connections were served one by one.
    ServedOneByOne,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingProblem {
    /// What kind.
    pub kind: PingProblemKind,
    /// How bad.
    pub severity: Severity,
    /// How many connections it concerns.
    pub count: u64,
    /// In a sentence.
    pub message: String,
    /// What to do.
    pub change: Option<String>,
}
