//! One client's waiting, divided by what explains it.
//!
//! What a check spent in calls and waiting for answers is the wrappers' doing, for the client itself and for whoever was queued behind
//! it on the same thread. Time inside a check that is none of that is computing only up to a point. Off the CPU is what was seen to be so (stopped,
//! starved). The rest is unknown, and neither blamed on wrappers or DNS nor taken for their innocence; the correlator says how much, and why.
//! Time in the queue while the thread was in no check is not theirs.

use crate::model::{COMPUTING_MAX_NS, Connection, Stage, StallCause, Waiting};

/// What is left of a client's waiting while it is given to its causes, so that the parts cannot exceed the whole.
struct Left(u64);

impl Left {
    fn take(&mut self, ns: u64) -> u64 {
        let taken = ns.min(self.0);
        self.0 -= taken;
        taken
    }
}

/// The waiting of a connection's client. `explained() + unexplained() + unknown_ns == total_ns`, always.
pub fn waiting(connection: &Connection) -> Waiting {
    let queued_ns = connection.queued_ns.unwrap_or(0);
    let total_ns = super::took_ns(connection);
    let mut left = Left(total_ns);
    let mut waiting = Waiting { total_ns, ..Waiting::default() };
    waiting.unknown_ns = left.take(connection.unknown_ns);
    let mut unknown_queued = connection.unknown_in(Stage::Queue);
    let mut unknown_in_check = connection.unknown_in(Stage::Check);
    let mut computing = [0_u64, 0];
    let mut queued_in_checks = 0_u64;
    for blame in &connection.blame {
        queued_in_checks = queued_in_checks.saturating_add(blame.queued_ns);
        let part = match blame.cause {
            StallCause::Dns => &mut waiting.dns_ns,
            StallCause::File => &mut waiting.files_ns,
            StallCause::Ident => &mut waiting.ident_ns,
            StallCause::Spawn => &mut waiting.spawn_ns,
            StallCause::Syslog => &mut waiting.syslog_ns,
            StallCause::OffCpu => &mut waiting.off_cpu_ns,
            StallCause::Other => {
                computing[0] = computing[0].saturating_add(blame.own_ns);
                computing[1] = computing[1].saturating_add(blame.queued_ns);
                continue;
            }
        };
        *part += left.take(blame.own_ns.saturating_add(blame.queued_ns));
    }
    let stages = [(1, &mut unknown_in_check), (connection.queued_behind_count, &mut unknown_queued)];
    for (ns, (checks, unknown)) in computing.into_iter().zip(stages) {
        let usual = ns.min(COMPUTING_MAX_NS.saturating_mul(checks));
        waiting.computing_ns += left.take(usual);
        let not_known = (ns - usual).min(*unknown);
        *unknown -= not_known;
        waiting.off_cpu_ns += left.take(ns - usual - not_known);
    }
    let in_queue = queued_in_checks.saturating_sub(connection.served_behind_ns);
    let held = in_queue.saturating_add(connection.queued_resolve_ns);
    let own = [connection.queued_resolve_ns, connection.handover_resolve_ns, connection.resolve_ns];
    waiting.resolve_ns = left.take(own.into_iter().fold(0, u64::saturating_add));
    waiting.queue_other_ns = left.take(queued_ns.saturating_sub(held).saturating_sub(unknown_queued));
    let behind_ns = connection.handover_resolve_ns.saturating_add(connection.served_behind_ns);
    let handover_ns = connection.handover_ns.unwrap_or(0).saturating_sub(behind_ns);
    waiting.handover_ns = left.take(handover_ns.saturating_sub(connection.unknown_in(Stage::Thread)));
    waiting.rest_ns = left.0;
    waiting
}

impl std::ops::AddAssign for Waiting {
    fn add_assign(&mut self, other: Self) {
        let pairs = [
            (&mut self.total_ns, other.total_ns),
            (&mut self.dns_ns, other.dns_ns),
            (&mut self.files_ns, other.files_ns),
            (&mut self.ident_ns, other.ident_ns),
            (&mut self.spawn_ns, other.spawn_ns),
            (&mut self.syslog_ns, other.syslog_ns),
            (&mut self.computing_ns, other.computing_ns),
            (&mut self.off_cpu_ns, other.off_cpu_ns),
            (&mut self.queue_other_ns, other.queue_other_ns),
            (&mut self.handover_ns, other.handover_ns),
            (&mut self.resolve_ns, other.resolve_ns),
            (&mut self.rest_ns, other.rest_ns),
            (&mut self.unknown_ns, other.unknown_ns),
        ];
        for (sum, ns) in pairs {
            *sum = sum.saturating_add(ns);
        }
    }
}
