//! Counters of a target's network namespace, from the files below `/proc/PID/net` (proc(5)) and its sysctls. `/proc/net/tcp` is never read: the kernel would
//! format every socket of the machine for it.

use std::{fs::File, os::unix::fs::FileExt as _};

use super::{HostError, kernel, netns};

/// Where the kernel keeps the range of ports that clients get (ip(7)).
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What the kernel counts in one network namespace, since it was made. `None`: this kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections dropped because an accept queue was full (`ListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// Connections dropped at a listener for whatever reason (`ListenDrops`), overflows included.
    pub listen_drops: Option<u64>,
    /// SYN cookies sent because a queue of half-open connections, or the accept queue behind it, was full (`SyncookiesSent`).
    pub syncookies_sent: Option<u64>,
    /// Sockets in TIME_WAIT now.
    pub time_wait: Option<u64>,
    /// `ip_local_port_range`, both ends included.
    pub port_range: Option<(u16, u16)>,
}

/// The network namespace of a process, to be read again and again.
#[derive(Debug)]
pub struct Namespace {
    pid: u32,
    /// A sysctl's file belongs to the namespace of the thread that opened it, whoever reads it.
    port_range: Option<File>,
}

impl Namespace {
    /// Of `pid`. Never fails: what cannot be read is missing from [`Self::read`].
    pub fn open(pid: u32) -> Self {
        let open = || File::open(PORT_RANGE).map_err(|error| HostError::io(PORT_RANGE, error));
        let port_range = netns::within(pid, open).inspect_err(|error| log::debug!("{error}")).ok();
        Self { pid, port_range }
    }

    /// As it is now.
    pub fn read(&self) -> Counters {
        let read = |name| kernel::read(&format!("/proc/{}/net/{name}", self.pid)).ok();
        let text = |name| read(name).and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
        let netstat = text("netstat");
        Counters {
            listen_overflows: named(&netstat, "TcpExt:", "ListenOverflows"),
            listen_drops: named(&netstat, "TcpExt:", "ListenDrops"),
            syncookies_sent: named(&netstat, "TcpExt:", "SyncookiesSent"),
            time_wait: paired(&text("sockstat"), "TCP:", "tw"),
            port_range: self.port_range(),
        }
    }

    fn port_range(&self) -> Option<(u16, u16)> {
        let mut bytes = [0; 32];
        let n = self.port_range.as_ref()?.read_at(&mut bytes, 0).ok()?;
        let text = std::str::from_utf8(bytes.get(..n)?).ok()?;
        let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }
}

/// A counter from a file that gives all names of a group in one line and their values in the next.
fn named(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
    let names = lines.next()?;
    let values = lines.next()?;
    let at = names.split_whitespace().position(|found| found == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// A counter from a file in which each value follows its name.
fn paired(text: &str, group: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(group))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT: &str = "\
TcpExt: SyncookiesSent ListenOverflows ListenDrops
TcpExt: 0 17 19
IpExt: InNoRoutes ListenDrops
IpExt: 5 6
";

    #[test]
    fn a_counter_is_found_by_its_name() {
        assert_eq!(named(NETSTAT, "TcpExt:", "ListenOverflows"), Some(17));
        assert_eq!(named(NETSTAT, "TcpExt:", "ListenDrops"), Some(19));
        assert_eq!(named(NETSTAT, "TcpExt:", "InNoRoutes"), None);
        for text in
            ["", "TcpExt:", "TcpExt: A\n", "TcpExt: ListenDrops\nTcpExt:", "TcpExt: ListenDrops\nTcpExt: x"]
        {
            assert_eq!(named(text, "TcpExt:", "ListenDrops"), None, "{text:?}");
        }
        let sockstat = "sockets: used 200\nTCP: inuse 3 orphan 0 tw 42 alloc 5 mem 1\nUDP: inuse 1 mem 0\n";
        assert_eq!(paired(sockstat, "TCP:", "tw"), Some(42));
        assert_eq!(paired(sockstat, "UDP:", "tw"), None);
        assert_eq!(paired("TCP: tw", "TCP:", "tw"), None);
    }

    #[test]
    fn this_machine_has_them() {
        let counters = Namespace { pid: std::process::id(), port_range: File::open(PORT_RANGE).ok() }.read();
        assert!(counters.listen_overflows.is_some() && counters.listen_drops.is_some());
        assert!(counters.time_wait.is_some());
        assert!(counters.port_range.is_some_and(|(low, high)| low < high));
    }
}
