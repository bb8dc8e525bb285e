//! One word of a rule against one string: libwrap's `string_match`, `masked_match4` and `masked_match6`.

use std::net::Ipv6Addr;

use super::environment::Environment;
use super::inet;

/// The v4 part of a string like `::ffff:10.0.0.1`, where libwrap takes it for one.
pub(super) fn mapped_v4(string: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = string.split_at_checked(7)?;
    (prefix.eq_ignore_ascii_case(b"::ffff:") && inet::dot_quad(rest).is_some()).then_some(rest)
}

/// libwrap's `string_match`: a word against a daemon, a host's name or address, or a user.
pub(super) fn string_match(word: &[u8], string: &[u8], env: &dyn Environment) -> bool {
    let string = mapped_v4(string).unwrap_or(string);
    if word.iter().any(|&byte| byte == b'*' || byte == b'?') {
        return glob(word, string);
    }
    match word {
        [b'.', ..] => {
            let suffix =
                string.len().checked_sub(word.len()).filter(|&at| at > 0).and_then(|at| string.get(at..));
            suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(word))
        }
        _ if word.eq_ignore_ascii_case(b"ALL") => true,
        _ if word.eq_ignore_ascii_case(b"KNOWN") => !string.eq_ignore_ascii_case(b"unknown"),
        [.., b'.'] => string.get(..word.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(word)),
        [b'[', inner @ .., b']'] => {
            let read = |text| inet::numeric_v6(text, &|name| env.interface(name));
            read(inner).is_some_and(|pattern| read(string) == Some(pattern))
        }
        _ => word.eq_ignore_ascii_case(string),
    }
}

/// libwrap's `match_pattern_ylo`, without its exponential time. Its one oddity is kept: two or more stars at the end need at least one
/// character.
fn glob(pattern: &[u8], string: &[u8]) -> bool {
    let stars = pattern.iter().rev().take_while(|&&byte| byte == b'*').count();
    let at_least = usize::from(stars >= 2);
    // The usual two-finger matcher: remember the last star and what it has swallowed so far.
    let (mut p, mut s) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    // Index in the pattern where the final run of stars begins.
    let tail = pattern.len() - stars;
    loop {
        if stars > 0 && p == tail {
            // Everything left belongs to the final stars; a later match of the head only leaves them less.
            return string.len() - s >= at_least;
        }
        match (pattern.get(p), string.get(s)) {
            (Some(b'*'), _) => {
                star = Some((p + 1, s));
                p += 1;
            }
            (Some(b'?'), Some(_)) => (p, s) = (p + 1, s + 1),
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => (p, s) = (p + 1, s + 1),
            (None, None) => return true,
            _ => {
                let Some((after, swallowed)) = star.filter(|&(_, swallowed)| swallowed < string.len()) else {
                    return false;
                };
                star = Some((after, swallowed + 1));
                (p, s) = (after, swallowed + 1);
            }
        }
    }
}

/// libwrap's `masked_match4`: `net/mask` or `net/bits` against an IPv4 address. The net is not masked: one with host bits never matches.
pub(super) fn masked_match4(net: &[u8], mask: &[u8], string: &[u8]) -> bool {
    let Some(address) = inet::dot_quad(string) else { return false };
    let Some(net) = inet::dot_quad(net) else { return false };
    let Some(mask) = inet::dot_quad(mask).or_else(|| inet::cidr_mask(mask)) else { return false };
    address & mask == net
}

/// libwrap's `masked_match6`: `[net]/bits` against an IPv6 address, or against the IPv4 address inside one.
pub(super) fn masked_match6(net: &[u8], mask: &[u8], string: &[u8], env: &dyn Environment) -> bool {
    if let Some(v4) = mapped_v4(string) {
        return masked_match4(net, mask, v4);
    }
    let read = |text| inet::numeric_v6(text, &|name| env.interface(name));
    let Some(address) = read(string) else { return false };
    let [b'[', inner @ .., b']'] = net else { return false };
    let Some(net) = read(inner) else { return false };
    let Some(bits) = u32::try_from(inet::strtol_int(mask)).ok().filter(|&bits| bits <= 128) else {
        return false;
    };
    same_prefix(address, net, bits)
}

/// Whether the first `bits` (128 at most) bits are the same.
pub(super) const fn same_prefix(a: Ipv6Addr, b: Ipv6Addr, bits: u32) -> bool {
    // A shift by 128 has no meaning: /0 covers everything.
    match u128::MAX.checked_shl(128 - bits) {
        Some(mask) => (a.to_bits() ^ b.to_bits()) & mask == 0,
        None => true,
    }
}

/// Names compare without regard to case.
pub(super) const fn same_host(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// libwrap's `NOT_INADDR`: only words with something beside digits, dots and slashes are compared with names, too.
pub(super) fn is_not_address(word: &[u8]) -> bool {
    !word.iter().all(|byte| b"0123456789./".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::super::environment::FixedNames;
    use super::*;

    fn matches(word: &str, string: &str) -> bool {
        string_match(word.as_bytes(), string.as_bytes(), &FixedNames::unknown())
    }

    #[test]
    fn words_match_as_in_hosts_access_5() {
        for (word, string, expected) in [
            (".tue.nl", "wzv.win.tue.nl", true),
            (".tue.nl", ".tue.nl", false),
            (".1", "10.0.0.1", true),
            ("131.155.", "131.155.7.9", true),
            ("131.155.", "131.15", false),
            ("ALL", "", true),
            ("known", "unknown", false),
            ("KNOWN", "paranoid", true),
            ("[::1]", "0:0::1", true),
            ("[::1]", "10.0.0.1", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1", false),
            ("*.Example.com", "a.b.EXAMPLE.com", true),
            ("10.0.?.1", "10.0.12.1", false),
        ] {
            assert_eq!(matches(word, string), expected, "{word} {string}");
        }
    }

    #[test]
    fn stars_are_libwraps() {
        for (word, string, expected) in [
            ("*", "", true),
            ("**", "", false),
            ("**", "x", true),
            ("a**", "a", false),
            ("a*", "a", true),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxac", false),
            ("**a", "a", true),
            ("?*?", "x", false),
            ("*?", "x", true),
            ("a*b*", "aXb", true),
            ("a*b**", "aXb", false),
            ("a*b**", "abXb", true),
        ] {
            assert_eq!(matches(word, string), expected, "{word} {string}");
        }
        // libwrap would need longer than anybody waits.
        assert!(!glob("*a".repeat(60).as_bytes(), "a".repeat(59).as_bytes()));
    }

    #[test]
    fn nets_are_compared_unmasked() {
        assert!(masked_match4(b"10.0.0.0", b"255.255.255.0", b"10.0.0.7"));
        assert!(masked_match4(b"10.0.0.0", b"24", b"10.0.0.7"));
        assert!(!masked_match4(b"10.0.0.7", b"24", b"10.0.0.7"));
        assert!(!masked_match4(b"0.0.0.0", b"0", b"10.0.0.7"));
        assert!(!masked_match4(b"10.0.0.7", b"255.255.255.255", b"10.0.0.7"));
        assert!(masked_match4(b"10.0.0.7", b"32", b"10.0.0.7"));
    }

    #[test]
    fn v6_nets_need_brackets_and_take_any_prefix() {
        assert!(masked_match6(b"[2001:db8::7]", b"64", b"2001:db8::1", &FixedNames::unknown()));
        assert!(!masked_match6(b"2001:db8::", b"64", b"2001:db8::1", &FixedNames::unknown()));
        assert!(masked_match6(b"[::]", b"", b"2001:db8::1", &FixedNames::unknown()));
        assert!(!masked_match6(b"[::]", b"129", b"2001:db8::1", &FixedNames::unknown()));
        assert!(masked_match6(b"[2001:db8::]", b"33", b"2001:db8:7fff::1", &FixedNames::unknown()));
        assert!(!masked_match6(b"[2001:db8::]", b"33", b"2001:db8:8000::1", &FixedNames::unknown()));
        assert!(masked_match6(b"10.0.0.0", b"24", b"::ffff:10.0.0.7", &FixedNames::unknown()));
        assert!(!masked_match6(b"[::ffff:10.0.0.0]", b"120", b"::ffff:10.0.0.7", &FixedNames::unknown()));
    }
}
