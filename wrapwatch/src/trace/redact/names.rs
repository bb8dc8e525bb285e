//! Names → names, label by label: equal labels have equal pseudonyms, so a suffix stays a suffix, a search list still leads from the short name
//! to the long one, and names have as many labels as before. Case does not count (RFC 4343).
//!
//! Names of addresses (`1.0.77.10.in-addr.arpa`, RFC 1035, 3.5; `….ip6.arpa`, RFC 3596, 2.5) become those of the pseudonymous addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::addr::Addresses;
use super::key::{Domain, Key};

/// Letters of a pseudonym: no vowels, so no words.
const LETTERS: &[u8; 32] = b"bcdfghjklmnpqrstvwxz0123456789yk";
/// Letters of a pseudonym behind the first one, which is always `x`.
const LETTERS_N: usize = 7;
/// Longest name in a message (RFC 1035, 3.1), length bytes included.
pub(super) const NAME_MAX: usize = 255;

/// Labels that say nothing about a site.
const KEPT: &[&str] = &[
    "localhost",
    "localdomain",
    "localhost4",
    "localhost6",
    "localdomain4",
    "localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "broadcasthost",
    "*",
    "",
];

/// Maps names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    key: Key,
    addresses: Addresses,
}

impl Names {
    pub(super) const fn new(key: Key) -> Self {
        Self { key, addresses: Addresses::new(key) }
    }

    pub(super) const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The pseudonym of a label.
    pub(super) fn label(&self, label: &[u8]) -> Vec<u8> {
        let lower = label.to_ascii_lowercase();
        if KEPT.iter().any(|kept| kept.as_bytes() == lower) {
            return lower;
        }
        let mut hash = self.key.hash(Domain::Label, &lower);
        let mut out = Vec::with_capacity(1 + LETTERS_N);
        out.push(b'x');
        for _ in 0..LETTERS_N {
            out.push(LETTERS[usize::from(hash.to_le_bytes()[0] & 31)]);
            hash >>= 5;
        }
        out
    }

    /// The pseudonyms of a name's labels, the first one leftmost.
    pub(super) fn labels(&self, labels: &[&[u8]]) -> Vec<Vec<u8>> {
        let is = |label: &[u8], text: &str| label.eq_ignore_ascii_case(text.as_bytes());
        if let [rest @ .., zone, arpa] = labels
            && is(arpa, "arpa")
        {
            if is(zone, "in-addr") {
                return self.reversed(rest, 4, &["in-addr", "arpa"]);
            }
            if is(zone, "ip6") {
                return self.reversed(rest, 32, &["ip6", "arpa"]);
            }
        }
        if let Some(v4) = dotted_quad(labels) {
            return self
                .addresses
                .v4(v4)
                .octets()
                .iter()
                .map(|octet| octet.to_string().into_bytes())
                .collect();
        }
        let mut out: Vec<Vec<u8>> = labels.iter().map(|label| self.label(label)).collect();
        if out.iter().map(|label| label.len() + 1).sum::<usize>() + 1 > NAME_MAX {
            // A hundred labels of one letter: a name that is no longer than it was.
            for label in &mut out {
                label.truncate(2);
                label.drain(..1.min(label.len() - 1));
            }
        }
        out
    }

    /// A name below `in-addr.arpa` or `ip6.arpa`: the part that is an address or its beginning, from the right, and labels left of it.
    fn reversed(&self, rest: &[&[u8]], most: usize, zone: &[&str]) -> Vec<Vec<u8>> {
        let digits: Vec<u8> = rest.iter().rev().take(most).map_while(|label| part(label, most)).collect();
        let n = digits.len();
        let others = rest.get(..rest.len() - n).unwrap_or_default();
        let mut out: Vec<Vec<u8>> = others.iter().map(|label| self.label(label)).collect();
        let len = u32::try_from(n).unwrap_or(0);
        if most == 4 {
            let mut octets = [0; 4];
            octets[..n].copy_from_slice(&digits);
            let mapped = self.addresses.v4_prefix(Ipv4Addr::from(octets), len * 8).octets();
            out.extend(mapped[..n].iter().rev().map(|octet| octet.to_string().into_bytes()));
        } else {
            let bits =
                digits.iter().zip((0..32).rev()).fold(0, |bits, (d, at)| bits | u128::from(*d) << (at * 4));
            let mapped = self.addresses.v6_prefix(Ipv6Addr::from_bits(bits), len * 4).to_bits();
            let nibble = |i: usize| format!("{:x}", mapped >> (4 * (31 - i)) & 0xf).into_bytes();
            out.extend((0..n).rev().map(nibble));
        }
        out.extend(zone.iter().map(|label| label.as_bytes().to_vec()));
        out
    }

    /// The pseudonym of a name as text, with or without dots at its ends.
    pub(super) fn text(&self, name: &str) -> String {
        let inner = name.trim_matches('.');
        if inner.is_empty() {
            return name.to_owned();
        }
        let start = name.len() - name.trim_start_matches('.').len();
        let end = name.len() - name.trim_end_matches('.').len();
        let labels: Vec<&[u8]> = inner.split('.').map(str::as_bytes).collect();
        let mapped = self.labels(&labels).join(&b'.');
        let dots = |n: usize| ".".repeat(n);
        format!("{}{}{}", dots(start), String::from_utf8_lossy(&mapped), dots(end))
    }
}

/// One label of a reversed address: an octet in decimal, or a nibble in hexadecimal.
fn part(label: &[u8], most: usize) -> Option<u8> {
    let text = std::str::from_utf8(label).ok()?;
    if most == 4 {
        return text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    }
    (text.len() == 1).then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

fn dotted_quad(labels: &[&[u8]]) -> Option<Ipv4Addr> {
    let [a, b, c, d] = labels else { return None };
    let octets = [part(a, 4)?, part(b, 4)?, part(c, 4)?, part(d, 4)?];
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(Key::new([7; 16]))
    }

    #[test]
    fn labels_keep_their_number_and_their_suffix() {
        let n = names();
        let long = n.text("web1.corp.example");
        assert_eq!(long.split('.').count(), 3);
        assert!(long.ends_with(&n.text(".corp.example")));
        assert!(long.starts_with(&(n.text("web1") + ".")));
        assert_eq!(n.text("WEB1.Corp.example."), long.clone() + ".");
        assert!(!long.contains("web1") && !long.contains("corp") && !long.contains("example"), "{long}");
        assert_eq!(n.text("localhost"), "localhost");
        assert_eq!(n.text("."), ".");
    }

    #[test]
    fn names_of_addresses_are_those_of_the_pseudonyms() {
        let names = names();
        let [a, b, c, d] = names.addresses().v4(Ipv4Addr::new(10, 77, 0, 1)).octets();
        assert_eq!(names.text("1.0.77.10.in-addr.arpa"), format!("{d}.{c}.{b}.{a}.in-addr.arpa"));
        assert_eq!(names.text("77.10.in-addr.arpa"), format!("{b}.{a}.in-addr.arpa"));
        assert_eq!(names.text("10.77.0.1"), format!("{a}.{b}.{c}.{d}"));
        let classless = names.text("1.0/25.0.77.10.in-addr.arpa");
        assert!(
            classless.ends_with(&format!(".{c}.{b}.{a}.in-addr.arpa")) && classless.split('.').count() == 7
        );

        let v6: Ipv6Addr = "2001:db8::567:89ab".parse().unwrap();
        let name = "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        let mapped = names.text(name);
        let nibbles: String = mapped.trim_end_matches(".ip6.arpa").split('.').rev().collect();
        assert_eq!(u128::from_str_radix(&nibbles, 16).unwrap(), names.addresses().v6(v6).to_bits());
    }

    #[test]
    fn a_name_stays_short_enough_for_a_message() {
        let n = names();
        let labels: Vec<&[u8]> = vec![b"a"; 127];
        let mapped = n.labels(&labels);
        assert_eq!(mapped.len(), 127);
        assert!(mapped.iter().all(|label| label.len() == 1));
    }
}
