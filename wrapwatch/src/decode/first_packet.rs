//! The first packet of a MySQL server, whole, as a client gets it: a greeting or an error (protocol documentation of MySQL, "Connection Phase").
//!
//! A packet is a 3-byte little-endian length, a sequence number and the payload. What a traced server sends is seen by its first 7 bytes only: see
//! [`super::record`].

/// Bytes before the payload.
pub const HEAD: usize = 4;
/// Greetings are under 300 bytes, errors under 600: whoever announces more is no MySQL server.
pub const MAX_PAYLOAD: usize = 4096;

/// Protocol version 10: every server since 3.21.
const PROTOCOL: u8 = 0x0a;
const ERROR: u8 = 0xff;
/// MariaDB puts this before its own version, for replication clients that know no major version above 5.
const MARIADB_PREFIX: &str = "5.5.5-";

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPacket {
    /// The server's greeting.
    Greeting {
        /// Its version, as the server would say it in SQL.
        version: String,
    },
    /// An error.
    Error {
        /// 1040 and the like.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// Something else.
    Unknown,
}

/// Length of the payload, by the packet's head; None where no MySQL server would begin so.
pub fn payload_len(head: [u8; HEAD]) -> Option<usize> {
    let [a, b, c, sequence] = head;
    let len = usize::try_from(u32::from_le_bytes([a, b, c, 0])).ok()?;
    (sequence == 0 && (1..=MAX_PAYLOAD).contains(&len)).then_some(len)
}

/// Takes a payload apart.
pub fn parse(payload: &[u8]) -> FirstPacket {
    match payload {
        [PROTOCOL, rest @ ..] => {
            let Some(end) = memchr::memchr(0, rest) else { return FirstPacket::Unknown };
            let version = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
            let own = version.strip_prefix(MARIADB_PREFIX).filter(|own| own.contains("MariaDB"));
            FirstPacket::Greeting { version: own.map_or(version.clone(), ToOwned::to_owned) }
        }
        [ERROR, low, high, text @ ..] => {
            // `#` and five characters of SQLSTATE; not before the client has said what it understands, but some send it all the same.
            let text = match text {
                [b'#', _, _, _, _, _, rest @ ..] => rest,
                text => text,
            };
            let message = String::from_utf8_lossy(text).into_owned();
            FirstPacket::Error { code: u16::from_le_bytes([*low, *high]), message }
        }
        _ => FirstPacket::Unknown,
    }
}

/// `max_connect_errors` of a server of this version where nobody set it: 100 since MySQL 5.6.6 and MariaDB 10.0, 10 before; the lower one where the
/// version says nothing.
pub fn max_connect_errors(version: &str) -> usize {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    let mut next = || numbers.next().flatten().unwrap_or(0);
    let version_of = (next(), next(), next());
    let since = if version.contains("MariaDB") { (10, 0, 0) } else { (5, 6, 6) };
    if version_of >= since { 100 } else { 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(version: &str) -> FirstPacket {
        parse(&[&[PROTOCOL], version.as_bytes(), &[0, 7, 0, 0, 0]].concat())
    }

    #[test]
    fn greetings_and_errors() {
        let version = |text: &str| FirstPacket::Greeting { version: text.into() };
        assert_eq!(greeting("8.0.36"), version("8.0.36"));
        assert_eq!(greeting("5.5.5-10.11.6-MariaDB-1"), version("10.11.6-MariaDB-1"));
        assert_eq!(greeting("5.5.5-m3"), version("5.5.5-m3"));
        let error = |code, text: &str| FirstPacket::Error { code, message: text.into() };
        assert_eq!(parse(b"\xff\x10\x04Too many connections"), error(1040, "Too many connections"));
        assert_eq!(parse(b"\xff\x69\x04#HY000Host is blocked"), error(1129, "Host is blocked"));
        assert_eq!(parse(b"\xff\x69\x04"), error(1129, ""));
    }

    #[test]
    fn what_is_neither() {
        for payload in [&b""[..], b"\xff", b"\xff\x10", b"\x0a8.0.36", b"SSH-2.0", b"\x0910.0\0"] {
            assert_eq!(parse(payload), FirstPacket::Unknown, "{payload:?}");
        }
        assert_eq!(payload_len([0x4e, 0, 0, 0]), Some(78));
        assert_eq!(payload_len(*b"SSH-"), None);
        assert_eq!(payload_len([0, 0, 0, 0]), None);
        assert_eq!(payload_len([0x4e, 0, 0, 1]), None);
        assert_eq!(payload_len([1, 0x10, 0, 0]), None);
    }

    #[test]
    fn old_servers_block_after_ten() {
        for (version, limit) in [
            ("5.5.62-log", 10),
            ("5.6.5-m8", 10),
            ("5.6.6", 100),
            ("5.7.44", 100),
            ("8.0.36-28.1", 100),
            ("9.1.0", 100),
            ("5.5.68-MariaDB", 10),
            ("10.0.38-MariaDB", 100),
            ("11.4.2-MariaDB-ubu2404", 100),
            ("", 10),
            ("99999999999.1", 10),
        ] {
            assert_eq!(max_connect_errors(version), limit, "{version}");
        }
    }
}
