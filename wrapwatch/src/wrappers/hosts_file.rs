//! /etc/hosts as nss_files reads it: names that cost no query. `multi on` in host.conf is taken for granted, as Debian has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::environment::Addresses;
use super::inet::is_space;
use super::options::lossy;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsEntry {
    /// Line number, from 1.
    pub line: u32,
    /// Address.
    pub address: IpAddr,
    /// Names; the first is the canonical one.
    pub names: Vec<String>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsFile {
    /// Its lines that mean something.
    pub entries: Vec<HostsEntry>,
}

impl HostsFile {
    /// Reads the file's text.
    pub fn parse(text: &[u8]) -> Self {
        let mut entries = Vec::new();
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.split(|&byte| byte == b'#' || byte == 0).next().unwrap_or_default();
            let mut words = line.split(|&byte| is_space(byte)).filter(|word| !word.is_empty()).map(lossy);
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
            let names: Vec<String> = words.collect();
            if !names.is_empty() {
                entries.push(HostsEntry {
                    line: u32::try_from(index + 1).unwrap_or(u32::MAX),
                    address,
                    names,
                });
            }
        }
        Self { entries }
    }

    /// The name of an address: that of the first line with it.
    pub fn reverse(&self, address: IpAddr) -> Option<&str> {
        let found = |entry: &&HostsEntry| in_family(entry.address, address.is_ipv6()) == Some(address);
        self.entries.iter().find(found).and_then(|entry| entry.names.first()).map(String::as_str)
    }

    /// A name's addresses in one family: those of all lines with it, the canonical name of the first.
    pub fn forward(&self, name: &str, ipv6: bool) -> Option<Addresses> {
        let mut canonical = None;
        let mut addresses = Vec::new();
        for entry in &self.entries {
            let Some(address) = in_family(entry.address, ipv6) else { continue };
            if entry.names.iter().any(|own| own.eq_ignore_ascii_case(name)) {
                canonical = canonical.or_else(|| entry.names.first().cloned());
                addresses.push(address);
            }
        }
        (!addresses.is_empty()).then_some(Addresses { canonical, addresses })
    }
}

/// An address as lookups of a family see it: IPv4 ones also see v4-mapped addresses, and ::1 as 127.0.0.1.
fn in_family(address: IpAddr, ipv6: bool) -> Option<IpAddr> {
    match (address, ipv6) {
        (IpAddr::V4(_), false) | (IpAddr::V6(_), true) => Some(address),
        (IpAddr::V6(Ipv6Addr::LOCALHOST), false) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (IpAddr::V6(v6), false) => v6.to_ipv4_mapped().map(IpAddr::V4),
        (IpAddr::V4(_), true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_an_address_and_all_lines_a_name() {
        let file = HostsFile::parse(
            b"10.0.0.4 other db1\n10.0.0.5\tdb1 # db9\n::ffff:10.0.0.6 DB1 x\n2001:db8::1 db1\n10.0.0.5 late\n10.0.0.7\nbad db1\n",
        );
        let v4 = |last: u8| IpAddr::from([10, 0, 0, last]);
        assert_eq!(file.reverse(v4(5)), Some("db1"));
        assert_eq!(file.reverse(v4(6)), Some("DB1"));
        assert_eq!(file.reverse(v4(7)), None);
        let found = file.forward("Db1", false).unwrap();
        assert_eq!(found.canonical.as_deref(), Some("other"));
        assert_eq!(found.addresses, [v4(4), v4(5), v4(6)]);
        // For IPv6 a v4-mapped line is an address like any other.
        assert_eq!(file.forward("db1", true).unwrap().addresses.len(), 2);
        assert!(file.forward("db9", false).is_none());
    }

    #[test]
    fn the_v6_loopback_is_also_the_v4_one() {
        let file = HostsFile::parse(b"::1 localhost\n");
        assert_eq!(file.reverse(IpAddr::from([127, 0, 0, 1])), Some("localhost"));
    }
}
