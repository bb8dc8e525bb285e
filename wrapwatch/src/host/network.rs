//! Numbers of a network namespace: counters of its listeners, TIME_WAIT, port range, somaxconn.
//!
//! `/proc/PID/net` shows the namespace of PID to anybody; `/proc/sys/net` shows that of whoever looks, so it is read from a thread inside.

use std::fs;

/// Counters that show what listeners dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// `TcpExt: ListenOverflows`.
    pub overflows: Option<u64>,
    /// `TcpExt: ListenDrops`.
    pub drops: Option<u64>,
    /// `TcpExt: SyncookiesSent`.
    pub syncookies: Option<u64>,
}

/// From `/proc/PID/net/netstat`.
pub fn drops(pid: u32) -> Drops {
    let text = fs::read_to_string(format!("/proc/{pid}/net/netstat")).unwrap_or_default();
    Drops {
        overflows: counter(&text, "ListenOverflows"),
        drops: counter(&text, "ListenDrops"),
        syncookies: counter(&text, "SyncookiesSent"),
    }
}

/// A counter of `TcpExt`: a line with names, then one with their values.
fn counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|found| found == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// Sockets in TIME_WAIT, from `/proc/PID/net/sockstat`.
pub fn time_wait(pid: u32) -> Option<u64> {
    tw(&fs::read_to_string(format!("/proc/{pid}/net/sockstat")).ok()?)
}

fn tw(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace();
    words.find(|&word| word == "tw")?;
    words.next()?.parse().ok()
}

/// What the calling thread's namespace allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.ip_local_port_range`.
    pub port_range: Option<(u16, u16)>,
}

/// Of the calling thread's namespace: see [`super::netns::within`].
pub fn limits_here() -> Limits {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).ok();
    let port_range = read("ipv4/ip_local_port_range").and_then(|text| {
        let mut words = text.split_whitespace().map(str::parse::<u16>);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    });
    let somaxconn = read("core/somaxconn").and_then(|text| text.trim().parse().ok());
    Limits { somaxconn, port_range }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name_not_by_place() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: ListenDrops\nIpExt: 9\n";
        assert_eq!(counter(text, "ListenOverflows"), Some(22));
        assert_eq!(counter(text, "ListenDrops"), Some(333));
        assert_eq!(counter(text, "SyncookiesSent"), Some(1));
        assert_eq!(counter(text, "Listen"), None);
        assert_eq!(counter("TcpExt: ListenDrops\n", "ListenDrops"), None);
        assert_eq!(counter("", "ListenDrops"), None);
    }

    #[test]
    fn time_wait_stands_behind_its_name() {
        let text = "sockets: used 10\nTCP: inuse 5 orphan 0 tw 317 alloc 7 mem 1\nUDP: inuse 2 mem 0\n";
        assert_eq!(tw(text), Some(317));
        assert_eq!(tw("TCP: inuse 5 orphan 0 tw"), None);
    }
}
