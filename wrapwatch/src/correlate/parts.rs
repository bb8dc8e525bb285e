//! The disjoint parts of a wrapper check: what its time was spent on, to the nanosecond.
//!
//! Calls that were seen to begin and end are certain; a wait for a nameserver is what lies between a query and what
//! the thread did next. So calls win over waits, and what neither covers is `other`.

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

    /// Of several at one time the smallest wins.
    const fn key(&self) -> (u8, KtimeNs, KtimeNs, Option<ServerId>) {
        (rank(self.cause), self.from, self.to, self.server)
    }
}

/// Smaller is more certain.
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

/// Divides time: goes through spans in the order in which they begin. The room for that is used again.
#[derive(Debug, Default)]
pub(super) struct Divider {
    order: Vec<Span>,
    /// All before this is divided.
    at: KtimeNs,
    /// Spans that have begun, the one that wins last. Those behind it may have ended.
    open: Vec<Span>,
    /// What was divided last is of this span, which goes on.
    cut: Option<Span>,
    divided: Vec<Span>,
}

impl Divider {
    /// Spans that follow one another without gap or overlap from `from` to `to`. Where given spans overlap, the more certain one wins, among equals
    /// the one that began first; what none covers is [`StallCause::Other`].
    pub(super) fn partition(&mut self, spans: &[Span], from: KtimeNs, to: KtimeNs) -> &[Span] {
        let mut order = std::mem::take(&mut self.order);
        order.extend(spans.iter().filter_map(|span| span.within(from, to)));
        order.sort_by_key(|span| span.from);
        self.open.clear();
        self.divided.clear();
        (self.at, self.cut) = (from, None);
        for (index, &span) in order.iter().enumerate() {
            self.until(span.from);
            let is_alone = order.get(index + 1).is_none_or(|next| span.to <= next.from);
            if is_alone && self.open.is_empty() {
                // As nearly all are.
                self.divided.push(span);
                self.at = span.to;
                continue;
            }
            let at = self.open.partition_point(|other| other.key() > span.key());
            self.open.insert(at, span);
        }
        self.until(to);
        order.clear();
        self.order = order;
        &self.divided
    }

    /// Paints up to `to`; until then nothing begins.
    fn until(&mut self, to: KtimeNs) {
        while self.at < to {
            let Some(&span) = self.open.last() else {
                self.divided.push(Span { from: self.at, to, cause: StallCause::Other, server: None });
                self.at = to;
                return;
            };
            let end = span.to.min(to);
            match self.divided.last_mut().filter(|_| self.cut == Some(span)) {
                Some(last) => last.to = end,
                None if self.at < end => self.divided.push(Span { from: self.at, to: end, ..span }),
                None => {}
            }
            self.at = self.at.max(end);
            self.cut = (end < span.to).then_some(span);
            if self.cut.is_none() {
                self.open.pop();
            }
        }
    }
}

/// What they come to. A thread off the CPU is `other`: nothing the check did.
pub(super) fn parts(divided: &[Span]) -> Parts {
    let mut parts = Parts::default();
    for span in divided {
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

    fn partition(spans: &[Span], from: KtimeNs, to: KtimeNs) -> Vec<Span> {
        let mut divider = Divider::default();
        // What it divided before leaves nothing behind.
        divider.partition(spans, KtimeNs(0), KtimeNs(u64::MAX));
        divider.partition(spans, from, to).to_vec()
    }

    fn span(from: u64, to: u64, cause: StallCause) -> Span {
        Span { from: KtimeNs(from), to: KtimeNs(to), cause, server: None }
    }

    #[test]
    fn the_certain_wins_and_the_bare_is_other() {
        let spans =
            [span(10, 50, StallCause::Dns), span(20, 30, StallCause::File), span(45, 90, StallCause::Dns)];
        let got: Vec<_> =
            partition(&spans, KtimeNs(0), KtimeNs(80)).iter().map(|s| (s.from.0, s.to.0, s.cause)).collect();
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
        fn at_each_time_the_most_certain_counts(spans in prop::collection::vec(any_span(), 0..12), from in 0..500_u64, len in 0..500_u64) {
            let (from, to) = (KtimeNs(from), KtimeNs(from + len));
            let divided = partition(&spans, from, to);
            for at in from.0..to.0 {
                let is_at = |span: &&Span| span.from.0 <= at && at < span.to.0;
                let clipped: Vec<Span> = spans.iter().filter_map(|span| span.within(from, to)).collect();
                let wins = clipped.iter().filter(is_at).min_by_key(|span| span.key());
                let cause = wins.map_or(StallCause::Other, |span| span.cause);
                prop_assert_eq!(divided.iter().find(is_at).map(|span| span.cause), Some(cause));
                // One span's time is cut only by what is more certain.
                let next = divided.iter().find(|span| span.from.0 == at && at > from.0);
                let goes_on = |span: &Span| wins.is_some_and(|wins| wins == span && wins.from.0 < at);
                if let (Some(next), Some(before)) = (next, divided.iter().find(|span| span.to.0 == at)) {
                    let winner = clipped.iter().filter(|span| span.from.0 < at && at <= span.to.0).min_by_key(|span| span.key());
                    prop_assert!(!winner.is_some_and(goes_on), "{before:?} and {next:?} are one");
                }
            }
        }

        #[test]
        fn parts_add_up_exactly(spans in prop::collection::vec(any_span(), 0..40), from in 0..1000_u64, len in 0..1000_u64) {
            let (from, to) = (KtimeNs(from), KtimeNs(from + len));
            let divided = partition(&spans, from, to);
            prop_assert_eq!(parts(&divided).total(), len);
            let mut at = from;
            for span in &divided {
                prop_assert_eq!(span.from, at);
                prop_assert!(span.from < span.to);
                at = span.to;
            }
            if len > 0 { prop_assert_eq!(at, to); }
        }
    }
}
