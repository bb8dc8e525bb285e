//! What an accept thread does beside its checks, and how many connections a second it can take: the same live and in a report.

use hdrhistogram::Histogram;

use crate::model::{Connection, KtimeNs};

/// Between two checks that follow each other at once no more than this passes: the hand-over and the next accept.
const HANDOVER_MAX_NS: u64 = 5_000_000;
/// Checks as long as this dwarf a hand-over that was not seen.
const LONG_CHECK_NS: f64 = 5_000_000.0;

/// How long an accept thread needs from a check's end to its next accept, where a client was queued for that.
#[derive(Clone, Debug, Default)]
pub(super) struct Handover {
    spread: Option<Histogram<u32>>,
    /// The last check's end.
    last_end: Option<KtimeNs>,
}

impl Handover {
    /// Takes a connection, in the order of their accepts. Where queues are seen, its service time is longer than its check only if the next client was queued;
    /// where they are not, an accept right after a check is taken for one that was.
    pub(super) fn add(&mut self, connection: &Connection) {
        let last_end = self.last_end.replace(connection.accepted_ktime.plus(connection.wrapper_ns));
        let ns = match (connection.queued_ns, last_end) {
            (None, Some(last_end)) => connection.accepted_ktime.since(last_end),
            _ => connection.service_ns.saturating_sub(connection.wrapper_ns),
        };
        if ns == 0 || ns > HANDOVER_MAX_NS {
            return;
        }
        if self.spread.is_none() {
            // The bounds are valid; without a histogram only the ceiling would lack.
            self.spread = Histogram::new_with_bounds(1, HANDOVER_MAX_NS, 2).ok();
        }
        if let Some(histogram) = &mut self.spread {
            histogram.saturating_record(ns);
        }
    }

    /// The median; `None` where none was seen.
    pub(super) fn median_ns(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "at most 5 ms")]
        self.spread.as_ref().map(|histogram| histogram.value_at_quantile(0.5) as f64)
    }
}

/// Connections a second; `None` where the thread's work beside short checks was not seen.
pub(super) fn ceiling_per_s(count: u64, checks_ns: f64, handover_ns: Option<f64>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a count of connections")]
    let count = count as f64;
    let known = handover_ns.is_some() || checks_ns >= count * LONG_CHECK_NS;
    let busy = checks_ns + count * handover_ns.unwrap_or(0.0);
    (known && busy > 0.0).then(|| count * 1e9 / busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_of_a_short_service_makes_no_ceiling() {
        // Five checks of 13 µs on an idle server: 73 000 a second is what nobody measured.
        assert_eq!(ceiling_per_s(5, 65_000.0, None), None);
        assert!(
            ceiling_per_s(5, 65_000.0, Some(87_000.0)).is_some_and(|per_s| (per_s - 10_000.0).abs() < 1.0)
        );
        assert!(ceiling_per_s(2, 2e9, None).is_some_and(|per_s| (per_s - 1.0).abs() < 1e-9));
        assert_eq!(ceiling_per_s(0, 0.0, None), None);
    }
}
