//! What a connection waited behind until a thread took it over: the server's own lookups for other clients.
//!
//! A server with a pool of threads (MariaDB's thread pool) has a connection wait until one is free. The thread that took it over was busy with what it was
//! seen to look up until then. Lookups of other threads may have been what it waited for, or not: a server that makes a thread for each connection
//! does not wait for them.

use std::collections::VecDeque;

use crate::model::KtimeNs;

/// A lookup of the server's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// 0: not known.
    pub tid: u32,
    pub from: KtimeNs,
    pub to: KtimeNs,
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
    pub(super) fn add(&mut self, works: impl Iterator<Item = Work>, limit: usize) {
        for work in works {
            if self.works.len() >= limit.max(1)
                && let Some(old) = self.works.pop_front()
            {
                self.forgot = self.forgot.max(old.to);
            }
            self.works.push_back(work);
        }
    }

    /// What a connection waited behind from its check's end until thread `worker` took it over at `to`, or none had by then. `all`: what is looked up for others that are still open.
    pub(super) fn behind(
        &self,
        worker: Option<u32>,
        (check_end, to): (KtimeNs, KtimeNs),
        mut all: Vec<Work>,
    ) -> Queued {
        let overlaps = |work: &Work| work.to > check_end && work.from < to;
        all.retain(overlaps);
        all.extend(self.works.iter().copied().filter(overlaps));
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
        let behind_ns = within(&|work| Some(work.tid) == worker);
        let forgotten = self.forgot.min(to).since(check_end);
        let doubtful_ns = within(&|_| true).max(forgotten).saturating_sub(behind_ns);
        Queued { behind_ns, doubtful_ns }
    }
}
