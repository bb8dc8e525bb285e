//! Socket addresses and messages in strace's notation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use wrapwatch_common::records as abi;

use super::text::{field, int, members, split, string};
use crate::trace::encode::{self, AF_UNIX};

/// A socket address, and a unix socket's path (an abstract one begins with a NUL). `None` for `NULL` and what is cut.
pub(super) fn sockaddr(text: &str) -> Option<(abi::Addr, Vec<u8>)> {
    let family = field(text, "sa_family")?;
    let port = |name| {
        let port = field(text, name)?.strip_prefix("htons(")?.strip_suffix(')')?;
        port.parse::<u16>().ok()
    };
    match family {
        "AF_INET" => {
            let ip = field(text, "sin_addr")?.strip_prefix("inet_addr(")?.strip_suffix(')')?;
            let ip: Ipv4Addr = quoted(ip)?.parse().ok()?;
            Some((encode::addr(SocketAddr::from((ip, port("sin_port")?))), Vec::new()))
        }
        "AF_INET6" => {
            // `inet_pton(AF_INET6, "::1", &sin6_addr)`, older: `sin6_addr=…` the same way.
            let ip = members(text).into_iter().find_map(|member| {
                let inner = member.strip_prefix("sin6_addr=").unwrap_or(member);
                split(inner.strip_prefix("inet_pton(")?.strip_suffix(')')?).get(1).copied()
            })?;
            let ip: Ipv6Addr = quoted(ip)?.parse().ok()?;
            let scope = field(text, "sin6_scope_id").and_then(int).and_then(|n| u32::try_from(n).ok());
            let sock = SocketAddrV6::new(ip, port("sin6_port")?, 0, scope.unwrap_or(0));
            Some((encode::addr(SocketAddr::V6(sock)), Vec::new()))
        }
        "AF_UNIX" | "AF_LOCAL" => {
            let mut path = Vec::new();
            if let Some(text) = field(text, "sun_path") {
                // An abstract name is written @"name".
                if text.starts_with('@') {
                    path.push(0);
                }
                path.extend(string(text, abi::PATH_MAX)?.0);
            }
            Some((abi::Addr { family: AF_UNIX, ..encode::NO_ADDR }, path))
        }
        "AF_UNSPEC" => Some((encode::NO_ADDR, Vec::new())),
        _ => None,
    }
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

/// The buffers of `msg_iov` in every message of a `sendmsg`, `sendmmsg`, `recvmsg` or `recvmmsg`, or of `writev`: bytes,
/// and the length that strace shows where it shows one.
pub(super) fn messages(text: &str) -> Vec<(Vec<u8>, Option<u32>)> {
    if text.starts_with("[{iov_base=") {
        return vec![(buffers(text), None)];
    }
    if text.starts_with('[') {
        return members(text).into_iter().map(message).collect();
    }
    vec![message(text)]
}

fn message(text: &str) -> (Vec<u8>, Option<u32>) {
    let header = field(text, "msg_hdr").unwrap_or(text);
    // strace 4: msg_iov(1)=[…].
    let iov =
        members(header).into_iter().find_map(|m| m.strip_prefix("msg_iov")?.split_once('=').map(|(_, v)| v));
    let len = field(text, "msg_len").and_then(int).and_then(|n| u32::try_from(n).ok());
    (iov.map(buffers).unwrap_or_default(), len)
}

fn buffers(iov: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for buffer in members(iov) {
        let base = field(buffer, "iov_base").or_else(|| members(buffer).first().copied());
        let Some((bytes, cut)) = base.and_then(|base| string(base, abi::PAYLOAD_MAX)) else { break };
        out.extend(bytes);
        if cut || out.len() >= abi::PAYLOAD_MAX {
            break;
        }
    }
    out.truncate(abi::PAYLOAD_MAX);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_addresses_of_every_family() {
        let (v4, _) =
            sockaddr(r#"{sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.77.53.2")}"#).unwrap();
        assert_eq!((v4.family, v4.port, &v4.ip[10..]), (2, 53, &[0xff, 0xff, 10, 77, 53, 2][..]));
        let (v6, _) = sockaddr(
            r#"{sa_family=AF_INET6, sin6_port=htons(53), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "fe80::1", &sin6_addr), sin6_scope_id=3}"#,
        )
        .unwrap();
        assert_eq!((v6.family, v6.port, v6.ip[0], v6.ip[15], v6.scope), (10, 53, 0xfe, 1, 3));
        let (unix, path) = sockaddr(r#"{sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}"#).unwrap();
        assert_eq!((unix.family, path.as_slice()), (1, b"/var/run/nscd/socket".as_slice()));
        let (_, path) = sockaddr(r#"{sa_family=AF_UNIX, sun_path=@"hidden"}"#).unwrap();
        assert_eq!(path, b"\0hidden");
        let (hex, _) = sockaddr(r#"{sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("\x31\x30\x2e\x30\x2e\x30\x2e\x39")}"#).unwrap();
        assert_eq!(hex.ip[12..], [10, 0, 0, 9]);
        assert_eq!(sockaddr("NULL"), None);
        assert_eq!(sockaddr("{sa_family=AF_INET, sin_port=htons(5"), None);
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
        assert_eq!(messages(mmsg), [(b"\x01a".to_vec(), Some(2)), (b"bc".to_vec(), Some(2))]);
        let writev = r#"[{iov_base="\0(", iov_len=2}, {iov_base="x", iov_len=1}]"#;
        assert_eq!(messages(writev), [(b"\0(x".to_vec(), None)]);
        let sendmsg = r#"{msg_name=NULL, msg_iov=[{iov_base="q", iov_len=1}], msg_iovlen=1}"#;
        assert_eq!(messages(sendmsg), [(b"q".to_vec(), None)]);
    }
}
