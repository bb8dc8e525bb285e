//! Accept threads that have been in one check for long: what they hang on right now.

use wrapwatch_common::maps::thread_key;

use crate::model::{Client, ClockPair, KtimeNs, LookupKind, Missing, RuleRef, Stall, StallCause};

use super::asked::Asked;
use super::open_connection::{Birth, OpenConnection};
use super::tell::rule_ref;
use super::{AcceptThread, Correlator, Servers};

/// A check that is going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCheck {
    /// Process.
    pub tgid: u32,
    /// The accept thread.
    pub tid: u32,
    /// The connection.
    pub conn: u64,
    /// Its client.
    pub peer: Option<Client>,
    /// Accept's return, or the attach; the check's beginning where the thread had turned to others before.
    pub since: KtimeNs,
    /// `since` is the attach: the check began before.
    pub since_attach: bool,
    /// False where the tables are closed and nothing was seen since: the thread is in the check only if a spawned command or syslog holds it,
    /// otherwise it is back at its listener. A queue that is not empty tells.
    pub certain: bool,
    /// What it hangs on.
    pub cause: StallCause,
    /// The lookup.
    pub lookup: Option<LookupKind>,
    /// Its name.
    pub name: Option<String>,
    /// Nameserver that has not answered, or whatever else is waited for.
    pub server: Option<String>,
    /// The table that is open.
    pub table: Option<String>,
    /// The rule that forced the lookup.
    pub rule: Option<RuleRef>,
}

impl OpenCheck {
    /// As a line of output. `queue`: length and limit of the accept queue.
    pub fn stall(&self, now: KtimeNs, clock: &ClockPair, queue: Option<(u32, u32)>) -> Stall {
        Stall {
            at: clock.wall(now),
            pid: self.tgid,
            tid: self.tid,
            conn: Some(self.conn),
            peer: self.peer,
            blocked_ns: now.since(self.since),
            since_attach: self.since_attach,
            cause: self.cause,
            lookup: self.lookup,
            name: self.name.clone(),
            server: self.server.clone(),
            table: self.table.clone(),
            rule: self.rule.clone(),
            queued: queue.map(|(queued, _)| queued),
            queue_limit: queue.map(|(_, limit)| limit),
        }
    }
}

impl Correlator {
    /// Checks that have lasted `slow_ns` at `now`, one an accept thread at most, by thread. Those in [`Self::doubted`] are none.
    pub fn stalls(&self, now: KtimeNs, slow_ns: u64) -> Vec<OpenCheck> {
        let sure = self.long(now, slow_ns).filter(|(thread, ongoing)| !self.is_doubted(thread, ongoing));
        let mut open: Vec<OpenCheck> =
            sure.map(|(_, ongoing)| open_check(ongoing, &self.shared.servers)).collect();
        open.sort_unstable_by_key(|check| (check.tgid, check.tid));
        open
    }

    /// Process and thread of the checks that have lasted as long, but may have ended: events were lost since the last that was seen of them. To be
    /// looked at, see [`Self::note_accept_thread`].
    pub fn doubted(&self, now: KtimeNs, slow_ns: u64) -> Vec<(u32, u32)> {
        let doubted = self.long(now, slow_ns).filter(|(thread, ongoing)| self.is_doubted(thread, ongoing));
        let mut doubted: Vec<_> = doubted.map(|(_, ongoing)| (ongoing.tgid, ongoing.tid)).collect();
        doubted.sort_unstable();
        doubted
    }

    /// An accept thread was seen otherwise than by its records, at `at`: waiting for the next client, so that its check is over, or not. After the events
    /// that came before are pushed.
    pub fn note_accept_thread(&mut self, tgid: u32, tid: u32, at: KtimeNs, at_listener: bool) {
        let Some(thread) = self.threads.get_mut(&thread_key(tgid, tid)) else { return };
        if !at_listener {
            thread.seen_busy = thread.seen_busy.max(at);
            return;
        }
        let Some(conn) = thread.current else { return };
        let current = self.open.get_mut(&conn).filter(|ongoing| ongoing.holds_accept_thread());
        if let Some(ongoing) = current.filter(|ongoing| ongoing.in_check() != Some(false)) {
            ongoing.miss(Missing::CheckEndUnseen);
            self.close_check(conn, false);
        }
    }

    fn long(&self, now: KtimeNs, slow_ns: u64) -> impl Iterator<Item = (&AcceptThread, &OpenConnection)> {
        let current =
            self.threads.values().filter_map(|thread| Some((thread, &**self.open.get(&thread.current?)?)));
        current.filter(|(_, ongoing)| ongoing.holds_accept_thread()).filter(move |(_, ongoing)| {
            now.since(ongoing.turned_to()) >= slow_ns && ongoing.in_check() != Some(false)
        })
    }

    fn is_doubted(&self, thread: &AcceptThread, ongoing: &OpenConnection) -> bool {
        self.steps_lost_at.is_some_and(|lost_at| lost_at >= ongoing.last_step && lost_at > thread.seen_busy)
    }
}

fn open_check(ongoing: &OpenConnection, servers: &Servers) -> OpenCheck {
    let pending = ongoing.resolver.pending(ongoing.checker);
    let looking = pending.and_then(|asked| ongoing.resolver.lookups.get(asked.lookup));
    let lookup = looking.map(|looking| looking.kind);
    let ident = lookup == Some(LookupKind::Ident);
    let cause = match (ongoing.check.inside, pending) {
        (_, Some(_)) if ident => StallCause::Ident,
        (_, Some(_)) => StallCause::Dns,
        (Some((cause, _)), None) => cause,
        // A file was opened, and its first read has not returned.
        (None, None) if ongoing.check.opened_last => StallCause::File,
        // Refused: all that is left to do before the close is to log it.
        (None, None) if ongoing.check.returned.is_some_and(|(_, ret)| ret == 0) => StallCause::Syslog,
        (None, None) => StallCause::Other,
    };
    let name = |asked: &Asked| asked.question.as_ref().map(|question| question.name.clone());
    OpenCheck {
        tgid: ongoing.tgid,
        tid: ongoing.tid,
        conn: ongoing.conn,
        peer: ongoing.client,
        since: ongoing.turned_to(),
        since_attach: ongoing.birth == Birth::Seeded,
        certain: ongoing.in_check() == Some(true),
        cause,
        lookup: lookup.filter(|&kind| kind != LookupKind::Other),
        name: pending.and_then(name),
        server: pending.map(|asked| servers.text(asked.server).to_string()),
        table: ongoing.check.open_table().map(|table| table.path.to_string()),
        rule: ongoing.check.context.as_ref().filter(|_| pending.is_some()).map(rule_ref),
    }
}
