//! Made-up IP and UDP headers around a DNS message: of a message the trace has its bytes, its nameserver and its time, and not what it was sent from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Stands for the server's own address: documentation's (RFC 5737, RFC 3849), which nobody has.
pub(super) const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const HOP_LIMIT: u8 = 64;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    FromServer,
}

/// A packet that holds the beginning of a message of `full_len` bytes, and how long the whole packet was.
pub(super) fn packet(
    server: SocketAddr,
    own_port: u16,
    way: Way,
    message: &[u8],
    full_len: usize,
) -> (Vec<u8>, usize) {
    let udp_len = UDP_HEADER + full_len.max(message.len());
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let own = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(OWN_V4),
        IpAddr::V6(_) => IpAddr::V6(OWN_V6),
    };
    let own = SocketAddr::new(own, own_port);
    let (from, to) = if way == Way::ToServer { (own, server) } else { (server, own) };
    let mut packet = Vec::with_capacity(48 + message.len());
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x45, 0]);
            packet.extend(length(20 + udp_len));
            packet.extend([0, 0, 0, 0, HOP_LIMIT, UDP, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(&packet);
            packet[10..12].copy_from_slice(&sum);
        }
        (from, to) => {
            let v6 = |ip| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length(udp_len));
            packet.extend([UDP, HOP_LIMIT]);
            packet.extend(v6(from).octets());
            packet.extend(v6(to).octets());
        }
    }
    let ip_len = packet.len();
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(length(udp_len));
    // No checksum; IPv6 must have one, and of a cut message it cannot be told: any number but 0.
    packet.extend(if from.is_ipv6() { [0xff, 0xff] } else { [0, 0] });
    packet.extend(message);
    (packet, ip_len + udp_len)
}

/// The header's checksum (RFC 1071).
fn checksum(header: &[u8]) -> [u8; 2] {
    let words = header.chunks_exact(2).filter_map(|word| Some(u16::from_be_bytes(word.try_into().ok()?)));
    let sum: u32 = words.map(u32::from).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).unwrap_or(u16::MAX)).to_be_bytes()
}
