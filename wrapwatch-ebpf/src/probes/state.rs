//! What happens to sockets outside any process: handshakes, clients that leave, ICMP errors.

use wrapwatch_common::{
    abi::{PORT_DNS, PORT_IDENT},
    counters::Counter,
    maps::port_bit,
    records::{Addr, Kind, SockError, SockState},
};

use super::close;
use crate::{
    emit,
    kernel::{self, Sock},
    maps::{CONNS, NETNS, PORTS, SCRATCH_OF_STATES},
    sockaddr::Socket,
    watch::{conns, targets},
};

/// States of net/tcp_states.h.
pub const TCP_ESTABLISHED: i32 = 1;
/// The handshake is not complete.
pub const TCP_SYN_RECV: i32 = 3;
/// This side closed first.
const TCP_FIN_WAIT1: i32 = 4;
/// Gone; from ESTABLISHED directly, by a reset.
const TCP_CLOSE: i32 = 7;
/// The peer closed its side.
const TCP_CLOSE_WAIT: i32 = 8;
/// This side closed after its peer.
const TCP_LAST_ACK: i32 = 9;
/// `IPPROTO_TCP`
pub const IPPROTO_TCP: u16 = 6;

/// `inet_sock_set_state`: the socket at `sk` goes from one state to another.
#[inline(always)]
pub fn changed(socket: &impl Socket, sk: u64, old: i32, new: i32) {
    let began = old == TCP_SYN_RECV && new == TCP_ESTABLISHED;
    let left = old == TCP_ESTABLISHED && (new == TCP_CLOSE_WAIT || new == TCP_CLOSE);
    let closed = new == TCP_FIN_WAIT1 || new == TCP_LAST_ACK;
    if !(began || left || closed || new == TCP_CLOSE) {
        return;
    }
    let local_port = socket.local_port();
    if !is_listened_on(local_port) || socket.protocol() != IPPROTO_TCP {
        return;
    }
    ends_connection(sk, closed, new == TCP_CLOSE);
    // That a client leaves whose connection is over, as each does some day, is of no interest.
    if !(began || left && (conns::of_socket(sk).is_some() || !Sock(sk).is_accepted())) {
        return;
    }
    tell(socket, sk, old, new, SCRATCH_OF_STATES);
}

/// A client that left just as it was accepted, when its socket was no connection's yet, and did not wait any more.
#[inline(always)]
pub fn accepted(sk: u64) {
    let sock = Sock(sk);
    let state = i32::from(sock.state());
    if state == TCP_CLOSE_WAIT || state == TCP_CLOSE {
        tell(&sock, sk, TCP_ESTABLISHED, state, emit::own_slot());
    }
}

#[inline(always)]
fn tell(socket: &impl Socket, sk: u64, old: i32, new: i32, slot: u32) {
    let netns = kernel::netns(sk);
    if !is_of_targets(netns) {
        return;
    }
    let (local, peer) = ends(socket);
    // Not on the stack, where another record may be.
    emit::in_slot::<SockState, 0>(
        slot,
        Counter::LostSockState,
        |_| 0,
        |_, len| {
            let hdr = emit::anonymous(Kind::SockState, kernel::now(), len);
            SockState { hdr, sk, local, peer, netns, old: old as u8, new: new as u8, pad: 0 }
        },
    );
}

/// `inet_sk_error_report`: an error was queued on a socket. `error` is read only where it matters.
#[inline(always)]
pub fn failed(socket: &impl Socket, error: impl FnOnce() -> i32) {
    let port = socket.peer_port();
    if port != PORT_DNS && port != PORT_IDENT {
        return;
    }
    let (local, peer) = ends(socket);
    let record = SockError {
        hdr: emit::anonymous(Kind::SockError, kernel::now(), size_of::<SockError>()),
        local,
        peer,
        error: error(),
        protocol: u32::from(socket.protocol()),
    };
    emit::fixed(&record, Counter::LostSockError);
}

#[inline(always)]
pub fn is_listened_on(port: u16) -> bool {
    let (word, bit) = port_bit(port);
    PORTS.get(word).is_some_and(|ports| *ports & bit != 0)
}

/// Whether a target listens in this network namespace. Where one is not known, the socket's or a target's, it may be.
#[inline(always)]
fn is_of_targets(netns: u32) -> bool {
    netns == 0 || NETNS.get_ptr(netns).is_some() || NETNS.get_ptr(0).is_some()
}

/// How long a `close` may take from its beginning until its socket changes its state.
const CLOSING_NS: u64 = 1_000_000;

/// Tells the end of a connection, where its socket's end is that. Who closes is the current thread, but for a reset by the client, which comes in any thread, and after which
/// the last descriptor's closing changes no state any more.
#[inline(always)]
fn ends_connection(sk: u64, closed: bool, gone: bool) {
    let Some(conn) = conns::of_socket(sk) else { return };
    let Some(state) = CONNS.get_ptr_mut(conn) else { return };
    let thread = targets::thread();
    // SAFETY: a live map value.
    let (socket_ends, letting_go) = unsafe {
        let recently = kernel::now() - (*state).let_go_ns < CLOSING_NS;
        ((*state).socket_ends != 0, (*state).let_go_by == thread && recently)
    };
    // With data that nobody has read, closing resets.
    let closed = closed || (gone && (letting_go || conns::working_for() == Some(conn)));
    if closed && socket_ends {
        close::ended(conn);
        conns::leave(thread, conn);
    } else if gone {
        // Also where the thread that is interrupted works for it: one that closes it has told so before.
        // SAFETY: a live map value.
        unsafe { (*state).reset = 1 };
    }
}

/// This side's address, and the other's.
#[inline(always)]
pub fn ends(socket: &impl Socket) -> (Addr, Addr) {
    let family = socket.family();
    (
        Addr { ip: socket.local_ip(family), family, port: socket.local_port(), scope: 0 },
        Addr { ip: socket.peer_ip(family), family, port: socket.peer_port(), scope: 0 },
    )
}
