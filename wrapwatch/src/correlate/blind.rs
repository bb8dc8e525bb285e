//! What a trace cannot show at all.

use crate::model::{DegradationKind, Missing};

/// Kinds of calls that the trace does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Blind {
    /// Network calls: lookups do not show.
    pub lookups: bool,
    /// Opens and reads of files: tables do not show.
    pub files: bool,
    /// Opens of tables, though other opens do.
    pub tables: bool,
    /// Sends to clients: first packets do not show.
    pub clients: bool,
    /// Threads or processes of the server.
    pub others: bool,
    /// Who asks libwrap, where that may be another process than the one that has the client's socket, and the verdict.
    pub checks: bool,
    /// What is received on TCP: whether a query over it was answered.
    pub tcp_answers: bool,
    /// Clients of unix sockets that wait in a listener's queue.
    pub local_queues: bool,
    /// Times of any kind.
    pub times: bool,
    /// Times between calls.
    pub gaps: bool,
}

impl Blind {
    /// Takes note of a loss of sight.
    pub(super) const fn note(&mut self, kind: DegradationKind) {
        match kind {
            DegradationKind::NoLookupCalls => self.lookups = true,
            DegradationKind::NoFileCalls => self.files = true,
            DegradationKind::NoTableOpens => self.tables = true,
            DegradationKind::NoClientCalls => self.clients = true,
            DegradationKind::NotFollowed => self.others = true,
            DegradationKind::ChecksUnseen => self.checks = true,
            DegradationKind::NoTcpAnswers => self.tcp_answers = true,
            DegradationKind::NoLocalQueueTime => self.local_queues = true,
            DegradationKind::NoTimes => self.times = true,
            DegradationKind::NoLineTimes => self.gaps = true,
            _ => {}
        }
    }

    /// What either does not show.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            lookups: self.lookups || other.lookups,
            files: self.files || other.files,
            tables: self.tables || other.tables,
            clients: self.clients || other.clients,
            others: self.others || other.others,
            checks: self.checks || other.checks,
            tcp_answers: self.tcp_answers || other.tcp_answers,
            local_queues: self.local_queues || other.local_queues,
            times: self.times || other.times,
            gaps: self.gaps || other.gaps,
        }
    }

    /// What a connection lacks for it.
    pub(super) fn missing(self) -> impl Iterator<Item = Missing> {
        let kinds = [
            (self.lookups, Missing::LookupsNotTraced),
            (self.files, Missing::TablesNotTraced),
            (self.tables, Missing::TablesUnseen),
            (self.clients, Missing::ClientCallsNotTraced),
            (self.others, Missing::NotFollowed),
            (self.times || self.gaps, Missing::NoTimes),
        ];
        kinds.into_iter().filter(|(blind, _)| *blind).map(|(_, why)| why)
    }
}
