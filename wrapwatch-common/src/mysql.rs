//! The little of MySQL's protocol that tells how a login ends, for both sides. Numbers as the MySQL and MariaDB manuals give them ("Client/Server Protocol"):
//! a packet begins with three bytes of length and one of sequence, and its fifth byte is its type.

/// Version of the handshake in the greeting, its first byte after the header.
const HANDSHAKE_V10: u8 = 10;
/// Type of a packet that says yes, as an answer to a login.
const OK: u8 = 0;
/// Type of a packet with an error: its code follows.
pub const ERROR: u8 = 0xff;
/// Type of a packet that asks for, or brings, more about who the client is (`AuthMoreData`).
pub const MORE: u8 = 1;
/// In such a packet: the password was right, and the packet that says yes follows (`fast_auth_success` of caching_sha2_password).
const FAST_AUTH_SUCCESS: u8 = 3;
/// Length of such a packet, header included.
const FAST_AUTH_LEN: u64 = 6;
/// Type of a TLS record with a handshake, and the major version (RFC 8446, 5.1). As a packet's length these would be more than any login has.
const TLS_HANDSHAKE: [u8; 2] = [22, 3];
/// A greeting is shorter.
const GREETING_MAX: u8 = 2;

/// Packets of the server after which a login is no longer followed.
pub const LOGIN_PACKETS_MAX: u32 = 64;

/// What a packet of the server does to a login. The values are part of the ABI.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginEnd {
    /// Nothing: the client is asked for more. As an end: more was asked than is followed.
    Asks = 0,
    /// The client is in.
    Ok = 1,
    /// It is not.
    Error = 2,
    /// The client has asked for TLS: what follows cannot be read.
    Tls = 3,
    /// The server closed the connection.
    Closed = 4,
}

impl LoginEnd {
    /// The end with this number, if there is one.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => Self::Asks,
            1 => Self::Ok,
            2 => Self::Error,
            3 => Self::Tls,
            4 => Self::Closed,
            _ => return None,
        })
    }
}

/// Whether a server's first bytes are a greeting after which the client logs in.
#[inline]
pub const fn is_greeting(bytes: &[u8; 7]) -> bool {
    let &[_, middle, high, sequence, version, name, _] = bytes;
    middle < GREETING_MAX && high == 0 && sequence == 0 && version == HANDSHAKE_V10 && name.is_ascii_digit()
}

/// What a packet of `len` bytes that begins so does to a login.
#[inline]
pub const fn answer(bytes: &[u8; 7], len: u64) -> LoginEnd {
    let &[low, middle, _, _, kind, detail, _] = bytes;
    if low == TLS_HANDSHAKE[0] && middle == TLS_HANDSHAKE[1] {
        return LoginEnd::Tls;
    }
    match kind {
        OK => LoginEnd::Ok,
        ERROR => LoginEnd::Error,
        MORE if detail == FAST_AUTH_SUCCESS && len > FAST_AUTH_LEN => LoginEnd::Ok,
        _ => LoginEnd::Asks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_first() {
        assert!(is_greeting(b"\x5b\0\0\0\x0a5."), "MariaDB 10.11");
        assert!(is_greeting(b"\x4a\0\0\0\x0a8."), "MySQL 8");
        assert!(!is_greeting(b"\x45\0\0\0\xff\x15\x04"), "an error instead");
        assert!(!is_greeting(b"SSH-2.0") && !is_greeting(b"220 mx\n") && !is_greeting(&[0; 7]));
    }

    #[test]
    fn what_servers_answer() {
        assert_eq!(answer(b"\x07\0\0\x02\0\0\0", 11), LoginEnd::Ok);
        assert_eq!(answer(b"\x48\0\0\x02\xff\x15\x04", 76), LoginEnd::Error);
        assert_eq!(answer(b"\x2c\0\0\x02\xfemy", 48), LoginEnd::Asks, "another plugin");
        assert_eq!(answer(b"\x02\0\0\x02\x01\x03\x07", 17), LoginEnd::Ok, "both in one");
        assert_eq!(answer(b"\x02\0\0\x02\x01\x03\0", 6), LoginEnd::Asks, "the other follows");
        assert_eq!(answer(b"\x02\0\0\x02\x01\x04\0", 6), LoginEnd::Asks, "the whole password");
        assert_eq!(answer(b"\x16\x03\x03\0\x7a\x02\0", 127), LoginEnd::Tls);
    }

    #[test]
    fn numbers_are_read_back() {
        for raw in 0..=u8::MAX {
            assert!(LoginEnd::from_raw(raw).is_none_or(|end| end as u8 == raw));
        }
    }
}
