//! What a word of a client list is, looked at without any client: whether it can force a lookup, whether it can match at all, and what
//! somebody who wrote it probably meant.

use std::net::Ipv4Addr;

use super::inet;
use super::options::Keyword;
use super::options::lossy;
use super::pattern::is_not_address;
use super::problems::characters::visible;
use super::table::{is_except, split_at, words};

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ALL, or a lone star.
    All,
    /// Decided by the address alone: address, prefix, suffix, net.
    Address,
    /// An IPv6 address in brackets without a mask: decided by the address only where it matches.
    BareV6,
    /// `*` or `?` among digits and dots: decided by the address only where it matches.
    AddressGlob,
    /// Decided by the name: a name, `.domain`, a wildcard, KNOWN, LOCAL.
    Name,
    /// UNKNOWN or PARANOID: matches because a lookup failed.
    Failure,
    /// `@netgroup`.
    Netgroup,
    /// `/file`.
    File,
}

impl Kind {
    /// Whether it can force a lookup.
    pub const fn may_look_up(self) -> bool {
        !matches!(self, Self::All | Self::Address)
    }

    /// Whether whom it matches depends on names.
    pub const fn is_by_name(self) -> bool {
        matches!(self, Self::Name | Self::Failure | Self::Netgroup)
    }
}

/// A word of a client list and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientWord<'a> {
    /// The word.
    pub word: &'a [u8],
    /// Its part before the @, asked for by ident.
    pub user: Option<&'a [u8]>,
    /// Its host part.
    pub host: &'a [u8],
    /// What the host part is.
    pub kind: Kind,
    /// How many EXCEPTs stand before it.
    pub depth: u32,
}

/// The words of a client list.
pub fn client_words(list: &[u8]) -> impl Iterator<Item = ClientWord<'_>> {
    let mut depth = 0;
    words(list).filter_map(move |word| {
        if is_except(word) {
            depth += 1;
            return None;
        }
        let at = word.get(1..).and_then(|rest| split_at(rest, b'@'));
        let (user, host) = match at {
            Some(at) => (word.get(..=at), word.get(at + 2..).unwrap_or_default()),
            None => (None, word),
        };
        Some(ClientWord { word, user, host, kind: kind(host), depth })
    })
}

/// The option that stands in the place of a client list: its first word is one, as in `mysqld : spawn (…)`.
pub fn option_as_client(list: &[u8]) -> Option<&'static str> {
    let first = words(list).next()?;
    let name = first.split(|&byte| byte == b'=').next().unwrap_or_default();
    Keyword::find(name).map(Keyword::name)
}

/// What a host pattern is.
pub fn kind(host: &[u8]) -> Kind {
    let is = |name: &[u8]| host.eq_ignore_ascii_case(name);
    match host {
        [b'@', ..] => Kind::Netgroup,
        [b'/', ..] => Kind::File,
        _ if is(b"ALL") || is(b"*") => Kind::All,
        _ if is(b"UNKNOWN") || is(b"PARANOID") => Kind::Failure,
        _ if is(b"KNOWN") || is(b"LOCAL") => Kind::Name,
        _ if split_at(host, b'/').is_some() || !is_not_address(host) => Kind::Address,
        [b'[', .., b']'] => Kind::BareV6,
        _ if host.iter().all(|byte| b"0123456789.*?".contains(byte)) => Kind::AddressGlob,
        _ => Kind::Name,
    }
}

/// A pattern that can never match, why, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hopeless {
    /// Why.
    pub why: &'static str,
    /// What to write.
    pub instead: Option<String>,
}

/// Whether a host pattern can match no client at all.
pub fn hopeless(host: &[u8]) -> Option<Hopeless> {
    if matches!(host, [b'@' | b'/', ..]) {
        return None;
    }
    if host.is_empty() {
        return Some(Hopeless { why: "there is nothing to match behind the @", instead: None });
    }
    let text = lossy(host);
    if let Some(hopeless) = not_a_name(&text) {
        return Some(hopeless);
    }
    if let Some(at) = split_at(host, b'/') {
        let (net, mask) = host.split_at(at);
        return hopeless_net(net, mask.get(1..).unwrap_or_default());
    }
    if is_not_address(host) {
        return match host {
            [b'[', inner @ .., b']'] => hopeless_v6(inner),
            [b'[', ..] | [.., b']'] => {
                let inside = text.trim_matches(['[', ']']);
                Some(Hopeless { why: "a bracket is missing", instead: without_brackets(inside) })
            }
            _ => None,
        };
    }
    if text == "0.0.0.0" {
        return Some(Hopeless { why: "no client has this address", instead: Some("ALL".to_owned()) });
    }
    if host.starts_with(b".") || text.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    let octets =
        |text: &str| text.split('.').all(|part| part.parse::<u8>().is_ok_and(|n| n.to_string() == part));
    if let Some(prefix) = text.strip_suffix('.') {
        let fine = octets(prefix) && prefix.matches('.').count() < 3;
        let instead = prefix.parse::<Ipv4Addr>().is_ok().then(|| prefix.to_owned());
        return (!fine).then_some(Hopeless { why: "no address begins like this", instead });
    }
    let prefix = octets(&text) && text.matches('.').count() < 3;
    Some(Hopeless {
        why: "addresses are compared as text, and this is not a whole one",
        instead: if prefix {
            Some(format!("{text}."))
        } else {
            inet::inet_aton(host, true).map(|v4| v4.to_string())
        },
    })
}

/// Words that look like a name and can be none: what other programs take for ranges, wildcards and negation, and characters outside of ASCII.
fn not_a_name(text: &str) -> Option<Hopeless> {
    if !text.is_ascii() {
        let seen = visible(text);
        let instead = (seen != text && seen.is_ascii() && !seen.is_empty()).then_some(seen);
        let why = if text.contains(char::REPLACEMENT_CHARACTER) {
            "names and addresses are ASCII, and this has a byte of another encoding (Latin-1?)"
        } else {
            "names and addresses are ASCII"
        };
        return Some(Hopeless { why, instead });
    }
    if let Some(rest) = text.strip_prefix('!') {
        let instead = (!rest.is_empty()).then(|| format!("ALL EXCEPT {rest}"));
        return Some(Hopeless { why: "libwrap has EXCEPT instead of an exclamation mark", instead });
    }
    if text.contains('%') && !text.starts_with('[') {
        let prefix = text.trim_end_matches(['%', '.']);
        let octets = prefix.split('.').all(|part| part.parse::<u8>().is_ok());
        let instead = (octets && text.ends_with(".%")).then(|| format!("{prefix}."));
        return Some(Hopeless { why: "% is MySQL's wildcard, not libwrap's", instead });
    }
    if let Some((from, to)) = text.split_once('-')
        && let Ok(from) = from.parse::<Ipv4Addr>()
        && (to.parse::<Ipv4Addr>().is_ok() || to.parse::<u8>().is_ok())
    {
        let to = to.parse().unwrap_or_else(|_| {
            let [a, b, c, _] = from.octets();
            Ipv4Addr::new(a, b, c, to.parse().unwrap_or(0))
        });
        return Some(Hopeless {
            why: "libwrap knows no ranges",
            instead: nets(from.to_bits(), to.to_bits()),
        });
    }
    let ends = text.len() > 1
        && text.starts_with('.')
        && text.ends_with('.')
        && is_not_address(text.as_bytes())
        && !text.contains(['*', '?']);
    ends.then(|| Hopeless {
        why: "names are compared without a dot at their end",
        instead: Some(text.trim_end_matches('.').to_owned()),
    })
}

/// For a name that is written with a dot at its end, as in a zone file: the name. With the dot it is the beginning of other names.
pub fn trailing_dot(host: &[u8]) -> Option<String> {
    let text = lossy(host);
    let name = text.trim_end_matches('.');
    let ends = name.len() < text.len() && !name.is_empty() && hopeless(host).is_none();
    (ends && kind(host) == Kind::Name && !text.contains(['*', '?'])).then(|| name.to_owned())
}

/// A range as nets; none where it takes more than eight.
fn nets(from: u32, to: u32) -> Option<String> {
    let mut out = Vec::new();
    let mut next = u64::from(from);
    let end = u64::from(to) + 1;
    while next < end {
        if out.len() == 8 {
            return None;
        }
        let room = (end - next).ilog2();
        let bits = next.trailing_zeros().min(room).min(31);
        let base = Ipv4Addr::from_bits(u32::try_from(next).ok()?);
        out.push(if bits == 0 { base.to_string() } else { format!("{base}/{}", 32 - bits) });
        next += 1u64 << bits;
    }
    (!out.is_empty()).then(|| out.join(" "))
}

fn hopeless_net(net: &[u8], mask: &[u8]) -> Option<Hopeless> {
    if let [b'[', inner @ .., b']'] = net {
        let bits = inet::strtol_int(mask);
        if !(0..=128).contains(&bits) {
            return Some(Hopeless { why: "a prefix has 0 to 128 bits", instead: None });
        }
        return hopeless_v6(inner);
    }
    let Some(base) = inet::dot_quad(net) else {
        let why = "in front of a slash stands an IPv4 address or an IPv6 one in brackets";
        return Some(Hopeless { why, instead: whole_net(&lossy(net), &lossy(mask)) });
    };
    let address = Ipv4Addr::from_bits(base);
    let Some(bits) = inet::dot_quad(mask).or_else(|| inet::cidr_mask(mask)) else {
        return Some(match mask {
            b"255.255.255.255" => {
                Hopeless { why: "libwrap takes this mask for an error", instead: Some(address.to_string()) }
            }
            b"0" => Hopeless { why: "libwrap takes /0 for an error", instead: Some("ALL".to_owned()) },
            _ => Hopeless {
                why: "the mask is neither 1 to 32 bits nor four numbers",
                instead: Some(format!("{address}, or a net: {address}/24")),
            },
        });
    };
    // 0.0.0.255 is a mask for routers, which is libwrap's turned round.
    if bits != 0 && (bits & bits.wrapping_add(1)) == 0 && bits != u32::MAX {
        let instead = format!("{}/{}", Ipv4Addr::from_bits(base & !bits), Ipv4Addr::from_bits(!bits));
        return Some(Hopeless {
            why: "the mask is turned round: its bits name the net, not the hosts",
            instead: Some(instead),
        });
    }
    let instead = format!("{}/{}", Ipv4Addr::from_bits(base & bits), lossy(mask));
    (base & !bits != 0)
        .then_some(Hopeless { why: "the net has bits outside its mask", instead: Some(instead) })
}

/// What was meant by a net that is no whole address: `10/8`, `10.0.2/24`, `.example.com/24`, an address that other numbers fit.
fn whole_net(net: &str, mask: &str) -> Option<String> {
    let octets: Vec<u8> = net.trim_end_matches('.').split('.').map_while(|part| part.parse().ok()).collect();
    let numbers = net.trim_end_matches('.').split('.').count();
    if octets.len() == numbers && numbers < 4 {
        let mut whole = [0; 4];
        whole.iter_mut().zip(&octets).for_each(|(to, from)| *to = *from);
        return Some(format!("{}/{mask}", Ipv4Addr::from(whole)));
    }
    if net.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(format!("[{net}]/{mask}"));
    }
    (is_not_address(net.as_bytes()) && hopeless(net.as_bytes()).is_none()).then(|| net.to_owned())
}

/// How what stands within brackets is written: an IPv6 address or net, or an IPv4 one.
fn without_brackets(inside: &str) -> Option<String> {
    let (address, bits) =
        inside.split_once('/').map_or((inside, None), |(address, bits)| (address, Some(bits)));
    let bits = bits.map(str::parse::<u8>).transpose().ok()?.filter(|&bits| bits <= 128);
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(format!("[{address}]/{}", bits.unwrap_or(128)));
    }
    let v4 = inet::inet_aton(address.as_bytes(), true)?;
    let word = bits.map_or_else(|| v4.to_string(), |bits| format!("{v4}/{bits}"));
    hopeless(word.as_bytes()).map_or(Some(word), |hopeless| hopeless.instead)
}

fn hopeless_v6(inner: &[u8]) -> Option<Hopeless> {
    let Some(address) = inet::numeric_v6(inner, &|_| true) else {
        let instead = without_brackets(&lossy(inner));
        return Some(Hopeless { why: "in brackets stands an IPv6 address", instead });
    };
    address
        .to_ipv4_mapped()
        .map(|v4| Hopeless { why: "libwrap takes v4-mapped clients for IPv4", instead: Some(v4.to_string()) })
}

/// A word that never forces a lookup and takes the same addresses; none where there is none or the word never does. Names are another matter:
/// `192.168.*` takes also whoever has a name that begins so, and `192.168.` does not.
pub fn without_lookup(host: &[u8]) -> Option<String> {
    match kind(host) {
        Kind::BareV6 if hopeless(host).is_none() => Some(format!("{}/128", lossy(host))),
        Kind::AddressGlob => {
            let prefix = lossy(host.strip_suffix(b"*")?);
            let fine = prefix.ends_with('.')
                && hopeless(prefix.as_bytes()).is_none()
                && !prefix.contains(['*', '?']);
            fine.then_some(prefix)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        for (word, expected) in [
            ("ALL", Kind::All),
            ("10.0.2.", Kind::Address),
            (".14", Kind::Address),
            ("[::]/0", Kind::Address),
            ("x/y", Kind::Address),
            ("[::1]", Kind::BareV6),
            ("10.0.*", Kind::AddressGlob),
            ("*", Kind::All),
            ("db*", Kind::Name),
            ("LOCAL", Kind::Name),
            ("unknown", Kind::Failure),
            ("@x", Kind::Netgroup),
            ("/x", Kind::File),
        ] {
            assert_eq!(kind(word.as_bytes()), expected, "{word}");
        }
        let list: Vec<_> =
            client_words(b"bob@10. EXCEPT @x, a@/f").map(|w| (w.user.is_some(), w.kind, w.depth)).collect();
        assert_eq!(list, [(true, Kind::Address, 0), (false, Kind::Netgroup, 1), (true, Kind::File, 1)]);
    }

    #[test]
    fn hopeless_patterns_say_what_was_meant() {
        let instead =
            |word: &str| hopeless(word.as_bytes()).map(|hopeless| hopeless.instead.unwrap_or_default());
        for (word, expected) in [
            ("10.0.0.5/24", "10.0.0.0/24"),
            ("10.0.0.5/255.255.255.0", "10.0.0.0/255.255.255.0"),
            ("10.0.0.5/255.255.255.255", "10.0.0.5"),
            ("0.0.0.0/0", "ALL"),
            ("10.0.2", "10.0.2."),
            ("010.0.0.1", "8.0.0.1"),
            ("[10.0.0.1]", "10.0.0.1"),
            ("[::ffff:10.0.0.1]", "10.0.0.1"),
            ("10.0.0.0/33", "10.0.0.0, or a net: 10.0.0.0/24"),
            ("300.", ""),
            ("[::1", "[::1]/128"),
            ("[10.0.0.1", "10.0.0.1"),
            ("[10.0.0.5/24]", "10.0.0.0/24"),
            ("[2001:db8::/32]", "[2001:db8::]/32"),
            ("[2001:db8::/129]", "[2001:db8::]/128"),
            ("[nothing]", ""),
            (".example.com/24", ".example.com"),
            ("10.0.2/24", "10.0.2.0/24"),
            ("10/8", "10.0.0.0/8"),
            ("10.0.0.0/0.0.0.255", "10.0.0.0/255.255.255.0"),
            ("10.0.2.%", "10.0.2."),
            ("!10.0.0.1", "ALL EXCEPT 10.0.0.1"),
            ("10.0.0.4-10.0.0.9", "10.0.0.4/30 10.0.0.8/31"),
            ("10.0.0.4-7", "10.0.0.4/30"),
            (".example.com.", ".example.com"),
            ("0.0.0.0", "ALL"),
            ("10.0.0.1.", "10.0.0.1"),
            ("\u{a0}.example.com", ".example.com"),
        ] {
            assert_eq!(instead(word).as_deref(), Some(expected), "{word}");
        }
        for fine in
            ["10.0.0.0/24", "10.", "10.0.0.1", "[::1]", "[::]/0", ".1", "db1", "ALL", "10.0.0.1/32", "db1.a."]
        {
            assert_eq!(instead(fine), None, "{fine}");
        }
        assert_eq!(trailing_dot(b"db1.example.com.").as_deref(), Some("db1.example.com"));
        for no_name in ["db1", "10.0.2.", "db?.", "@group.", "/file.", "!x.", ".", "ALL"] {
            assert_eq!(trailing_dot(no_name.as_bytes()), None, "{no_name}");
        }
    }

    #[test]
    fn some_words_can_be_written_without_a_lookup() {
        let other = |word: &str| without_lookup(word.as_bytes());
        assert_eq!(other("192.168.*").as_deref(), Some("192.168."));
        assert_eq!(other("[::1]").as_deref(), Some("[::1]/128"));
        for none in ["10.0.2*", "*", "*.*", "10.0.2.1?", "10.0.0.0.*", ".example.com", "10."] {
            assert_eq!(other(none), None, "{none}");
        }
    }
}
