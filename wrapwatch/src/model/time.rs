//! Times: the kernel's monotonic clock inside, the wall clock in the output.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KtimeNs(pub u64);

impl KtimeNs {
    /// Nanoseconds since `earlier`; 0 where `earlier` is later (records of different CPUs may be out of order by microseconds).
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time, `ns` later.
    #[must_use]
    pub const fn plus(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}

/// A wall-clock time; in JSON RFC 3339, UTC, always nine digits of fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub Timestamp);

impl std::fmt::Display for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

impl Serialize for WallTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for WallTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WallTime".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time", "description": "RFC 3339, UTC, nanoseconds" })
    }
}

/// The same moment on both clocks, as closely as two reads of the wall clock around one of the monotonic clock tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockPair {
    /// Monotonic.
    pub ktime: KtimeNs,
    /// Wall clock, nanoseconds since 1970-01-01T00:00:00Z.
    pub wall_ns: i64,
}

impl ClockPair {
    /// The wall-clock time of a monotonic one, by this pair; saturates at the ends of the calendar.
    pub fn wall(&self, at: KtimeNs) -> WallTime {
        let ns = i128::from(self.wall_ns) + i128::from(at.0) - i128::from(self.ktime.0);
        let fallback = if ns < 0 { Timestamp::MIN } else { Timestamp::MAX };
        WallTime(Timestamp::from_nanosecond(ns).unwrap_or(fallback))
    }

    /// The monotonic time of a wall-clock one (nanoseconds since 1970), by this pair; 0 where it is before the machine's start.
    pub fn ktime(&self, wall_ns: i64) -> KtimeNs {
        let ns = i128::from(self.ktime.0) + i128::from(wall_ns) - i128::from(self.wall_ns);
        KtimeNs(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_always_has_nine_digits() {
        let pair = ClockPair { ktime: KtimeNs(1_000), wall_ns: 1_795_326_189_000_000_000 };
        assert_eq!(pair.wall(KtimeNs(1_000)).to_string(), "2026-11-22T05:43:09.000000000Z");
        assert_eq!(pair.wall(KtimeNs(900)).to_string(), "2026-11-22T05:43:08.999999900Z");
    }

    #[test]
    fn the_ends_of_the_calendar_saturate() {
        let pair = ClockPair { ktime: KtimeNs(0), wall_ns: i64::MAX };
        assert!(pair.wall(KtimeNs(u64::MAX)) > pair.wall(KtimeNs(0)));
    }
}
