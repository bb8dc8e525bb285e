//! What a connection waited behind until a thread took it over: the server's own lookups for other clients.
//!
//! A server with a pool of threads (MariaDB's thread pool) has a connection wait until one is free. The thread that took it over was busy with what it was
//! seen to look up until then. Lookups of other threads may have been what it waited for, or not: a server that makes a thread for each connection
//! does not wait for them.

use std::collections::VecDeque;

use crate::model::KtimeNs;

use super::open_connection::OpenConnection;

/// A lookup of the server's own.
#[derive(Clone, Copy, Debug)]
struct Work {
    tid: u32,
    from: KtimeNs,
    to: KtimeNs,
}

/// The latest lookups of a process' threads, other than those of its accept threads and checks.
#[derive(Debug, Default)]
pub(super) struct Workers {
    works: VecDeque<Work>,
    /// What ended until then is not remembered.
    forgot: KtimeNs,
}

/// Time until a thread took over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Queued {
    /// In which this thread looked other clients up.
    pub behind_ns: u64,
    /// Of the rest, in which other threads did.
    pub doubtful_ns: u64,
}

impl Queued {
    /// What is not known to be a lookup may be one; `whole_ns`: all the time.
    pub(super) const fn all_doubtful(self, whole_ns: u64) -> Self {
        Self { doubtful_ns: whole_ns.saturating_sub(self.behind_ns), ..self }
    }
}

/// A thread is woken in less.
pub(super) const AT_ONCE_NS: u64 = 1_000_000;

impl Workers {
    /// A connection's story is over: what was looked up for it.
    pub(super) fn add(&mut self, ongoing: &OpenConnection, until: KtimeNs, limit: usize) {
        for work in works(ongoing, until) {
            if self.works.len() >= limit.max(1)
                && let Some(old) = self.works.pop_front()
            {
                self.forgot = self.forgot.max(old.to);
            }
            self.works.push_back(work);
        }
    }

    /// What a connection waited behind from its check's end until a thread took it over at `to`, or had not by then. `open`: the others that are still open.
    pub(super) fn behind<'a>(
        &self,
        ongoing: &OpenConnection,
        (check_end, to): (KtimeNs, KtimeNs),
        open: impl Iterator<Item = &'a OpenConnection>,
    ) -> Queued {
        let mut all: Vec<Work> = open
            .filter(|other| other.tgid == ongoing.tgid && other.conn != ongoing.conn)
            .flat_map(|other| works(other, to))
            .chain(self.works.iter().copied())
            .filter(|work| work.to > check_end && work.from < to)
            .collect();
        all.sort_unstable_by_key(|work| work.from);
        let within = |of: &dyn Fn(&&Work) -> bool| {
            let mut at = check_end;
            let mut sum = 0_u64;
            for work in all.iter().filter(of) {
                let end = work.to.min(to);
                sum = sum.saturating_add(end.since(work.from.max(at)));
                at = at.max(end);
            }
            sum
        };
        let behind_ns = within(&|work| Some(work.tid) == ongoing.worker);
        let forgotten = self.forgot.min(to).since(check_end);
        let doubtful_ns = within(&|_| true).max(forgotten).saturating_sub(behind_ns);
        Queued { behind_ns, doubtful_ns }
    }
}

/// The lookups of a connection that were neither in its accept thread nor in its check; those that go on last until `until`.
fn works(ongoing: &OpenConnection, until: KtimeNs) -> impl Iterator<Item = Work> + '_ {
    let theirs = |tid: u32| tid != ongoing.tid && tid != ongoing.checker;
    let lookups = ongoing.resolver.lookups.iter().filter(move |looking| theirs(looking.tid));
    let lookups = lookups.map(|looking| Work { tid: looking.tid, from: looking.first, to: looking.last });
    let waits = ongoing.resolver.queries.iter().filter(move |asked| theirs(asked.tid));
    let waits = waits.map(move |asked| Work {
        tid: asked.tid,
        from: asked.began(),
        to: asked.end.at().unwrap_or(until),
    });
    // What is missing of a connection may have been a lookup.
    let unseen = (ongoing.seqs.missing() > 0).then(|| Work {
        tid: 0,
        from: ongoing.accepted,
        to: ongoing.ended().unwrap_or(until),
    });
    lookups.chain(waits).chain(unseen)
}
