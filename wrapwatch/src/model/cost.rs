//! What wrapwatch itself costs: its own process, and what the server pays.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a trace cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Cost {
    /// How long it has lasted.
    pub span_ns: u64,
    /// CPU time that wrapwatch has used for it.
    pub cpu_ns: u64,
    /// The same as a share of one core, 0 to 1 for each.
    pub cpu_share: f64,
    /// Resident memory of wrapwatch, bytes.
    pub rss_bytes: u64,
    /// The most of it that was seen.
    pub rss_max_bytes: u64,
    /// Events that came out of the kernel.
    pub events: u64,
    /// Events a second.
    pub events_per_s: f64,
    /// Events that did not.
    pub lost: u64,
    /// What the server and everybody else on the machine pay; null where it was not measured.
    pub server: Option<ServerCost>,
}

/// Run time of the BPF programs, measured in short windows, with the kernel's own way to them: it is time taken from all processes, the server and others, that made the hooked
/// calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServerCost {
    /// Share of one core, over all windows.
    pub share: f64,
    /// Share of one core in the last window.
    pub share_last: f64,
    /// Highest share of any window.
    pub share_max: f64,
    /// Runs of programs a second.
    pub runs_per_s: f64,
    /// Time of one run, nanoseconds; the kernel's own clock readings, 20 to 30 ns, and its way to the program included.
    pub ns_per_run: f64,
    /// Of that, the kernel's way to the program, as measured when the hooks were attached: what a call takes more with programs that let it go. 0 where that
    /// was not measured.
    pub way_ns_per_run: f64,
    /// How long the windows were, all together.
    pub measured_ns: u64,
}

/// A quotient that JSON gives back as it was: six decimals.
pub fn quotient(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shares and rates for people")]
    let exact = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    (exact * 1e6).round() / 1e6
}

/// So many in that time, a second.
pub fn per_second(count: u64, ns: u64) -> f64 {
    (quotient(count, ns.div_ceil(1_000).max(1)) * 1e9).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_survive_json() {
        for (part, whole) in [(1, 3), (2, 7), (999_999_999, 1_000_000_007), (5, 0)] {
            let value = quotient(part, whole);
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<f64>(&text).ok(), Some(value), "{text}");
        }
        assert_eq!(Some(per_second(30_000, 2_000_000_000)), Some(15_000.0));
        assert_eq!(Some(per_second(0, 0)), Some(0.0));
    }
}
