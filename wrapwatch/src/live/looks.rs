//! When the targets' files are looked at: each time that it is asked while something happens, once a second while nothing does.

use crate::model::KtimeNs;

/// What a record had looked at so lately is not looked at again.
const FRESH_NS: u64 = 100_000_000;
/// How often it is done while nothing happens.
const IDLE_NS: u64 = 1_000_000_000;

/// The last look.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How many records there were by then.
    events: u64,
    at: KtimeNs,
}

impl Looks {
    /// Whether it is time for one, with so many records by now: then at the files that were last looked at before the time it gives.
    pub(super) fn due(&mut self, events: u64, now: KtimeNs) -> Option<KtimeNs> {
        if events == self.events && now.since(self.at) < IDLE_NS {
            return None;
        }
        *self = Self { events, at: now };
        Some(KtimeNs(now.0.saturating_sub(FRESH_NS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_at_each_time_while_something_happens_and_once_a_second_while_nothing_does() {
        let mut looks = Looks::default();
        let tenths = |tenths: u64| KtimeNs(5 * IDLE_NS + tenths * FRESH_NS);
        // By when a record came, and whether that was a look.
        for (at, events, is_look) in [
            (0, 0, true),
            (1, 0, false),
            (2, 1, true),
            (3, 2, true),
            (4, 2, false),
            (12, 2, false),
            (13, 2, true),
            (14, 2, false),
        ] {
            let due = looks.due(events, tenths(at));
            assert_eq!(due, is_look.then(|| KtimeNs(tenths(at).0 - FRESH_NS)), "{at}");
        }
    }
}
