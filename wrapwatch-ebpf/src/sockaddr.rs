//! Sockets' ends, and socket addresses from user memory.

use wrapwatch_common::{
    abi::{AF_INET, AF_INET6, AF_UNIX},
    records::Addr,
};

use crate::user;

/// A socket, as the hook brings it.
pub trait Socket {
    /// `IPPROTO_*`
    fn protocol(&self) -> u16;
    /// `AF_*`
    fn family(&self) -> u16;
    /// This side's port, host byte order.
    fn local_port(&self) -> u16;
    /// The other side's.
    fn peer_port(&self) -> u16;
    /// This side's address; an IPv4 one v4-mapped.
    fn local_ip(&self, family: u16) -> [u8; 16];
    /// The other side's.
    fn peer_ip(&self, family: u16) -> [u8; 16];
}

/// No address.
pub const NONE: Addr = Addr { ip: [0; 16], family: 0, port: 0, scope: 0 };

/// A unix socket's. The client's has no name, and the listener's tells nothing.
pub const LOCAL: Addr = Addr { family: AF_UNIX, ..NONE };

/// An IPv4 address as IPv6 (RFC 4291, 2.5.5.2).
#[inline(always)]
pub fn v4_mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut ip = [0; 16];
    ip[10] = 0xff;
    ip[11] = 0xff;
    ip[12] = v4[0];
    ip[13] = v4[1];
    ip[14] = v4[2];
    ip[15] = v4[3];
    ip
}

/// The address at `ptr`; [`NONE`] for a null pointer or one that cannot be read.
#[inline(always)]
pub fn read(ptr: u64) -> Addr {
    if ptr == 0 {
        return NONE;
    }
    let Some(family) = user::read::<u16>(ptr) else { return NONE };
    if family == AF_INET {
        // struct sockaddr_in: family, port, address.
        let Some(raw) = user::read::<[u8; 8]>(ptr) else { return NONE };
        let port = u16::from_be_bytes([raw[2], raw[3]]);
        Addr { ip: v4_mapped([raw[4], raw[5], raw[6], raw[7]]), family, port, scope: 0 }
    } else if family == AF_INET6 {
        // struct sockaddr_in6: family, port, flow information, address, scope.
        let Some(port) = user::read::<[u8; 2]>(ptr + 2) else { return NONE };
        let Some(ip) = user::read::<[u8; 16]>(ptr + 8) else { return NONE };
        let scope = user::read::<u32>(ptr + 24).unwrap_or(0);
        Addr { ip, family, port: u16::from_be_bytes(port), scope }
    } else {
        Addr { family, ..NONE }
    }
}

/// Size of a `struct sockaddr_in6`.
pub const SOCKADDR_IN6: usize = 28;

/// The address of which these are the first bytes.
#[inline(always)]
pub fn of(raw: &[u8; SOCKADDR_IN6]) -> Addr {
    let family = u16::from_ne_bytes([raw[0], raw[1]]);
    let port = u16::from_be_bytes([raw[2], raw[3]]);
    if family == AF_INET {
        Addr { ip: v4_mapped([raw[4], raw[5], raw[6], raw[7]]), family, port, scope: 0 }
    } else if family == AF_INET6 {
        let mut ip = [0; 16];
        ip.copy_from_slice(&raw[8..24]);
        Addr { ip, family, port, scope: u32::from_ne_bytes([raw[24], raw[25], raw[26], raw[27]]) }
    } else {
        Addr { family, ..NONE }
    }
}
