//! The accept queue was full: the kernel drops handshakes, and clients try again after 1, 3, 7 seconds (tcp(7)).

use crate::model::{Evidence, Finding, FindingId, Severity};

use super::support::{counted, finding};
use super::{Case, Detector};
use crate::context::QueuePoint;

#[derive(Debug, Default)]
pub(super) struct QueueOverflow;

impl Detector for QueueOverflow {
    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let netns = case.facts.netns.values();
        let (overflows, drops) = netns.fold((0_u64, 0_u64), |(overflows, drops), digest| {
            (overflows.saturating_add(digest.overflows()), drops.saturating_add(digest.drops()))
        });
        let fullest = case.facts.queue.fullest;
        // The kernel takes one more than the limit before it drops.
        let full = fullest.is_some_and(QueuePoint::is_full);
        let local = case.facts.queue.fullest_local.filter(|point| point.is_full());
        if overflows == 0 && !full && local.is_none() {
            return Vec::new();
        }
        let message = if overflows > 0 {
            format!(
                "The accept queue overflowed: the kernel dropped {} to connect, and each cost its client a second or more before the first byte.",
                counted(overflows, "attempt", "attempts")
            )
        } else if full {
            "The accept queue was full: the next client's attempt to connect would have been dropped."
                .to_owned()
        } else {
            "The queue of a unix socket was full: who connects to it next waits until there is room, which wrapwatch does not see, or fails at once (EAGAIN)."
                .to_owned()
        };
        let mut facts = Vec::new();
        if overflows > 0 {
            facts.push(format!("ListenOverflows rose by {overflows}, ListenDrops by {drops}"));
        }
        if let Some(point) = fullest {
            facts.push(format!("at most {} of {} queued, by samples", point.queued, point.limit));
        }
        if let Some(point) = local {
            facts
                .push(format!("unix socket: at most {} of {} queued, by samples", point.queued, point.limit));
        }
        if case.summary.queued.count > 0 {
            facts.push("times in the queue leave out what a client lost before its handshake".to_owned());
        }
        let change = format!(
            "Cure what holds the accept thread. A longer queue ({}, net.core.somaxconn) turns dropped attempts into longer waits, nothing else.",
            case.server.backlog()
        );
        let evidence = Evidence { facts, ..Evidence::default() };
        let severity = if overflows > 0 { Severity::Critical } else { Severity::Warning };
        vec![finding(FindingId::QueueOverflow, severity, message, evidence, Some(change))]
    }
}
