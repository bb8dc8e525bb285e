//! The server looks the client up itself, besides the wrappers: mysqld in the connection thread, where `skip_name_resolve` is off, whatever is thought.

use crate::model::{Finding, FindingId, Lookup, Severity, Share, ThreadRole};

use super::support::{AtOnce, Proof, counted, finding};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct ServerOwnLookups {
    proof: Proof,
    /// Of these, in requests: after the first byte.
    later: u64,
    /// Some client was seen to wait for another's.
    others_waited: bool,
    /// Some client was seen to wait until a thread or process was free of them.
    workers_waited: bool,
    lookups: AtOnce,
}

impl Detector for ServerOwnLookups {
    fn see(&mut self, seen: &Seen<'_>) {
        self.others_waited |=
            seen.connection.queued_resolve_ns > 0 || seen.connection.handover_resolve_ns > 0;
        self.workers_waited |= seen.connection.handover_resolve_ns > 0;
        let own = |lookup: &&Lookup| lookup.thread == ThreadRole::Connection;
        for lookup in seen.connection.lookups.iter().filter(own) {
            let from = seen.connection.accepted_ktime.plus(lookup.at_ns);
            self.lookups.add(from, from.plus(lookup.dur_ns));
        }
        if seen.connection.resolve_ns > 0 {
            self.proof.add(seen.connection, seen.connection.resolve_ns);
        }
    }

    fn see_request(&mut self, seen: &Seen<'_>) {
        self.later += u64::from(seen.connection.resolve_ns > 0);
        self.see(seen);
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        if self.proof.count == 0 {
            return Vec::new();
        }
        let own = case.server.own_lookups();
        let waiting = &case.summary.waiting;
        let share = Share::of(waiting.resolve_ns, waiting.total_ns);
        let message = format!(
            "{} itself looked {} up {} the {}: {}. {}.",
            case.server.name,
            counted(self.proof.count, "client", "clients"),
            match self.later {
                0 => "before",
                later if later == self.proof.count => "after",
                _ => "before or after",
            },
            case.server.greeting(),
            own.because,
            if self.others_waited {
                "Other clients wait for that, too"
            } else {
                "Only that client waits, not those behind it"
            }
        );
        let mut facts =
            vec![super::support::spread(&self.proof, "client", "clients"), format!("{share} of all waiting")];
        facts.extend(self.workers_waited.then(|| {
            format!(
                "at most {} at once, while other clients waited for a thread or process: as many as it has. What bounds them: {}",
                counted(self.lookups.most() as u64, "lookup", "lookups"),
                case.server.workers()
            )
        }));
        let severity = match share.0 {
            share if share >= 0.5 => Severity::Critical,
            share if share >= 0.1 => Severity::Warning,
            _ => Severity::Info,
        };
        vec![finding(
            FindingId::ServerOwnLookups,
            severity,
            message,
            self.proof.evidence(facts),
            Some(own.change.to_owned()),
        )]
    }
}
