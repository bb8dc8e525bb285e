//! Addresses and numbers as the C functions under libwrap read them: inet_addr(3), strtol(3), sscanf(3)'s `%u`, the numeric half of
//! getaddrinfo(3) and inet_ntop(3), all of glibc 2.36. They take more than a careful reader would ("010.0.0.1" is 8.0.0.1, "24x" is 24),
//! and rules in the wild rely on it. Input is what a C string would hold: no NUL bytes.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// isspace(3) in the C locale.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The longest run of digits of `base` at the beginning of `text`: its value (saturating) and its length.
fn digits(text: &[u8], base: u32) -> (u64, usize) {
    let mut value = 0u64;
    let mut len = 0;
    for &byte in text {
        let Some(digit) = char::from(byte).to_digit(base) else { break };
        value = value.saturating_mul(u64::from(base)).saturating_add(u64::from(digit));
        len += 1;
    }
    (value, len)
}

/// strtoul(3) with base 0, at text that begins with a digit: value and length.
fn number(text: &[u8]) -> (u64, usize) {
    if let [b'0', b'x' | b'X', rest @ ..] = text {
        let (value, len) = digits(rest, 16);
        // "0x" without a digit behind is the number 0, followed by an x.
        return if len == 0 { (0, 1) } else { (value, len + 2) };
    }
    digits(text, if text.first() == Some(&b'0') { 8 } else { 10 })
}

/// inet_aton(3): one to four parts, each decimal, octal or hexadecimal. `exact` refuses white space (and what follows it) at the end.
pub(super) fn inet_aton(text: &[u8], exact: bool) -> Option<Ipv4Addr> {
    let mut rest = text;
    let mut word = 0u32;
    let mut parts = 0u32;
    loop {
        if !rest.first()?.is_ascii_digit() {
            return None;
        }
        let (value, len) = number(rest);
        let value = u32::try_from(value).ok()?;
        rest = rest.get(len..)?;
        if let [b'.', after @ ..] = rest {
            if parts > 2 || value > 0xff {
                return None;
            }
            word |= value << (24 - 8 * parts);
            parts += 1;
            rest = after;
            continue;
        }
        let limit = u32::MAX >> (8 * parts);
        let end_is_fine = rest.first().is_none_or(|&byte| !exact && is_space(byte));
        return (value <= limit && end_is_fine).then(|| Ipv4Addr::from_bits(word | value));
    }
}

/// libwrap's `dot_quad_addr`: inet_addr(3) of something with exactly four runs between dots. 255.255.255.255 is its error value.
pub(super) fn dot_quad(text: &[u8]) -> Option<u32> {
    let runs = text.split(|&byte| byte == b'.').filter(|run| !run.is_empty()).count();
    if runs != 4 {
        return None;
    }
    inet_aton(text, false).map(Ipv4Addr::to_bits).filter(|&bits| bits != u32::MAX)
}

/// strtol(3) with base 10, then cut to an `int`: what follows the number is ignored, no number is 0.
pub(super) fn strtol_int(text: &[u8]) -> i32 {
    let text = text.trim_ascii_start_c();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (value, _) = digits(text, 10);
    let limit = i64::MAX.unsigned_abs();
    let long = match (negative, value > limit) {
        (false, true) => i64::MAX,
        (true, true) => i64::MIN,
        (false, false) => value.cast_signed(),
        (true, false) => -value.cast_signed(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the C code assigns a long to an int")]
    let int = long as i32;
    int
}

/// libwrap's `cidr_mask_addr`: a mask of 1 to 32 bits. /0 is its error value.
pub(super) fn cidr_mask(text: &[u8]) -> Option<u32> {
    let bits = u32::try_from(strtol_int(text)).ok().filter(|bits| (1..=32).contains(bits))?;
    Some(u32::MAX << (32 - bits))
}

/// What `sscanf(text, "%u%c", …) == 1` reads: the whole text is one number. Signs count; the value is cut to 32 bits.
pub(super) fn scan_unsigned(text: &[u8], base: u32) -> Option<u32> {
    let text = text.trim_ascii_start_c();
    let (negative, body) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (value, len) = digits(body, base);
    if len == 0 || len != body.len() {
        return None;
    }
    // strtoul(3): a negative number is negated as unsigned, one out of range is the largest there is.
    let value = if negative && value != u64::MAX { value.wrapping_neg() } else { value };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sscanf stores an unsigned long into an unsigned int"
    )]
    let int = value as u32;
    Some(int)
}

/// What `sscanf(text, "%d%c", …) == 1` reads.
pub(super) fn scan_signed(text: &[u8]) -> Option<i32> {
    let body = text.trim_ascii_start_c();
    let unsigned = match body {
        [b'-' | b'+', rest @ ..] => rest,
        _ => body,
    };
    (!unsigned.is_empty() && unsigned.iter().all(u8::is_ascii_digit)).then(|| strtol_int(body))
}

/// getaddrinfo(3) with `AI_NUMERICHOST` and `AF_INET6`: an IPv6 address, with a scope or without. A scope is a number, or for link-local
/// addresses an interface's name; `interface` knows which ones there are.
pub(super) fn numeric_v6(text: &[u8], interface: &dyn Fn(&str) -> bool) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(text).ok()?;
    let Some((address, scope)) = text.split_once('%') else { return text.parse().ok() };
    let address: Ipv6Addr = address.parse().ok()?;
    let number =
        !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_digit()) && scope.parse::<u32>().is_ok();
    let link_local = address.is_unicast_link_local() || address.octets().starts_with(&[0xff, 0x02]);
    (number || (link_local && interface(scope))).then_some(address)
}

/// inet_ntop(3), which libwrap's client addresses are printed with. Differs from Rust's for IPv4-compatible addresses.
pub(super) fn print_v6(address: Ipv6Addr) -> String {
    let segments = address.segments();
    if segments.starts_with(&[0; 6]) && segments[6] != 0 {
        let bits = address.to_bits();
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        let v4 = Ipv4Addr::from_bits(bits as u32);
        let mut out = String::from("::");
        // Writing to a String cannot fail.
        let _ = write!(out, "{v4}");
        return out;
    }
    address.to_string()
}

/// Trimming as `isspace` does, vertical tab included.
pub(super) trait TrimC {
    /// Without leading white space.
    fn trim_ascii_start_c(&self) -> &[u8];
}

impl TrimC for [u8] {
    fn trim_ascii_start_c(&self) -> &[u8] {
        let start = self.iter().position(|&byte| !is_space(byte)).unwrap_or(self.len());
        self.get(start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inet_aton_reads_what_c_reads() {
        let table: &[(&str, Option<[u8; 4]>)] = &[
            ("10.0.0.1", Some([10, 0, 0, 1])),
            ("010.0.0.1", Some([8, 0, 0, 1])),
            ("0xa.0.0.1", Some([10, 0, 0, 1])),
            ("10.1", Some([10, 0, 0, 1])),
            ("10.0.257", Some([10, 0, 1, 1])),
            ("10.0.0.1 x", Some([10, 0, 0, 1])),
            ("10.0.0.1x", None),
            ("08.0.0.1", None),
            ("0x.0.0.1", None),
            ("256.0.0.1", None),
            ("10.0.0.256", None),
            ("10.0.0.", None),
            ("1.2.3.4.5", None),
            ("", None),
            ("4294967296", None),
            ("99999999999999999999999", None),
        ];
        for &(text, expected) in table {
            assert_eq!(inet_aton(text.as_bytes(), false), expected.map(Ipv4Addr::from), "{text}");
        }
        assert_eq!(inet_aton(b"10.0.0.1 ", true), None);
    }

    #[test]
    fn a_dot_quad_has_four_runs_and_is_not_all_ones() {
        assert_eq!(dot_quad(b"10.1"), None);
        assert_eq!(dot_quad(b"255.255.255.255"), None);
        assert_eq!(dot_quad(b"255.255.255.254"), Some(0xffff_fffe));
        assert_eq!(dot_quad(b"10..0.0.1"), None);
    }

    #[test]
    fn masks_are_cut_to_an_int_and_zero_is_an_error() {
        assert_eq!(cidr_mask(b"24x"), Some(0xffff_ff00));
        assert_eq!(cidr_mask(b"0"), None);
        assert_eq!(cidr_mask(b"33"), None);
        assert_eq!(cidr_mask(b"-1"), None);
        assert_eq!(cidr_mask(b"4294967320"), Some(0xffff_ff00));
        assert_eq!(cidr_mask(b"99999999999999999999"), None);
        assert_eq!(cidr_mask(b""), None);
    }

    #[test]
    fn ports_are_numbers_from_end_to_end() {
        assert_eq!(scan_unsigned(b"3306", 10), Some(3306));
        assert_eq!(scan_unsigned(b"+3306", 10), Some(3306));
        assert_eq!(scan_unsigned(b"4294970602", 10), Some(3306));
        assert_eq!(scan_unsigned(b"-1", 10), Some(u32::MAX));
        assert_eq!(scan_unsigned(b"3306x", 10), None);
        assert_eq!(scan_unsigned(b"", 10), None);
    }

    #[test]
    fn addresses_print_as_inet_ntop_does() {
        for (text, printed) in
            [("::102:304", "::1.2.3.4"), ("::ffff:10.0.0.1", "::ffff:10.0.0.1"), ("::1", "::1"), ("::", "::")]
        {
            assert_eq!(print_v6(text.parse().unwrap()), printed);
        }
    }

    #[test]
    fn scopes_need_a_number_or_a_link() {
        let read = |text: &str| numeric_v6(text.as_bytes(), &|name| name == "eth0");
        assert!(read("fe80::1%eth0").is_some());
        assert!(read("fe80::1%eth1").is_none());
        assert!(read("fe80::1%").is_none());
        assert!(read("2001:db8::1%eth0").is_none());
        assert!(read("2001:db8::1%2").is_some());
        assert!(read("10.0.0.1").is_none());
    }
}
