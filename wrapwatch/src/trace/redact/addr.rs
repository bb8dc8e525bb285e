//! Addresses → addresses, keeping prefixes: two addresses that share their first n bits have pseudonyms that share their first n bits, and
//! no more. So `10.77.` still matches the clients that it matched, and a netmask stays a netmask.
//!
//! The scheme is Crypto-PAn's (Xu, Fan, Ammar, Moon 2002): bit i is flipped or not by a keyed hash of the bits before it. Here two things are
//! added. What means something by itself keeps its meaning: loopback, unspecified, multicast and broadcast stay as they are; private, shared and
//! link-local addresses, IPv6's unique-local and global ones stay such, for a report says other things of one's own clients than of
//! strangers; no other address is mapped onto one of these. And the first bit behind what is kept is always flipped, so that no address is its own pseudonym.
//!
//! What is kept of such a range is what everybody knows of it. It is the same for the range's neighbours, since prefixes are kept: of `192.169.3.4`, as many bits
//! stay as it shares with `192.168.`, and one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::key::{Domain, Key};

/// First bits that stay as they are, and how many: all that follows stays too.
const KEPT_V4: &[(u32, u32)] = &[
    (0x0000_0000, 8), // "this network", unspecified
    (0x7f00_0000, 8), // loopback
    (0xe000_0000, 3), // multicast, reserved, broadcast
];

/// The same, of ranges in which what follows does not stay.
const CLASSES_V4: &[(u32, u32)] = &[
    (0x0a00_0000, 8),  // private (RFC 1918)
    (0xac10_0000, 12), // private
    (0xc0a8_0000, 16), // private
    (0x6440_0000, 10), // shared (RFC 6598)
    (0xa9fe_0000, 16), // link-local (RFC 3927)
];

/// Prefixes that stay, and how many bits; `true`: all that follows stays too.
const KEPT_V6: &[(u128, u32, bool)] = &[
    (0, 96, true),                  // unspecified, loopback
    (0xfe80 << 112, 64, false),     // link-local
    (0xfc00 << 112, 7, false),      // unique-local
    (0xff00 << 112, 8, true),       // multicast
    (0x2000 << 112, 3, false),      // global
    (0x0064_ff9b << 96, 96, false), // NAT64 (RFC 6052)
];

/// Maps addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    key: Key,
}

impl Addresses {
    pub(super) const fn new(key: Key) -> Self {
        Self { key }
    }

    /// The pseudonym of an address; a v4-mapped one's is v4-mapped.
    pub(super) fn ip(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(v4) => self.v4(v4).into(),
            IpAddr::V6(v6) => self.v6(v6).into(),
        }
    }

    pub(super) fn v4(&self, ip: Ipv4Addr) -> Ipv4Addr {
        self.v4_prefix(ip, 32)
    }

    /// The pseudonym of the first `len` bits; the others are 0.
    pub(super) fn v4_prefix(&self, ip: Ipv4Addr, len: u32) -> Ipv4Addr {
        let bits = ip.to_bits();
        let len = len.min(32);
        let wide = u128::from(bits) << 96;
        let is_kept = |depth: u32| {
            let kept = KEPT_V4.iter().chain(CLASSES_V4);
            kept.into_iter().any(|(prefix, n)| depth < *n && same(wide, u128::from(*prefix) << 96, depth))
        };
        let stays = KEPT_V4.iter().any(|(prefix, n)| same(wide, u128::from(*prefix) << 96, *n));
        let mapped = if stays { wide } else { self.flip(Domain::V4, wide, len, is_kept) };
        Ipv4Addr::from_bits(u32::try_from(cut(mapped, len) >> 96).unwrap_or(0))
    }

    pub(super) fn v6(&self, ip: Ipv6Addr) -> Ipv6Addr {
        self.v6_prefix(ip, 128)
    }

    /// The pseudonym of the first `len` bits; the others are 0.
    pub(super) fn v6_prefix(&self, ip: Ipv6Addr, len: u32) -> Ipv6Addr {
        if let Some(v4) = ip.to_ipv4_mapped()
            && len >= 96
        {
            return self.v4_prefix(v4, len - 96).to_ipv6_mapped();
        }
        let bits = ip.to_bits();
        let len = len.min(128);
        let is_kept =
            |depth: u32| KEPT_V6.iter().any(|(prefix, n, _)| depth < *n && same(bits, *prefix, depth));
        let stays = KEPT_V6.iter().any(|(prefix, n, all)| *all && same(bits, *prefix, *n));
        let mapped = if stays { bits } else { self.flip(Domain::V6, bits, len, is_kept) };
        Ipv6Addr::from_bits(cut(mapped, len))
    }

    /// Flips bits of the first `len`, from the left, by the bits before each; none where `is_kept` says so of their number, and the first
    /// one behind these always.
    fn flip(&self, domain: Domain, bits: u128, len: u32, is_kept: impl Fn(u32) -> bool) -> u128 {
        let mut out = bits;
        let mut first = true;
        for depth in 0..len {
            if is_kept(depth) {
                continue;
            }
            let mut path = [0; 17];
            path[..16].copy_from_slice(&cut(bits, depth).to_be_bytes());
            path[16] = depth.to_le_bytes()[0];
            if first || self.key.hash(domain, &path) & 1 == 1 {
                out ^= 1 << (127 - depth);
            }
            first = false;
        }
        out
    }
}

/// The first `len` bits, the others 0.
const fn cut(bits: u128, len: u32) -> u128 {
    match u128::MAX.checked_shl(128 - len) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

const fn same(a: u128, b: u128, len: u32) -> bool {
    cut(a ^ b, len) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(seed: u8) -> Addresses {
        Addresses::new(Key::new([seed; 16]))
    }

    fn common(a: u128, b: u128) -> u32 {
        (a ^ b).leading_zeros()
    }

    #[test]
    fn what_means_something_by_itself_stays() {
        for seed in 0..20 {
            let a = addresses(seed);
            for text in [
                "0.0.0.0",
                "127.0.0.1",
                "127.0.0.53",
                "255.255.255.255",
                "224.0.0.251",
                "::",
                "::1",
                "ff02::1",
            ] {
                let ip: IpAddr = text.parse().unwrap();
                assert_eq!(a.ip(ip), ip);
            }
            let local: Ipv6Addr = "fe80::1234".parse().unwrap();
            assert!(a.v6(local).is_unicast_link_local() && a.v6(local) != local);
        }
    }

    /// What a report makes of an address: whether it is somebody's own to name, and by which rule.
    fn class(ip: Ipv4Addr) -> &'static str {
        match ip.octets() {
            [10, ..] => "10/8",
            [172, 16..32, ..] => "172.16/12",
            [192, 168, ..] => "192.168/16",
            [100, 64..128, ..] => "100.64/10",
            [169, 254, ..] => "169.254/16",
            [127, ..] => "127/8",
            _ => "public",
        }
    }

    #[test]
    fn a_private_address_stays_private_and_a_public_one_public() {
        for seed in 0..20 {
            let a = addresses(seed);
            for text in [
                "10.77.0.12",
                "10.0.0.1",
                "172.16.0.1",
                "172.31.255.254",
                "192.168.1.5",
                "100.64.0.1",
                "100.127.9.9",
                "169.254.1.1",
                "9.255.255.255",
                "11.0.0.1",
                "172.15.0.1",
                "172.32.0.1",
                "192.167.1.1",
                "192.169.1.1",
                "100.63.0.1",
                "100.128.0.1",
                "169.253.1.1",
                "169.255.1.1",
                "8.8.8.8",
                "203.0.113.7",
                "198.51.100.4",
            ] {
                let ip: Ipv4Addr = text.parse().unwrap();
                let mapped = a.v4(ip);
                assert!(class(mapped) == class(ip) && mapped != ip, "{ip} is {mapped}");
            }
            for text in ["fd00:1:2::3", "fc12::1", "2001:db8::1", "fe80::5"] {
                let ip: Ipv6Addr = text.parse().unwrap();
                let mapped = a.v6(ip);
                assert_eq!(mapped.is_unique_local(), ip.is_unique_local(), "{ip} is {mapped}");
                assert_eq!(mapped.is_unicast_link_local(), ip.is_unicast_link_local(), "{ip} is {mapped}");
                assert_ne!(mapped, ip);
            }
            // A rule's network is the range itself.
            assert_eq!(a.v4_prefix(Ipv4Addr::new(192, 168, 0, 0), 16), Ipv4Addr::new(192, 168, 0, 0));
            assert_eq!(a.v4_prefix(Ipv4Addr::new(10, 0, 0, 0), 8), Ipv4Addr::new(10, 0, 0, 0));
        }
    }

    #[test]
    fn a_prefix_is_mapped_as_the_addresses_in_it() {
        let a = addresses(1);
        let ip = Ipv4Addr::new(10, 77, 0, 12);
        assert_eq!(a.v4_prefix(ip, 16).octets()[..2], a.v4(ip).octets()[..2]);
        assert_eq!(a.v4_prefix(ip, 16).octets()[2..], [0, 0]);
        assert_eq!(a.v4_prefix(ip, 0), Ipv4Addr::UNSPECIFIED);
        let mapped = ip.to_ipv6_mapped();
        assert_eq!(a.v6(mapped), a.v4(ip).to_ipv6_mapped());
    }

    proptest! {
        #[test]
        fn shared_prefixes_are_shared_exactly(x: u32, y: u32, seed: u8) {
            let a = addresses(seed);
            let map = |bits| u128::from(a.v4(Ipv4Addr::from_bits(bits)).to_bits()) << 96;
            prop_assert_eq!(common(map(x), map(y)).min(32), (x ^ y).leading_zeros());
        }

        #[test]
        fn shared_prefixes_of_ipv6_too(x: u128, near in 0..128_u32, seed: u8) {
            let y = x ^ (1 << near);
            let a = addresses(seed);
            let map = |bits| a.v6(Ipv6Addr::from_bits(bits)).to_bits();
            prop_assert_eq!(common(map(x), map(y)), common(x, y));
        }

        #[test]
        fn no_other_address_is_its_own_pseudonym_nor_of_another_class(x: u32, near in 0..6_usize, seed: u8) {
            // One in a range or beside it, or any.
            let x = CLASSES_V4.get(near).map_or(x, |(prefix, n)| prefix ^ (x >> (n - 2)));
            let ip = Ipv4Addr::from_bits(x);
            let special = matches!(ip.octets()[0], 0 | 127 | 224..);
            let mapped = addresses(seed).v4(ip);
            prop_assert_eq!(special, mapped == ip);
            prop_assert_eq!(class(mapped), class(ip));
            prop_assert_eq!(special, matches!(mapped.octets()[0], 0 | 127 | 224..));
        }
    }
}
