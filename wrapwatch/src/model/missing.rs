//! What was not seen of a connection, and what of its client's wait is unknown for that.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a connection is not complete. The names are a contract: they are added to, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Missing {
    /// It was accepted before the trace began.
    BeganBefore,
    /// The trace ended while it was in its check.
    StillInCheck,
    /// The trace ended before its first packet.
    StillOpen,
    /// Its handshake was not seen.
    HandshakeUnseen,
    /// Handshakes of the same addresses in several network namespaces.
    HandshakeAmbiguous,
    /// The handshake of the client behind it was not seen.
    NextHandshakeUnseen,
    /// The server did not ask `accept` for the client's address.
    PeerUnseen,
    /// Accept records were lost while it was queued.
    AcceptsLost,
    /// The record of its thread's next accept was lost.
    NextAcceptLost,
    /// Socket states were lost.
    StatesLost,
    /// ICMP errors were lost.
    ErrorsLost,
    /// Some of its own events were lost.
    EventsLost {
        /// How many.
        count: u32,
    },
    /// The kernel skipped calls during it.
    CallsSkipped,
    /// Its check had ended, and the end was not seen.
    CheckEndUnseen,
    /// Its close was not seen.
    CloseUnseen,
    /// Its descriptor was given to another connection before its end was seen.
    EndUnseen,
    /// Its number was given to another connection before its end was seen.
    NumberReused,
    /// Its thread ended, and no close was seen.
    ThreadEnded,
    /// The server process ended.
    ServerEnded,
    /// The server process became another program, as `twist` does.
    ServerReplaced,
    /// Whether it was refused or the server became another program was not seen.
    TwistUnseen,
    /// Too many connections were open at once.
    TooManyOpen,
    /// It used more files, sockets or queries than are remembered.
    TooManyUses,
    /// It was queued longer than the past of its accept thread is remembered.
    PastForgotten,
    /// Another process, which is not traced, has the client's socket.
    HandedOver,
    /// Calls that would have shown its lookups are not in the trace.
    LookupsNotTraced,
    /// Calls that would have shown its tables are not in the trace.
    TablesNotTraced,
    /// Opens of files are in the trace, and none of a table: lines of it may have been left out.
    TablesUnseen,
    /// What would show whether the wrappers or the server itself asked for names was not seen: hosts.allow, which libwrap opens first.
    AskerUnseen,
    /// What is sent to clients is not in the trace.
    ClientCallsNotTraced,
    /// Threads or processes of the server are not in the trace.
    NotFollowed,
    /// The trace has no times.
    NoTimes,
    /// The log was cut within it.
    LogCut,
    /// A nameserver was connected to, and what it was asked was not seen.
    QueryUnseen,
    /// When a request came was not seen.
    ArrivalUnseen,
    /// Whether libwrap was asked about it, and what that decided, was not seen.
    ChecksUnseen,
    /// Of a later version.
    #[serde(other)]
    Other,
}

impl Missing {
    /// What it means, for a person: one clause.
    pub const fn message(self) -> &'static str {
        match self {
            Self::BeganBefore => "began before wrapwatch attached",
            Self::StillInCheck => "still in its check when the trace ended",
            Self::StillOpen => "still going on when the trace ended",
            Self::HandshakeUnseen => "its handshake was not seen",
            Self::HandshakeAmbiguous => {
                "handshakes of the same addresses in several network namespaces: the time in the queue is not known"
            }
            Self::NextHandshakeUnseen => {
                "the next client's handshake was not seen: its service time may be too short"
            }
            Self::PeerUnseen => "the server did not ask accept for the client's address",
            Self::AcceptsLost => "accept records were lost: who it waited behind may be incomplete",
            Self::NextAcceptLost => {
                "the next accept of its thread was lost: its service time may be too short"
            }
            Self::StatesLost => {
                "socket states were lost: the handshake or the client's leaving may be missing"
            }
            Self::ErrorsLost => "ICMP errors were lost: a query shown as timed out may have been refused",
            Self::EventsLost { .. } => "events were lost",
            Self::CallsSkipped => "the kernel skipped calls during it: what is shown of it may be wrong",
            Self::CheckEndUnseen => "its check had ended, and the end was not seen: what it took may be more",
            Self::CloseUnseen => "its close was not seen",
            Self::EndUnseen => "its end was not seen",
            Self::NumberReused => "its number was reused",
            Self::ThreadEnded => "its thread ended, and no close was seen",
            Self::ServerEnded => "the server process ended",
            Self::ServerReplaced => "the server process was replaced by another program (twist?)",
            Self::TwistUnseen => {
                "whether it was refused or the server became another program (twist) was not seen"
            }
            Self::TooManyOpen => "too many connections were open at once",
            Self::TooManyUses => "it used more files, sockets or queries than are remembered",
            Self::PastForgotten => "it was queued longer than its accept thread's past is remembered",
            Self::HandedOver => "another process, which is not traced, has the client's socket",
            Self::LookupsNotTraced => "network calls are not in the trace: its lookups could not be seen",
            Self::TablesNotTraced => {
                "opens of files are not in the trace: whether it was checked could not be seen"
            }
            Self::TablesUnseen => {
                "no open of hosts.allow or hosts.deny is in the trace: whether it was checked is not known"
            }
            Self::AskerUnseen => {
                "the open of hosts.allow is not in the trace: whether the wrappers or the server asked for names is not known"
            }
            Self::ClientCallsNotTraced => {
                "what is sent to clients is not in the trace: when it was greeted could not be seen"
            }
            Self::NotFollowed => "threads or processes of the server are not in the trace",
            Self::NoTimes => "the trace has no times",
            Self::LogCut => "the log was cut within it",
            Self::QueryUnseen => "a nameserver was connected to, and what it was asked was not seen",
            Self::ChecksUnseen => "whether libwrap was asked about it, and what that decided, was not seen",
            Self::ArrivalUnseen => "when its request came was not seen: it may have waited before",
            Self::Other => "for a reason that this version does not know",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventsLost { count: 1 } => f.write_str("1 event was lost"),
            Self::EventsLost { count } => write!(f, "{count} events were lost"),
            other => f.write_str(other.message()),
        }
    }
}

/// All reasons in one line: `its close was not seen; 3 events were lost`.
pub fn missing_line(missing: &[Missing]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A reason as JSON has it: the kind for machines, the message for people.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MissingReason")]
pub(super) struct MissingSaid {
    #[serde(flatten)]
    what: Missing,
    /// What it means, for a person.
    #[serde(default)]
    message: String,
}

/// `missing` in JSON.
pub(super) mod said {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Missing, MissingSaid};

    pub(in super::super) fn serialize<S: Serializer>(
        missing: &[Missing],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(missing.iter().map(|&what| MissingSaid { what, message: what.to_string() }))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Missing>, D::Error> {
        Ok(Vec::<MissingSaid>::deserialize(deserializer)?.into_iter().map(|said| said.what).collect())
    }
}

/// Why a stretch of a client's wait is unknown. The names are a contract: they are added to, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UnknownReason {
    /// It was accepted before the trace began.
    BeganBefore,
    /// Events of it were lost.
    EventsLost,
    /// The kernel skipped calls during it.
    CallsSkipped,
    /// Calls that would have shown lookups are not in the trace.
    NotTraced,
    /// The trace has no times.
    NoTimes,
    /// The log was cut.
    LogCut,
    /// The thread or process that worked for it is not in the trace.
    NotFollowed,
    /// Another process has the client's socket.
    HandedOver,
    /// The server became another program, or ended.
    ServerReplaced,
    /// Its thread was in a call that is not watched, or had no CPU and nobody saw it.
    UnwatchedCall,
    /// Who held the accept thread while it was queued is not known.
    QueueUnseen,
    /// Who worked for it before its first packet is not known.
    WorkerUnseen,
    /// More happened than is remembered.
    Forgotten,
    /// What a nameserver was asked was not seen.
    QueryUnseen,
    /// The trace ended before more than a moment of it was seen.
    TraceEnded,
    /// No thread took it over while others looked their clients up: it may have waited for one of them.
    WorkersBusy,
    /// wrapwatch did not see whether libwrap was asked.
    ChecksUnseen,
    /// Of a later version.
    #[serde(other)]
    Other,
}

impl UnknownReason {
    /// The reason for a person: `events were lost`.
    pub const fn message(self) -> &'static str {
        match self {
            Self::BeganBefore => "it began before the trace",
            Self::EventsLost => "events were lost",
            Self::CallsSkipped => "the kernel skipped calls",
            Self::NotTraced => "calls that would show lookups were not traced",
            Self::NoTimes => "the trace has no times",
            Self::LogCut => "the log was cut",
            Self::NotFollowed => "a thread or process of the server was not traced",
            Self::HandedOver => "another process, which was not traced, had the client's socket",
            Self::ServerReplaced => "the server process ended or became another program",
            Self::UnwatchedCall => "the thread was in a call that is not watched, or off the CPU",
            Self::QueueUnseen => "who held the accept thread was not seen",
            Self::WorkerUnseen => "which thread worked for the client was not seen",
            Self::Forgotten => "more happened than is remembered",
            Self::QueryUnseen => "what a nameserver was asked was not seen",
            Self::TraceEnded => "the trace ended before that",
            Self::ChecksUnseen => "wrapwatch did not see whether libwrap was asked",
            Self::WorkersBusy => {
                "no thread took it over while the server looked other clients up: it may have waited for that"
            }
            Self::Other => "for a reason that this version does not know",
        }
    }
}

/// Where in a client's wait something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// ESTABLISHED to accept.
    Queue,
    /// Accept to the check's end.
    Check,
    /// From the check's end on.
    Thread,
}

/// A part of a client's wait of which the trace does not show what it was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unknown {
    /// Why.
    pub reason: UnknownReason,
    /// Where in the wait.
    pub stage: Stage,
    /// How much of it.
    pub ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_kind_for_machines_and_a_message_for_people() {
        let said =
            MissingSaid { what: Missing::EventsLost { count: 3 }, message: "3 events were lost".to_owned() };
        let json = serde_json::to_value(&said).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"kind": "events-lost", "count": 3, "message": "3 events were lost"})
        );
        let later: MissingSaid =
            serde_json::from_str(r#"{"kind":"struck-by-lightning","message":"x"}"#).unwrap();
        assert_eq!(later.what, Missing::Other);
        for what in [Missing::ServerReplaced, Missing::EventsLost { count: 1 }] {
            let json = serde_json::to_string(&MissingSaid { what, message: what.to_string() }).unwrap();
            assert_eq!(serde_json::from_str::<MissingSaid>(&json).unwrap().what, what);
        }
    }
}
