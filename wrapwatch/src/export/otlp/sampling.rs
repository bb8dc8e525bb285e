//! Which of the clients that are neither slow nor failed become traces: a share of them, by their trace's id alone, so that whoever decides decides alike, and a client's spans are all
//! there or none. As OpenTelemetry's consistent probability sampling has it (tracestate, `th`): a backend that knows it can count back.

use super::ids::TraceId;

/// A trace's id has as many random bits, its last ones.
const BITS: u32 = 56;

/// A share of the other clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Taken is a trace whose random bits are no less than this. Of none where it is not set.
    threshold: Option<u64>,
}

impl Sampling {
    /// None of them.
    pub const NONE: Self = Self { threshold: None };

    /// So much of them: from 0 to 1.
    pub fn of(share: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a power of two")]
        let all = (1_u64 << BITS) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to a power of two; a share that is no number is none"
        )]
        let threshold = ((1.0 - share.clamp(0.0, 1.0)) * all) as u64;
        Self { threshold: Some(threshold).filter(|threshold| *threshold < 1 << BITS && !share.is_nan()) }
    }

    /// Whether it is one of them.
    pub(super) fn takes(self, trace: TraceId) -> bool {
        let random = trace.random() & ((1 << BITS) - 1);
        self.threshold.is_some_and(|threshold| random >= threshold)
    }

    /// What a trace says of how it was chosen: for certain, or as one of a share. Nothing where all are chosen for certain.
    pub(super) fn state(self, is_certain: bool) -> Option<String> {
        let threshold = if is_certain { 0 } else { self.threshold? };
        self.threshold?;
        let digits = format!("{threshold:014x}");
        let digits = digits.trim_end_matches('0');
        Some(format!("ot=th:{}", if digits.is_empty() { "0" } else { digits }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids::Ids;
    use super::*;
    use crate::model::WallTime;

    #[test]
    fn as_many_are_taken_as_asked_for_and_always_the_same() {
        let ids = Ids::of("db1", WallTime(jiff::Timestamp::UNIX_EPOCH));
        let taken = |share: f64| -> Vec<u64> {
            (0..10_000).filter(|conn| Sampling::of(share).takes(ids.trace(*conn))).collect()
        };
        assert_eq!((taken(0.0).len(), taken(1.0).len(), taken(f64::NAN).len()), (0, 10_000, 0));
        let (tenth, half) = (taken(0.1), taken(0.5));
        assert!(
            (800..1_200).contains(&tenth.len()) && (4_700..5_300).contains(&half.len()),
            "{}",
            half.len()
        );
        // Who takes fewer takes some of the same.
        assert!(tenth.iter().all(|conn| half.contains(conn)));
        assert_eq!(tenth, taken(0.1));
    }

    #[test]
    fn how_it_was_chosen_is_said_as_opentelemetry_says_it() {
        let said = |share: f64| Sampling::of(share).state(false);
        assert_eq!(said(0.5).as_deref(), Some("ot=th:8"));
        assert_eq!(said(0.25).as_deref(), Some("ot=th:c"));
        assert_eq!(said(1.0).as_deref(), Some("ot=th:0"));
        assert_eq!(Sampling::of(0.25).state(true).as_deref(), Some("ot=th:0"));
        assert_eq!((Sampling::NONE.state(true), Sampling::of(0.0).state(true)), (None, None));
    }
}
