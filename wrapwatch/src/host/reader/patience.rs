//! How long somebody who has other work waits for answers: a sum that waiting takes from, and time gives back.
//!
//! Whoever answers at once is always waited for; whoever does not, costs a fixed share of the time however often it is asked.

use std::time::{Duration, Instant};

/// Time to wait with.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    left: Duration,
    most: Duration,
    /// One part in this many of the time that passes is given back.
    one_in: u32,
    at: Instant,
}

impl Patience {
    /// As much as there can be: `most`, of which one part in `one_in` of the time that passes comes back.
    pub fn new(most: Duration, one_in: u32) -> Self {
        Self { left: most, most, one_in: one_in.max(1), at: Instant::now() }
    }

    /// From now on there is never more than this.
    pub fn shorten(&mut self, most: Duration) {
        self.most = self.most.min(most);
        self.left = self.left.min(most);
    }

    /// What is left now.
    pub fn left(&mut self) -> Duration {
        let now = Instant::now();
        self.come_back(now.saturating_duration_since(self.at));
        self.at = now;
        self.left
    }

    /// What was waited.
    pub fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    fn come_back(&mut self, passed: Duration) {
        let back = passed.checked_div(self.one_in).unwrap_or_default();
        self.left = self.left.saturating_add(back).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_takes_and_time_gives_back() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(second, 20);
        patience.waited(second / 2);
        assert_eq!(patience.left, second / 2);
        patience.come_back(second);
        assert_eq!(patience.left, second / 2 + second / 20);
        patience.come_back(second * 100);
        assert_eq!(patience.left, second, "never more than the most");
        patience.waited(second * 5);
        assert_eq!(patience.left, Duration::ZERO);
        patience.come_back(second * 100);
        patience.shorten(second / 4);
        assert_eq!(patience.left, second / 4);
        patience.come_back(second * 100);
        assert_eq!(patience.left, second / 4);
    }
}
