//! The disjoint parts of a wrapper check: what its time was spent on, to the nanosecond.
//!
//! Calls that were seen to begin and end are certain; a wait for a nameserver is what lies between a query and what
//! the thread did next. So calls are painted first, waits after them, and what stays bare is `other`.

use crate::model::{KtimeNs, Parts, StallCause};

use super::servers::ServerId;

/// A stretch of time and what it was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub from: KtimeNs,
    pub to: KtimeNs,
    pub cause: StallCause,
    /// Only for [`StallCause::Dns`].
    pub server: Option<ServerId>,
}

impl Span {
    pub(super) const fn ns(&self) -> u64 {
        self.to.since(self.from)
    }

    /// The part inside a window, if any.
    pub(super) fn within(&self, from: KtimeNs, to: KtimeNs) -> Option<Self> {
        let cut = Self { from: self.from.max(from), to: self.to.min(to), ..*self };
        (cut.from < cut.to).then_some(cut)
    }
}

/// Smaller paints first.
const fn rank(cause: StallCause) -> u8 {
    match cause {
        StallCause::OffCpu => 0,
        StallCause::Syslog => 1,
        StallCause::File => 2,
        StallCause::Spawn => 3,
        StallCause::Ident => 4,
        StallCause::Dns => 5,
        StallCause::Other => 6,
    }
}

/// Number of ranks.
const RANKS: u8 = 7;

/// Spans that follow one another without gap or overlap from `from` to `to`. Where given spans overlap, the more certain one wins, among equals
/// the one that began first; what none covers is [`StallCause::Other`].
pub(super) fn paint(spans: &[Span], from: KtimeNs, to: KtimeNs) -> Vec<Span> {
    let ranks = spans.iter().fold(0_u8, |ranks, span| ranks | 1 << rank(span.cause));
    let mut painted: Vec<Span> = Vec::with_capacity(spans.len() + 4);
    let (mut order, mut bare) = (Vec::with_capacity(spans.len()), Vec::new());
    for rank_now in (0..RANKS).filter(|rank| ranks & 1 << rank != 0) {
        let mine = spans.iter().filter(|span| rank(span.cause) == rank_now);
        order.clear();
        order.extend(mine.filter_map(|span| span.within(from, to)));
        // As a rule they came in order.
        if !order.is_sorted_by_key(|span| (span.from, span.to, span.server)) {
            order.sort_by_key(|span| (span.from, span.to, span.server));
        }
        for span in &order {
            if painted.last().is_none_or(|last| last.to <= span.from) {
                painted.push(*span);
                continue;
            }
            gaps(&painted, span.from, span.to, &mut bare);
            for (from, to) in bare.drain(..) {
                let at = painted.partition_point(|earlier| earlier.from < from);
                painted.insert(at, Span { from, to, ..*span });
            }
        }
    }
    gaps(&painted, from, to, &mut bare);
    if bare.is_empty() {
        return painted;
    }
    let mut all = Vec::with_capacity(painted.len() + bare.len());
    let mut rest = painted.into_iter().peekable();
    for (from, to) in bare {
        all.extend(std::iter::from_fn(|| rest.next_if(|span| span.from < from)));
        all.push(Span { from, to, cause: StallCause::Other, server: None });
    }
    all.extend(rest);
    all
}

/// Adds to `bare` what of `from..to` no span of `painted` (in order, disjoint) covers.
fn gaps(painted: &[Span], from: KtimeNs, to: KtimeNs, bare: &mut Vec<(KtimeNs, KtimeNs)>) {
    let mut at = from;
    let first = painted.partition_point(|span| span.to <= from);
    for span in painted.iter().skip(first).take_while(|span| span.from < to) {
        if at < span.from {
            bare.push((at, span.from));
        }
        at = at.max(span.to);
    }
    if at < to {
        bare.push((at, to));
    }
}

/// What they come to. A thread off the CPU is `other`: nothing the check did.
pub(super) fn parts(painted: &[Span]) -> Parts {
    let mut parts = Parts::default();
    for span in painted {
        let part = match span.cause {
            StallCause::Dns => &mut parts.dns_ns,
            StallCause::File => &mut parts.files_ns,
            StallCause::Ident => &mut parts.ident_ns,
            StallCause::Spawn => &mut parts.spawn_ns,
            StallCause::Syslog => &mut parts.syslog_ns,
            StallCause::Other | StallCause::OffCpu => &mut parts.other_ns,
        };
        *part = part.saturating_add(span.ns());
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: u64, to: u64, cause: StallCause) -> Span {
        Span { from: KtimeNs(from), to: KtimeNs(to), cause, server: None }
    }

    #[test]
    fn the_certain_wins_and_the_bare_is_other() {
        let spans =
            [span(10, 50, StallCause::Dns), span(20, 30, StallCause::File), span(45, 90, StallCause::Dns)];
        let got: Vec<_> =
            paint(&spans, KtimeNs(0), KtimeNs(80)).iter().map(|s| (s.from.0, s.to.0, s.cause)).collect();
        let want = [
            (0, 10, StallCause::Other),
            (10, 20, StallCause::Dns),
            (20, 30, StallCause::File),
            (30, 50, StallCause::Dns),
            (50, 80, StallCause::Dns),
        ];
        assert_eq!(got, want);
    }

    fn any_span() -> impl Strategy<Value = Span> {
        let causes = [
            StallCause::Dns,
            StallCause::File,
            StallCause::Ident,
            StallCause::Spawn,
            StallCause::Syslog,
            StallCause::OffCpu,
        ];
        (0..1000_u64, 0..1000_u64, prop::sample::select(causes.to_vec()))
            .prop_map(|(a, b, cause)| span(a, b, cause))
    }

    proptest! {
        #[test]
        fn parts_add_up_exactly(spans in prop::collection::vec(any_span(), 0..40), from in 0..1000_u64, len in 0..1000_u64) {
            let (from, to) = (KtimeNs(from), KtimeNs(from + len));
            let painted = paint(&spans, from, to);
            prop_assert_eq!(parts(&painted).total(), len);
            let mut at = from;
            for span in &painted {
                prop_assert_eq!(span.from, at);
                prop_assert!(span.from < span.to);
                at = span.to;
            }
            if len > 0 { prop_assert_eq!(at, to); }
        }
    }
}
