//! Which connections to tell of: by client, time, wait, outcome, nameserver.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

use crate::model::{Client, Connection, Outcome, Stall, WallTime};

/// What to tell of. Everything given has to hold; of several peers, outcomes or nameservers one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Clients.
    pub peers: Vec<Peer>,
    /// Not before.
    pub since: Option<Moment>,
    /// Not after.
    pub until: Option<Moment>,
    /// Waits (ESTABLISHED, else accept, to the first packet) at least this long.
    pub slow_ns: Option<u64>,
    /// Outcomes.
    pub outcomes: Vec<Outcome>,
    /// Nameservers that were asked, by address.
    pub nameservers: Vec<IpAddr>,
}

impl Filter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The filter for a trace that begins at `begin`.
    pub fn bounds(&self, begin: WallTime) -> Bounds {
        let at = |moment: &Option<Moment>| moment.map(|moment| moment.at(begin));
        Bounds { since: at(&self.since), until: at(&self.until), filter: self.clone() }
    }
}

/// A filter whose times are known.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    filter: Filter,
    since: Option<WallTime>,
    until: Option<WallTime>,
}

impl Bounds {
    /// Whether a connection is told of. It counts as happening when its handshake was completed, else when it was accepted.
    pub fn admits(&self, connection: &Connection) -> bool {
        let filter = &self.filter;
        let waited = connection
            .total_ns
            .unwrap_or_else(|| connection.queued_ns.unwrap_or(0).saturating_add(connection.wrapper_ns));
        self.in_time(connection.established.unwrap_or(connection.accepted))
            && filter.slow_ns.is_none_or(|slow| waited >= slow)
            && (filter.outcomes.is_empty() || filter.outcomes.contains(&connection.outcome))
            && self.admits_peer(connection.peer)
            && (filter.nameservers.is_empty() || connection.lookups.iter().any(|l| self.asks(l)))
    }

    /// Whether a stall is told of.
    pub fn admits_stall(&self, stall: &Stall) -> bool {
        self.in_time(stall.at) && self.admits_peer(stall.peer)
    }

    /// Whether a moment lies between the bounds.
    pub fn in_time(&self, at: WallTime) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }

    fn admits_peer(&self, peer: Option<Client>) -> bool {
        if self.filter.peers.is_empty() {
            return true;
        }
        let ip = peer.and_then(Client::ip);
        ip.is_some_and(|ip| self.filter.peers.iter().any(|peer| peer.contains(ip)))
    }

    fn asks(&self, lookup: &crate::model::Lookup) -> bool {
        lookup.queries.iter().any(|query| {
            let ip = query.server.parse::<SocketAddr>().map(|server| server.ip());
            ip.is_ok_and(|ip| self.filter.nameservers.contains(&ip))
        })
    }
}

/// A client's address or network, `10.0.2.14`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(IpNet);

/// Not an address or network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address or network; write 10.0.2.14, 10.0.0.0/8 or 2001:db8::/32")]
pub struct PeerError(String);

impl Peer {
    /// Whether an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.0, ip.to_canonical()) {
            (IpNet::V6(net), IpAddr::V4(v4)) => net.contains(&v4.to_ipv6_mapped()),
            (net, ip) => net.contains(&ip),
        }
    }
}

impl FromStr for Peer {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        let alone = |_| text.parse().map(|ip: IpAddr| IpNet::from(ip.to_canonical()));
        text.parse().or_else(alone).map(Self).map_err(|_| PeerError(text.to_owned()))
    }
}

/// A time as a person gives it: `2026-11-22T05:43:09Z`, `05:43:09` (UTC, the day the trace began, or the next where that is past midnight), `+90s` (after
/// the trace's beginning).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// On the calendar.
    At(Timestamp),
    /// Time of day, UTC.
    TimeOfDay(civil::Time),
    /// After the trace's beginning.
    After(SignedDuration),
}

/// Not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time; write 2026-11-22T05:43:09Z, 05:43:09 (UTC), or +90s (from the trace's beginning)")]
pub struct MomentError(String);

impl Moment {
    /// When that is in a trace that begins at `begin`.
    pub fn at(self, begin: WallTime) -> WallTime {
        let at = match self {
            Self::At(at) => Some(at),
            Self::After(after) => begin.0.checked_add(after).ok(),
            Self::TimeOfDay(time) => {
                let day = begin.0.to_zoned(TimeZone::UTC).date();
                let on = |day: civil::Date| TimeZone::UTC.to_timestamp(day.to_datetime(time)).ok();
                let half_a_day = SignedDuration::from_hours(12);
                on(day).and_then(|at| {
                    let long_before = begin.0.duration_since(at) > half_a_day;
                    if long_before { day.tomorrow().ok().and_then(on) } else { Some(at) }
                })
            }
        };
        at.map_or(begin, WallTime)
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let bad = || MomentError(text.to_owned());
        if let Some(after) = text.strip_prefix('+') {
            return after.parse().map(Self::After).map_err(|_| bad());
        }
        let at = text.parse().map(Self::At);
        at.or_else(|_| text.parse().map(Self::TimeOfDay)).map_err(|_| bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_their_addresses() {
        let in_net = |net: &str, ip: &str| peer(net).contains(ip.parse().unwrap());
        assert!(in_net("10.0.0.0/8", "10.255.1.2"));
        assert!(in_net("10.1.2.3/8", "10.255.1.2"));
        assert!(in_net("10.0.2.14", "::ffff:10.0.2.14"));
        assert!(in_net("0.0.0.0/0", "1.2.3.4") && !in_net("0.0.0.0/0", "2001:db8::1"));
        assert!(in_net("::/0", "2001:db8::1") && in_net("::/0", "10.0.0.1"));
        assert!(in_net("::ffff:10.0.0.0/104", "10.255.1.2") && !in_net("::ffff:10.0.0.0/104", "11.0.0.1"));
        assert!(!in_net("10.0.2.14", "10.0.2.15"));
        assert!(in_net("2001:db8::/32", "2001:db8:1::2"));
        for bad in ["", "10.0.0.0/33", "10.0.0", "host", "::/129", "10.0.0.0/-1", "10.0.0.0/"] {
            assert!(bad.parse::<Peer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_taken_as_people_write_them() {
        let begin = WallTime("2026-11-22T23:50:00Z".parse().unwrap());
        let at = |text: &str| text.parse::<Moment>().unwrap().at(begin).0.to_string();
        assert_eq!(at("2026-11-22T05:43:09Z"), "2026-11-22T05:43:09Z");
        assert_eq!(at("23:55:30"), "2026-11-22T23:55:30Z");
        assert_eq!(at("23:49:59"), "2026-11-22T23:49:59Z");
        assert_eq!(at("00:05:00.5"), "2026-11-23T00:05:00.5Z");
        assert_eq!(at("+90s"), "2026-11-22T23:51:30Z");
        for bad in ["", "soon", "25:00:00", "+", "2026-13-01T00:00:00Z"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
