//! Addresses as the records carry them → the standard library's.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use wrapwatch_common::abi::{AF_INET, AF_INET6, AF_UNIX};
use wrapwatch_common::records::Addr;

use crate::model::Client;

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

/// Whether it is a unix socket's.
pub const fn is_unix(addr: &Addr) -> bool {
    addr.family == AF_UNIX
}

/// The client whose address it is; `None` for other families.
pub fn client(addr: &Addr) -> Option<Client> {
    if is_unix(addr) { Some(Client::Unix) } else { socket_addr(addr).map(Client::Ip) }
}

/// The record's form of an address, for events that do not come from the kernel (imports, tests).
pub fn from_socket_addr(addr: SocketAddr) -> Addr {
    let (ip, family) = match addr.ip() {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped(), AF_INET),
        IpAddr::V6(v6) => (v6, AF_INET6),
    };
    Addr { ip: ip.octets(), family, port: addr.port(), scope: 0 }
}
