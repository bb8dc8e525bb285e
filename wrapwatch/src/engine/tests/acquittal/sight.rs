//! What a live trace does not see for lack of privileges, or of what the kernel says of itself: the records that are not written, those that say less, and the
//! degradations that say so, as `docs/privileges.md` has them.

use wrapwatch_common::records::{self as abi, Kind};

use crate::correlate::tests::sim::TGID;
use crate::decode::{self, Event};
use crate::model::{Degradation, DegradationKind};
use crate::trace::Head;
use crate::trace::encode::encode;

/// Processes of the simulator have numbers from here on, and its threads have others.
const PROCESSES: std::ops::Range<u32> = 500..1000;

/// Sight of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Of libwrap's functions: `CAP_SYS_ADMIN`.
    Uprobes,
    /// Of libwrap's `tcpd_context`: a library that exports it.
    RuleContext,
    /// Of sockets' states: a tracepoint.
    States,
    /// Of ICMP errors: a tracepoint, from Linux 5.14 on.
    Errors,
    /// Of the kernel's types (BTF).
    Types,
    /// Of the processes that the server makes, or has made.
    Family,
    /// Of listeners, and of what was going on before: another network namespace, another user.
    Sockets,
    /// Of the server's files.
    Files,
}

impl Sight {
    pub(super) const ALL: [Self; 8] = [
        Self::Uprobes,
        Self::RuleContext,
        Self::States,
        Self::Errors,
        Self::Types,
        Self::Family,
        Self::Sockets,
        Self::Files,
    ];

    /// Whether a record is not written without it.
    pub(super) fn hides(self, header: &abi::Header, kind: Kind) -> bool {
        let of_family = header.tgid == TGID && PROCESSES.contains(&header.tid);
        match self {
            Self::Uprobes => matches!(kind, Kind::Check | Kind::Request),
            Self::RuleContext => kind == Kind::Rule,
            Self::States => kind == Kind::SockState,
            Self::Errors => kind == Kind::SockError,
            Self::Types | Self::Family => of_family || kind == Kind::Fork,
            Self::Sockets | Self::Files => false,
        }
    }

    /// What a record does not say without it.
    pub(super) fn blur(self, bytes: &mut Vec<u8>) {
        if self != Self::Types {
            return;
        }
        let record = bytes.clone();
        let event = match decode::decode(&record).unwrap() {
            Event::AcceptSocket(abi::AcceptSocket { hdr, enter_ns, peer, fd, listener, .. }) => {
                Event::Accept(abi::Accept { hdr, enter_ns, peer, fd, listener })
            }
            Event::SockState(rec) => Event::SockState(abi::SockState { netns: 0, ..rec }),
            Event::Connect(rec, path) => Event::Connect(abi::Connect { run_delay_ns: 0, ..rec }, path),
            Event::Send(rec, sent) => Event::Send(abi::Payload { run_delay_ns: 0, ..rec }, sent),
            Event::Recv(rec, came) => Event::Recv(abi::Payload { run_delay_ns: 0, ..rec }, came),
            Event::Close(rec) => Event::Close(abi::Close { run_delay_ns: 0, ..rec }),
            other => other,
        };
        bytes.clear();
        encode(&event, bytes);
    }

    /// What a trace begins with without it.
    pub(super) fn begin(self, head: &mut Head) {
        if self == Self::Sockets {
            head.targets.iter_mut().for_each(|target| target.listeners.clear());
        }
        let kinds: &[DegradationKind] = match self {
            Self::Uprobes => &[DegradationKind::NoUprobes],
            Self::RuleContext => &[DegradationKind::NoRuleContext],
            Self::States => &[DegradationKind::NoQueueTime],
            Self::Types => &[DegradationKind::NoNetns, DegradationKind::NoHook],
            Self::Errors | Self::Family => &[DegradationKind::NoHook],
            Self::Sockets => &[DegradationKind::BeganMidway],
            Self::Files => &[],
        };
        let said = kinds.iter().map(|&kind| Degradation { kind, pid: None, message: String::new() });
        head.degradations.extend(said);
    }
}
