//! strace's times → wall-clock nanoseconds.

use super::line::Stamp;

const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;
/// What passes between two lines of a log without times.
const TICK_NS: u64 = 1_000;

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
    now: Option<u64>,
}

impl Clock {
    /// A clock that has not seen a line yet.
    pub const fn new(dates: Dates) -> Self {
        Self { dates, now: None }
    }

    /// The time of the next line, in the order of the log.
    pub fn time(&mut self, stamp: Option<Stamp>) -> u64 {
        let before = self.now.unwrap_or(self.dates.begin_ns);
        let now = match stamp {
            Some(Stamp::Epoch(ns)) => ns,
            Some(Stamp::Daytime(ns)) => self.daytime(ns),
            // The first line has none before it.
            Some(Stamp::Relative(_)) if self.now.is_none() => before,
            Some(Stamp::Relative(ns)) => before.saturating_add(ns),
            None => before.saturating_add(TICK_NS),
        };
        self.now = Some(now);
        now
    }

    /// Midnight passes when the time goes back by more than half a day.
    fn daytime(&mut self, ns: u64) -> u64 {
        let mut now = self.dates.midnight_ns.saturating_add(ns);
        if self.now.is_some_and(|before| before > now.saturating_add(DAY_NS / 2)) {
            self.dates.midnight_ns = self.dates.midnight_ns.saturating_add(DAY_NS);
            now = now.saturating_add(DAY_NS);
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

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

    #[test]
    fn midnight_passes() {
        let mut clock = Clock::new(Dates { midnight_ns: 0, begin_ns: 0 });
        let day = |s| Some(Stamp::Daytime(s * S));
        assert_eq!(clock.time(day(86_399)), 86_399 * S);
        assert_eq!(clock.time(day(1)), 86_401 * S);
        // A line a little out of order is no midnight.
        assert_eq!(clock.time(day(0)), 86_400 * S);
    }
}
