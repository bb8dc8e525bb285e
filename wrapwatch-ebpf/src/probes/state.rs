//! What happens to sockets outside any process: handshakes, clients that leave, ICMP errors.

use wrapwatch_common::{
    abi::{PORT_DNS, PORT_IDENT},
    counters::Counter,
    maps::port_bit,
    records::{Addr, Kind, SockError, SockState},
};

use crate::{
    args::Socket,
    emit, kernel,
    maps::{NETNS, PORTS},
};

/// States of net/tcp_states.h.
const TCP_ESTABLISHED: i32 = 1;
/// The handshake is not complete.
const TCP_SYN_RECV: i32 = 3;
/// Gone; from ESTABLISHED directly, by a reset.
const TCP_CLOSE: i32 = 7;
/// The peer closed its side.
const TCP_CLOSE_WAIT: i32 = 8;
/// `IPPROTO_TCP`
const IPPROTO_TCP: u16 = 6;

/// `inet_sock_set_state`: the socket at `sk` goes from one state to another.
#[inline(always)]
pub fn changed(socket: &impl Socket, sk: u64, old: i32, new: i32) {
    let began = old == TCP_SYN_RECV && new == TCP_ESTABLISHED;
    let left = old == TCP_ESTABLISHED && (new == TCP_CLOSE_WAIT || new == TCP_CLOSE);
    if !(began || left) {
        return;
    }
    let local_port = socket.local_port();
    if !is_listened_on(local_port) || socket.protocol() != IPPROTO_TCP {
        return;
    }
    let netns = kernel::netns(sk);
    if !is_of_targets(netns) {
        return;
    }
    let (local, peer) = ends(socket, local_port, socket.peer_port());
    let record = SockState {
        hdr: emit::anonymous(Kind::SockState, emit::now(), size_of::<SockState>()),
        sk,
        local,
        peer,
        netns,
        old: old as u8,
        new: new as u8,
        pad: 0,
    };
    emit::fixed(&record, Counter::LostSockState);
}

/// `inet_sk_error_report`: an error was queued on a socket. `error` is read only where it matters.
#[inline(always)]
pub fn failed(socket: &impl Socket, error: impl FnOnce() -> i32) {
    let port = socket.peer_port();
    if port != PORT_DNS && port != PORT_IDENT {
        return;
    }
    let (local, peer) = ends(socket, socket.local_port(), port);
    let record = SockError {
        hdr: emit::anonymous(Kind::SockError, emit::now(), size_of::<SockError>()),
        local,
        peer,
        error: error(),
        protocol: u32::from(socket.protocol()),
    };
    emit::fixed(&record, Counter::LostSockError);
}

#[inline(always)]
fn is_listened_on(port: u16) -> bool {
    let (word, bit) = port_bit(port);
    PORTS.get(word).is_some_and(|ports| *ports & bit != 0)
}

/// Whether a target listens in this network namespace. Where one is not known, the socket's or a target's, it may be.
#[inline(always)]
fn is_of_targets(netns: u32) -> bool {
    netns == 0 || NETNS.get_ptr(netns).is_some() || NETNS.get_ptr(0).is_some()
}

#[inline(always)]
fn ends(socket: &impl Socket, local_port: u16, peer_port: u16) -> (Addr, Addr) {
    let family = socket.family();
    (
        Addr { ip: socket.local_ip(family), family, port: local_port, scope: 0 },
        Addr { ip: socket.peer_ip(family), family, port: peer_port, scope: 0 },
    )
}
