//! strace's times → wall-clock nanoseconds.

use super::line::Stamp;

const S: u64 = 1_000_000_000;
const DAY_NS: u64 = 24 * 3600 * S;
/// What passes between two lines of a log without times, so that they have an order.
const TICK_NS: u64 = 1;
/// Lines of several threads, printed out of order by this much: no more than strace's own delay.
const OUT_OF_ORDER_NS: u64 = S;
/// The most that a clock is set back: summer time ends, and somebody corrects it by some minutes besides. More is another day.
const SET_BACK_NS: u64 = 3600 * S + 300 * S;

/// What a log does not say of its own times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// 00:00 of the day on which the log begins, nanoseconds since 1970: for `-t` and `-tt`, which show no date.
    pub midnight_ns: u64,
    /// When the log begins, nanoseconds since 1970: for `-r`, and for logs without times.
    pub begin_ns: u64,
}

/// The clock of one log.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    dates: Dates,
    /// What is added to the log's times, because its clock was set back.
    shift_ns: u64,
    now: Option<u64>,
}

impl Clock {
    /// A clock that has not seen a line yet.
    pub const fn new(dates: Dates) -> Self {
        Self { dates, shift_ns: 0, now: None }
    }

    /// The time of the next line, in the order of the log. It does not go back but by what lines of several threads may be out of order.
    pub fn time(&mut self, stamp: Option<Stamp>) -> u64 {
        let before = self.now.unwrap_or(self.dates.begin_ns);
        let now = match stamp {
            Some(Stamp::Epoch(ns)) => self.forward(ns, 0),
            Some(Stamp::Daytime(ns)) => self.forward(self.dates.midnight_ns.saturating_add(ns), DAY_NS),
            // The first line has none before it.
            Some(Stamp::Relative(_)) if self.now.is_none() => before,
            Some(Stamp::Relative(ns)) => before.saturating_add(ns),
            None => before.saturating_add(TICK_NS),
        };
        self.now = Some(now);
        now
    }

    /// A time of day that goes back by hours is the next day's: the server had nothing to do for the night, or `strace -A` added to a log. One that
    /// goes back by less is of a clock that was set back, and so is every time with a date that does: then durations count on from there.
    fn forward(&mut self, ns: u64, day_ns: u64) -> u64 {
        let mut now = ns.saturating_add(self.shift_ns);
        let Some(before) = self.now else { return now };
        if day_ns > 0 && before.saturating_sub(now) > SET_BACK_NS {
            // A log that was added to after several days says no more than that it is later.
            self.dates.midnight_ns = self.dates.midnight_ns.saturating_add(day_ns);
            now = now.saturating_add(day_ns);
        }
        let back = before.saturating_sub(now);
        if back > OUT_OF_ORDER_NS {
            self.shift_ns = self.shift_ns.saturating_add(back);
            now = before;
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_time() {
        let dates = Dates { midnight_ns: 100 * S, begin_ns: 7 * S };
        let mut clock = Clock::new(dates);
        assert_eq!(clock.time(Some(Stamp::Epoch(5))), 5);
        let mut clock = Clock::new(dates);
        assert_eq!([0, 3, 4].map(|ns| clock.time(Some(Stamp::Relative(ns)))), [7 * S, 7 * S + 3, 7 * S + 7]);
        let mut clock = Clock::new(dates);
        assert!(clock.time(None) < clock.time(None));
    }

    fn day(s: u64) -> Stamp {
        Stamp::Daytime(s * S)
    }

    #[test]
    fn midnight_passes() {
        let mut clock = Clock::new(Dates { midnight_ns: 0, begin_ns: 0 });
        assert_eq!(clock.time(Some(day(86_399))), 86_399 * S);
        assert_eq!(clock.time(Some(day(1))), 86_401 * S);
        // A line a little out of order is no midnight.
        assert_eq!(clock.time(Some(day(0))), 86_400 * S);
        // Nobody connects from ten in the evening to ten in the morning, or until nine: the next day either way.
        assert_eq!(
            [79_200, 36_000, 28_800].map(|s| clock.time(Some(day(s)))),
            [165_600 * S, 208_800 * S, 288_000 * S]
        );
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_from_there() {
        let mut clock = Clock::new(Dates { midnight_ns: 0, begin_ns: 0 });
        // Summer time ends.
        assert_eq!(
            [10_799, 7_200, 7_202].map(|s| clock.time(Some(day(s)))),
            [10_799, 10_799, 10_801].map(|s| s * S)
        );
        let mut clock = Clock::new(Dates::default());
        let mut epoch = |s| clock.time(Some(Stamp::Epoch(s * S)));
        assert_eq!([1000, 900, 902].map(&mut epoch), [1000, 1000, 1002].map(|s| s * S));
    }
}
