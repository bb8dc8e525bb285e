//! One query and how it ended.
//!
//! `poll` is not traced, so giving up shows only by what the thread does next. glibc's resolver never waits less than a second (`send_dg`
//! in resolv/res_send.c), so one that went on sooner without an answer was told to: by an ICMP error, which is seen on its own, or by what is not seen.

use crate::decode::dns::{self, Question};
use crate::model::{KtimeNs, Query, QueryOutcome, Transport};

use super::seqs::Seqs;
use super::servers::{ServerId, Servers};

/// A second, less what timers may be early by.
pub(super) const SHORTEST_WAIT_NS: u64 = 950_000_000;

/// How soon after an error a thread that waits in `poll` does something.
const WOKEN_WITHIN_NS: u64 = 100_000_000;

/// How waiting for an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has not.
    Pending,
    /// The thread went on without an answer; `seq` is the record that showed it.
    WentOn { at: KtimeNs, seq: u32 },
    /// A call said that it failed.
    Failed { at: KtimeNs },
    /// A call said that it took too long.
    TimedOut { at: KtimeNs },
    /// Answered.
    Answered { at: KtimeNs },
}

impl End {
    pub(super) const fn at(self) -> Option<KtimeNs> {
        match self {
            Self::Pending => None,
            Self::WentOn { at, .. } | Self::Failed { at } | Self::TimedOut { at } | Self::Answered { at } => {
                Some(at)
            }
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub rcode: u8,
    pub truncated: bool,
    /// A record of the type asked for is there.
    pub usable: bool,
    pub data: Vec<String>,
}

/// A query.
#[derive(Debug)]
pub(super) struct Asked {
    /// Index of its lookup.
    pub lookup: usize,
    pub tid: u32,
    pub fd: i32,
    pub server: ServerId,
    pub transport: Transport,
    pub id: Option<u16>,
    pub question: Option<Question>,
    /// `None`: only its answer was seen.
    pub sent: Option<KtimeNs>,
    /// `sent` is when the trace began: it was pending then.
    pub seeded: bool,
    pub sent_seq: u32,
    pub end: End,
    /// The last ICMP error of the server while this query waited.
    pub error: Option<ServerError>,
    pub answer: Option<Answer>,
}

/// An ICMP error. It says which server it is of, not which query.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerError {
    pub at: KtimeNs,
    /// No query of another lookup that waited for this server was sent later.
    pub likely: bool,
}

impl Asked {
    /// Whether it was waiting for this server at that time.
    pub(super) fn waits_for(&self, server: ServerId, at: KtimeNs) -> bool {
        self.server == server && self.end == End::Pending && self.began() <= at
    }

    /// When it began, as far as known.
    pub(super) fn began(&self) -> KtimeNs {
        self.sent.or(self.end.at()).unwrap_or_default()
    }

    /// It was pending when the trace began, and nothing of it was seen yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.seeded && self.end == End::Pending
    }

    /// How it ended. A server is unreachable only on an error of its own, never for an answer that is not there.
    /// `tcp_answers_unseen`: an answer over TCP need not show.
    pub(super) fn outcome(&self, seqs: &Seqs, tcp_answers_unseen: bool) -> QueryOutcome {
        match self.end {
            End::Answered { .. } => QueryOutcome::Answered,
            End::TimedOut { .. } => QueryOutcome::Timeout,
            End::WentOn { .. } if self.seeded => QueryOutcome::Unseen,
            End::WentOn { seq, .. } if seqs.gap_between(self.sent_seq, seq) => QueryOutcome::Unseen,
            End::WentOn { at, .. } if self.woken_by_error(at) => QueryOutcome::Unreachable,
            End::WentOn { .. } if tcp_answers_unseen && self.transport == Transport::Tcp => {
                QueryOutcome::Unseen
            }
            End::WentOn { at, .. } if at.since(self.began()) >= SHORTEST_WAIT_NS => QueryOutcome::Timeout,
            // It went on sooner than glibc ever gives up. That may have been an error, but none was seen: nobody is blamed for it.
            End::WentOn { .. } | End::Pending => QueryOutcome::Unseen,
            End::Failed { .. } => QueryOutcome::Unreachable,
        }
    }

    /// Whether it is taken for timed out only because no ICMP error came: one that was lost by `lost_at` may have been its.
    pub(super) fn may_be_refused(&self, lost_at: KtimeNs) -> bool {
        matches!(self.end, End::WentOn { at, .. } if !self.woken_by_error(at)) && self.began() <= lost_at
    }

    /// Whether the thread, which did something else at `at`, did so because of an error. Sooner than glibc gives up by itself it did for any error that just
    /// came; later it may have given up, so that the error has to be likely this query's.
    fn woken_by_error(&self, at: KtimeNs) -> bool {
        let early = at.since(self.began()) < SHORTEST_WAIT_NS;
        self.error.is_some_and(|error| at.since(error.at) <= WOKEN_WITHIN_NS && (early || error.likely))
    }

    /// As it is told, times from `accepted`; its texts are given away.
    pub(super) fn tell(&mut self, outcome: QueryOutcome, accepted: KtimeNs, servers: &Servers) -> Query {
        let waited = match (self.sent, self.end.at()) {
            (Some(sent), Some(at)) if !self.seeded && outcome != QueryOutcome::Unseen => Some(at.since(sent)),
            _ => None,
        };
        let (question, answer) = (self.question.take(), self.answer.take());
        Query {
            server: servers.text(self.server).clone(),
            transport: self.transport,
            id: self.id,
            qtype: question.as_ref().map(|question| dns::qtype_text(question.qtype)),
            qname: question.map(|question| question.name),
            at_ns: self.began().since(accepted),
            rtt_ns: waited,
            outcome,
            rcode: answer.as_ref().map(|answer| dns::rcode_text(answer.rcode)),
            truncated: answer.as_ref().is_some_and(|answer| answer.truncated),
            answers: answer.map(|answer| answer.data).unwrap_or_default(),
        }
    }
}
