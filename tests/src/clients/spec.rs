//! What is asked of the clients and what they report, in JSON and in Rust.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How a client leaves that gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveBy {
    /// `close`: FIN.
    Fin,
    /// `close` with no lingering: RST.
    Rst,
}

/// What a client does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Reads the first packet and closes.
    #[default]
    Greeting,
    /// Reads the first packet and closes that much later.
    Hold {
        /// Milliseconds after the first byte.
        ms: u64,
    },
    /// Logs in as root without a password, sends this statement, reads its result, says good-bye.
    Query {
        /// The statement.
        sql: String,
    },
    /// Takes its time, then logs in as root without a password, to a database if it names one, and says good-bye.
    LogIn {
        /// Milliseconds after the greeting.
        after_ms: u64,
        /// Its database.
        database: Option<String>,
    },
    /// Leaves if nothing came in time.
    GiveUp {
        /// Milliseconds after `connect` returned.
        after_ms: u64,
        /// How it leaves.
        by: LeaveBy,
    },
}

/// Where clients come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Each from its own IPv4 address, never used before in this lab.
    #[default]
    Own,
    /// Each from its own IPv6 address, never used before in this lab.
    Own6,
    /// From these in turn.
    List(Vec<IpAddr>),
    /// From so many IPv4 addresses, the same in every call, in turn.
    Distinct(u32),
    /// Through the unix socket.
    Unix,
}

/// A number of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientsSpec {
    /// How many in all.
    pub count: usize,
    /// How many at once: so many begin together, and when one is done the next begins.
    pub concurrency: usize,
    /// Where from.
    pub source: Source,
    /// What they do.
    pub mode: Mode,
    /// Client n begins no earlier than n times this after the first.
    pub stagger_us: u64,
    /// A client that has waited so long for any one step gives up with [`Outcome::Timeout`].
    pub timeout_ms: u64,
    /// Server's port.
    pub port: u16,
    /// The clients' own port; else the kernel chooses one for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_port: Option<u16>,
}

impl Default for ClientsSpec {
    fn default() -> Self {
        Self {
            count: 1,
            concurrency: 1,
            source: Source::default(),
            mode: Mode::default(),
            stagger_us: 0,
            timeout_ms: 30_000,
            port: 3306,
            from_port: None,
        }
    }
}

impl ClientsSpec {
    /// One after the other.
    pub fn one_by_one(count: usize) -> Self {
        Self { count, ..Self::default() }
    }

    /// All at once.
    pub fn at_once(count: usize) -> Self {
        Self { count, concurrency: count, ..Self::default() }
    }
}

/// How it ended, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The first packet was a greeting; for [`Mode::Query`], the query was answered too, for [`Mode::LogIn`] it was let in.
    Greeting,
    /// An error packet came, see `error_code`.
    Error,
    /// The server closed (FIN) without a single byte.
    Closed,
    /// The server closed after some bytes, in the middle of a packet or an exchange.
    Cut,
    /// The connection was reset.
    Reset,
    /// Nothing came in time.
    Timeout,
    /// It left as [`Mode::GiveUp`] says.
    GaveUp,
    /// `connect` failed, see `error`.
    ConnectFailed,
    /// Anything else, see `error`.
    Failed,
}

/// What one client saw. Times are `CLOCK_MONOTONIC`; null where it did not come to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientResult {
    /// Number within the call, from 0.
    pub index: usize,
    /// Its address; null for the unix socket and where connecting failed.
    pub source: Option<SocketAddr>,
    /// Just before `connect`.
    pub t_connect_called_ns: u64,
    /// `connect` had returned.
    pub t_connected_ns: Option<u64>,
    /// The first byte had been read.
    pub t_first_byte_ns: Option<u64>,
    /// It was over: the server's end had been read, or this side had closed.
    pub t_closed_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Code of the error packet.
    pub error_code: Option<u16>,
    /// Text of the error packet, or of the failed call.
    pub error: Option<String>,
    /// Server's version, from the greeting.
    pub version: Option<String>,
    /// Server's number of the connection, from the greeting.
    pub connection_id: Option<u32>,
    /// First column of the query's rows; null where the value is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Option<String>>,
}

impl ClientResult {
    /// From calling `connect` to the first byte, or to the end where none came: what the client waited.
    pub fn waited_ns(&self) -> u64 {
        self.t_first_byte_ns.unwrap_or(self.t_closed_ns).saturating_sub(self.t_connect_called_ns)
    }
}
