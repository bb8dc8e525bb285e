//! `--when`: on which condition the flight recorder saves.
//!
//! `queued>1s`, `dns>500ms`, `wrapper>2s`, `greeting>5s`, `stall>5s`, `queue>80%`, `refused`, `lost`; several mean any of them.

use std::str::FromStr;

use super::head::Sample;
use crate::model::{Connection, Lost, Outcome, Stall};

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A connection waited longer in the accept queue, nanoseconds.
    Queued(u64),
    /// A connection's check waited longer for nameservers.
    Dns(u64),
    /// A connection's check took longer.
    Wrapper(u64),
    /// A connection's first packet came later after accept.
    Greeting(u64),
    /// An accept thread is in one check for longer.
    Stall(u64),
    /// An accept queue is fuller, percent.
    Queue(u8),
    /// A connection was refused.
    Refused,
    /// Events were lost.
    Lost,
}

/// Why a condition cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// No such thing to watch.
    #[error(
        "{0:?} is none of: queued>TIME, dns>TIME, wrapper>TIME, greeting>TIME, stall>TIME, queue>PERCENT%, refused, lost"
    )]
    Unknown(String),
    /// No time.
    #[error("{0:?} is not a time such as 500ms, 1s, 2m")]
    Time(String),
    /// No share.
    #[error("{0:?} is not a share of the queue such as 80%")]
    Percent(String),
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let unknown = || ConditionError::Unknown(text.to_owned());
        let Some((what, limit)) = compact.split_once('>') else {
            return match compact.as_str() {
                "refused" => Ok(Self::Refused),
                "lost" => Ok(Self::Lost),
                _ => Err(unknown()),
            };
        };
        match what {
            "queued" => time(limit).map(Self::Queued),
            "dns" => time(limit).map(Self::Dns),
            "wrapper" => time(limit).map(Self::Wrapper),
            "greeting" => time(limit).map(Self::Greeting),
            "stall" => time(limit).map(Self::Stall),
            "queue" => percent(limit).map(Self::Queue),
            _ => Err(unknown()),
        }
    }
}

/// `500ms`, `1.5s`, `2m`, `1h` in nanoseconds.
fn time(text: &str) -> Result<u64, ConditionError> {
    let error = || ConditionError::Time(text.to_owned());
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(error)?;
    let (number, unit) = text.split_at_checked(unit_at).ok_or_else(error)?;
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(error()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
        return Err(error());
    }
    let mut ns = whole.parse::<u64>().map_err(|_| error())?.checked_mul(unit_ns).ok_or_else(error)?;
    let mut place = unit_ns;
    for digit in fraction.bytes() {
        place /= 10;
        ns += u64::from(digit - b'0') * place;
    }
    Ok(ns)
}

fn percent(text: &str) -> Result<u8, ConditionError> {
    let number = text.strip_suffix('%').and_then(|n| n.parse::<u8>().ok());
    number.filter(|n| *n <= 100).ok_or_else(|| ConditionError::Percent(text.to_owned()))
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, ns) = match self {
            Self::Refused => return f.write_str("refused"),
            Self::Lost => return f.write_str("lost"),
            Self::Queue(percent) => return write!(f, "queue>{percent}%"),
            Self::Queued(ns) => ("queued", ns),
            Self::Dns(ns) => ("dns", ns),
            Self::Wrapper(ns) => ("wrapper", ns),
            Self::Greeting(ns) => ("greeting", ns),
            Self::Stall(ns) => ("stall", ns),
        };
        let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
        let (unit, each) = units.into_iter().find(|(_, each)| ns % each == 0).unwrap_or(("ns", 1));
        write!(f, "{name}>{}{unit}", ns / each)
    }
}

impl Condition {
    /// Whether a connection whose story is told meets it.
    pub fn connection(&self, c: &Connection) -> bool {
        match *self {
            Self::Queued(ns) => c.queued_ns.is_some_and(|queued| queued > ns),
            Self::Dns(ns) => c.parts.dns_ns > ns,
            Self::Wrapper(ns) => c.wrapper_ns > ns,
            Self::Greeting(ns) => c.greeting_ns.is_some_and(|greeting| greeting > ns),
            Self::Refused => c.outcome == Outcome::Refused,
            Self::Stall(_) | Self::Queue(_) | Self::Lost => false,
        }
    }

    /// Whether a stall that goes on meets it.
    pub fn stall(&self, stall: &Stall) -> bool {
        match *self {
            Self::Stall(ns) => stall.blocked_ns > ns,
            Self::Queue(percent) => match (stall.queued, stall.queue_limit) {
                (Some(queued), Some(limit)) => fuller(queued, limit, percent),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether what was looked at meets it.
    pub fn sample(&self, sample: &Sample) -> bool {
        let Self::Queue(percent) = *self else { return false };
        sample.listeners.iter().any(|listener| fuller(listener.queued, listener.queue_limit, percent))
    }

    /// Whether a loss meets it.
    pub fn lost(&self, lost: &Lost) -> bool {
        matches!(self, Self::Lost) && lost.events > 0
    }
}

fn fuller(queued: u32, limit: u32, percent: u8) -> bool {
    limit > 0 && u64::from(queued) * 100 > u64::from(limit) * u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::ListenerSample;

    #[test]
    fn conditions_are_read_and_written() {
        let table = [
            ("queued>1s", Condition::Queued(1_000_000_000), "queued>1s"),
            ("dns > 500ms", Condition::Dns(500_000_000), "dns>500ms"),
            ("stall>1.5s", Condition::Stall(1_500_000_000), "stall>1500ms"),
            ("wrapper>2m", Condition::Wrapper(120_000_000_000), "wrapper>120s"),
            ("greeting>10us", Condition::Greeting(10_000), "greeting>10us"),
            ("queue>80%", Condition::Queue(80), "queue>80%"),
            ("refused", Condition::Refused, "refused"),
            ("lost", Condition::Lost, "lost"),
        ];
        for (text, condition, shown) in table {
            assert_eq!(text.parse(), Ok(condition), "{text}");
            assert_eq!(condition.to_string(), shown);
            assert_eq!(shown.parse(), Ok(condition));
        }
    }

    #[test]
    fn what_is_no_condition_says_what_would_be() {
        for text in ["", "slow", "queue", "refused>1s", "queued<1s", "load>3"] {
            assert!(matches!(text.parse::<Condition>(), Err(ConditionError::Unknown(_))), "{text}");
        }
        for text in
            ["dns>5", "dns>", "dns>ms", "dns>1.s", "dns>-1s", "dns>1parsec", "dns>1s2", "dns>99999999999s"]
        {
            assert!(matches!(text.parse::<Condition>(), Err(ConditionError::Time(_))), "{text}");
        }
        for text in ["queue>80", "queue>101%", "queue>%", "queue>1s"] {
            assert!(matches!(text.parse::<Condition>(), Err(ConditionError::Percent(_))), "{text}");
        }
    }

    #[test]
    fn a_queue_is_fuller_than_a_share_of_its_limit() {
        let sample = |queued| Sample {
            listeners: vec![ListenerSample { queued, queue_limit: 50, ..ListenerSample::default() }],
            ..Sample::default()
        };
        assert!(!Condition::Queue(80).sample(&sample(40)));
        assert!(Condition::Queue(80).sample(&sample(41)));
        assert!(!Condition::Refused.sample(&sample(50)));
    }
}
