//! Socket addresses and messages in strace's notation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use wrapwatch_common::abi::AF_UNIX;
use wrapwatch_common::records as abi;

use super::text::{field, int, meaning, members, split, string};
use crate::trace::encode;

/// A socket address as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// The address; family 0 where only the port could be read, or nothing.
    pub addr: Option<abi::Addr>,
    /// A unix socket's path; an abstract one begins with a NUL.
    pub path: Vec<u8>,
    /// Port, also of an address that cannot be read (`10.9.x.54`, `XXX`).
    pub port: Option<u16>,
}

impl Named {
    /// The address, or none, for a record.
    pub(super) fn addr_or_none(&self) -> abi::Addr {
        self.addr.unwrap_or(encode::NO_ADDR)
    }
}

/// A socket address in any of strace's spellings: `sa_family=AF_INET`, `sin_family=…` of old versions, numbers and bytes as `-X raw`
/// prints them, with comments as `-X verbose` does. `None` for `NULL` and what is no address.
pub(super) fn sockaddr(text: &str) -> Option<Named> {
    let families = ["sa_family", "sin_family", "sin6_family", "sun_family"];
    let family = families.iter().find_map(|name| field(text, name));
    let family = match family.map(meaning) {
        Some(family) => family,
        // What was written over is one of these still.
        None if text.contains("sin_port=") => "AF_INET",
        None if text.contains("sin6_port=") => "AF_INET6",
        None => return None,
    };
    match family {
        "AF_INET" | "PF_INET" | "0x2" | "2" => {
            let port = field(text, "sin_port").and_then(port);
            let ip = field(text, "sin_addr").and_then(ipv4);
            let addr = ip.zip(port).map(|addr| encode::addr(SocketAddr::from(addr)));
            Some(Named { addr, port, path: Vec::new() })
        }
        "AF_INET6" | "PF_INET6" | "0xa" | "10" => {
            let port = field(text, "sin6_port").and_then(port);
            let scope = field(text, "sin6_scope_id").and_then(int).and_then(|n| u32::try_from(n).ok());
            let addr = ipv6(text).zip(port).map(|(ip, port)| {
                encode::addr(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope.unwrap_or(0))))
            });
            Some(Named { addr, port, path: Vec::new() })
        }
        "AF_UNIX" | "AF_LOCAL" | "AF_FILE" | "PF_LOCAL" | "PF_UNIX" | "PF_FILE" | "0x1" | "1" => {
            let mut path = Vec::new();
            if let Some(text) = field(text, "sun_path").or_else(|| field(text, "path")) {
                // An abstract name is written @"name".
                if text.starts_with('@') {
                    path.push(0);
                }
                path.extend(string(text, abi::PATH_MAX)?.0);
            }
            Some(Named { addr: Some(abi::Addr { family: AF_UNIX, ..encode::NO_ADDR }), path, port: None })
        }
        "AF_UNSPEC" | "0" => Some(Named { addr: Some(encode::NO_ADDR), ..Named::default() }),
        _ => None,
    }
}

/// `htons(53)`, `"\x00\x35"`, `53`.
fn port(value: &str) -> Option<u16> {
    let value = meaning(value);
    if let Some(bytes) = bytes::<2>(value) {
        return Some(u16::from_be_bytes(bytes));
    }
    let inner = value.strip_prefix("htons(").and_then(|v| v.strip_suffix(')')).unwrap_or(value);
    inner.parse().ok()
}

/// `inet_addr("10.0.0.1")`, `"\x0a\x00\x00\x01"`, `"10.0.0.1"`.
fn ipv4(value: &str) -> Option<Ipv4Addr> {
    let value = meaning(value);
    if let Some(bytes) = bytes::<4>(value) {
        return Some(Ipv4Addr::from(bytes));
    }
    let inner = value.strip_prefix("inet_addr(").and_then(|v| v.strip_suffix(')')).unwrap_or(value);
    quoted(inner)?.parse().ok()
}

/// `inet_pton(AF_INET6, "::1", &sin6_addr)`, older: `sin6_addr=…` the same way; raw: sixteen bytes.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    members(text).into_iter().find_map(|member| {
        let value = meaning(member.strip_prefix("sin6_addr=").unwrap_or(member));
        if let Some(bytes) = bytes::<16>(value) {
            return Some(Ipv6Addr::from(bytes));
        }
        let inner = split(value.strip_prefix("inet_pton(")?.strip_suffix(')')?);
        quoted(inner.get(1)?)?.parse().ok()
    })
}

/// Exactly so many bytes, quoted.
fn bytes<const N: usize>(value: &str) -> Option<[u8; N]> {
    let (bytes, cut) = string(value, N + 1)?;
    (!cut).then(|| <[u8; N]>::try_from(bytes).ok())?
}

/// What stands between quotes; with `-xx` all of it is escaped.
fn quoted(text: &str) -> Option<String> {
    string(text, 64).and_then(|(bytes, _)| String::from_utf8(bytes).ok())
}

/// Both ends of a socket as `-yy` shows them: `TCP:[10.77.0.2:13306->10.77.0.1:60563]`, `TCPv6:[[::1]:3306->[::1]:4]`.
pub(super) fn ends(note: &str) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let (proto, rest) = note.split_once(":[")?;
    if !proto.starts_with("TCP") && !proto.starts_with("UDP") {
        return None;
    }
    let inner = rest.strip_suffix(']')?;
    let (local, peer) = inner.split_once("->").map_or((inner, None), |(l, p)| (l, Some(p)));
    let local = socket(local)?;
    Some((local, peer.and_then(socket)))
}

fn socket(text: &str) -> Option<SocketAddr> {
    if let Ok(parsed) = text.parse() {
        return Some(parsed);
    }
    // Without brackets: `::1:3306`.
    let (ip, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(ip.trim_matches(['[', ']']).parse::<IpAddr>().ok()?, port.parse().ok()?))
}

/// One message of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// As far as it is shown.
    pub bytes: Vec<u8>,
    /// strace left something of it out (`-s`).
    pub cut: bool,
    /// Length of what was sent or received (`msg_len`), where strace shows it.
    pub msg_len: Option<u32>,
    /// Length of its buffers: of what is sent, its own.
    pub iov_len: Option<u32>,
}

/// The buffers of `msg_iov` in every message of a `sendmsg`, `sendmmsg`, `recvmsg` or `recvmmsg`, or of `writev`.
pub(super) fn messages(text: &str) -> Vec<Shown> {
    if text.starts_with("[{iov_base=") {
        return vec![buffers(text)];
    }
    if text.starts_with('[') {
        return members(text).into_iter().map(message).collect();
    }
    vec![message(text)]
}

fn message(text: &str) -> Shown {
    let header = field(text, "msg_hdr").unwrap_or(text);
    // strace 4: msg_iov(1)=[…].
    let iov =
        members(header).into_iter().find_map(|m| m.strip_prefix("msg_iov")?.split_once('=').map(|(_, v)| v));
    let msg_len = field(text, "msg_len").and_then(int).and_then(|n| u32::try_from(n).ok());
    Shown { msg_len, ..iov.map(buffers).unwrap_or_default() }
}

fn buffers(iov: &str) -> Shown {
    let mut shown = Shown::default();
    let mut iov_len = Some(0_u32);
    for buffer in members(iov) {
        let len = field(buffer, "iov_len").or_else(|| members(buffer).get(1).copied());
        let len = len.and_then(int).and_then(|n| u32::try_from(n).ok());
        iov_len = iov_len.zip(len).map(|(sum, len)| sum.saturating_add(len));
        let base = field(buffer, "iov_base").or_else(|| members(buffer).first().copied());
        let Some((bytes, cut)) = base.and_then(|base| string(base, abi::PAYLOAD_MAX)) else {
            shown.cut = true;
            continue;
        };
        // Behind what is cut nothing follows on.
        if !shown.cut && shown.bytes.len() < abi::PAYLOAD_MAX {
            shown.bytes.extend(bytes);
        }
        shown.cut |= cut;
    }
    shown.bytes.truncate(abi::PAYLOAD_MAX);
    shown.iov_len = iov_len.filter(|len| *len > 0);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> ([u8; 4], u16) {
        let named = sockaddr(text).unwrap();
        let addr = named.addr.unwrap_or_else(|| panic!("{text}"));
        assert_eq!((addr.family, addr.ip[10..12].to_vec()), (2, vec![0xff, 0xff]), "{text}");
        (*addr.ip.last_chunk().unwrap(), addr.port)
    }

    #[test]
    fn the_same_address_in_every_spelling() {
        for text in [
            r#"{sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.77.53.2")}"#,
            r#"{sin_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.77.53.2")}"#,
            r#"{sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("\x31\x30\x2e\x37\x37\x2e\x35\x33\x2e\x32")}"#,
            r#"{sa_family=0x2, sin_port="\x00\x35", sin_addr="\x0a\x4d\x35\x02"}"#,
            r#"{sa_family=0x2 /* AF_INET */, sin_port="\x00\x35" /* htons(53) */, sin_addr="\x0a\x4d\x35\x02" /* inet_addr("10.77.53.2") */}"#,
        ] {
            assert_eq!(v4(text), ([10, 77, 53, 2], 53), "{text}");
        }
        for text in [
            r#"{sa_family=AF_INET6, sin6_port=htons(53), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "fe80::1", &sin6_addr), sin6_scope_id=3}"#,
            r#"{sa_family=0xa, sin6_port="\x00\x35", sin6_flowinfo="\x00\x00\x00\x00", sin6_addr="\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", sin6_scope_id=3}"#,
        ] {
            let addr = sockaddr(text).unwrap().addr.unwrap_or_else(|| panic!("{text}"));
            assert_eq!((addr.family, addr.port, addr.ip[0], addr.ip[15], addr.scope), (10, 53, 0xfe, 1, 3));
        }
    }

    #[test]
    fn of_an_address_that_was_written_over_the_port_is_left() {
        for ip in ["10.9.x.54", "XXX.XXX.XXX.XXX", "10.9.0.***", ""] {
            let text = format!(r#"{{sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("{ip}")}}"#);
            assert_eq!(sockaddr(&text), Some(Named { port: Some(53), ..Named::default() }), "{text}");
        }
        let text = r#"{sa_family=XXX, sin_port=htons(XX), sin_addr=inet_addr("10.9.0.54")}"#;
        assert_eq!(sockaddr(text), None);
        assert_eq!(sockaddr("{sa_family=AF_INET, <redacted>}"), Some(Named::default()));
    }

    #[test]
    fn unix_sockets_and_what_is_no_address() {
        let unix = sockaddr(r#"{sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}"#).unwrap();
        assert_eq!(
            (unix.addr_or_none().family, unix.path.as_slice()),
            (1, b"/var/run/nscd/socket".as_slice())
        );
        let unix = sockaddr(r#"{sa_family=AF_UNIX, sun_path=@"hidden"}"#).unwrap();
        assert_eq!(unix.path, b"\0hidden");
        assert_eq!(sockaddr("NULL"), None);
        // Cut: that it is an address is all there is to know.
        assert_eq!(sockaddr("{sa_family=AF_INET, sin_port=htons(5"), Some(Named::default()));
    }

    #[test]
    fn both_ends_of_a_socket() {
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        let both = |note| ends(note).map(|(local, peer)| (local, peer.unwrap_or(local)));
        assert_eq!(
            both("TCP:[10.77.0.2:13306->10.77.0.1:60563]"),
            Some((addr("10.77.0.2:13306"), addr("10.77.0.1:60563")))
        );
        assert_eq!(both("TCPv6:[[::1]:3306->[::1]:5]"), Some((addr("[::1]:3306"), addr("[::1]:5"))));
        assert_eq!(ends("TCP:[0.0.0.0:13306]"), Some((addr("0.0.0.0:13306"), None)));
        assert_eq!(ends("UDP:[93022]"), None);
        assert_eq!(ends("/etc/hosts"), None);
    }

    #[test]
    fn messages_of_sendmmsg_and_writev() {
        let mmsg = r#"[{msg_hdr={msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="\1a", iov_len=2}], msg_iovlen=1, msg_controllen=0, msg_flags=0}, msg_len=2}, {msg_hdr={msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="b", iov_len=1}, {iov_base="c", iov_len=1}], msg_iovlen=2, msg_controllen=0, msg_flags=0}, msg_len=2}]"#;
        let shown = |text: &str| {
            let all = messages(text).into_iter();
            all.map(|m| (m.bytes, m.msg_len, m.iov_len, m.cut)).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(mmsg),
            [(b"\x01a".to_vec(), Some(2), Some(2), false), (b"bc".to_vec(), Some(2), Some(2), false)]
        );
        let writev = r#"[{iov_base="\0(", iov_len=2}, {iov_base="x", iov_len=1}]"#;
        assert_eq!(shown(writev), [(b"\0(x".to_vec(), None, Some(3), false)]);
        let sendmsg = r#"{msg_name=NULL, msg_iov=[{iov_base="q"..., iov_len=40}], msg_iovlen=1}"#;
        assert_eq!(shown(sendmsg), [(b"q".to_vec(), None, Some(40), true)]);
    }
}
