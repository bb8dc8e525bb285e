//! What happens to sockets outside any process: handshakes, clients that leave, ICMP errors.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use wrapwatch_common::{
    counters::Counter,
    records::{Addr, Kind, SockError, SockState},
};

use crate::{emit, kernel, maps::PORTS};

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

/// `inet_sock_set_state`: the socket at `sk` goes from one state to another.
#[inline(always)]
pub fn changed(socket: &impl Socket, sk: u64, old: i32, new: i32) {
    let began = old == TCP_SYN_RECV && new == TCP_ESTABLISHED;
    let left = old == TCP_ESTABLISHED && (new == TCP_CLOSE_WAIT || new == TCP_CLOSE);
    if !(began || left) {
        return;
    }
    let local_port = socket.local_port();
    if PORTS.get_ptr(local_port).is_none() || socket.protocol() != IPPROTO_TCP {
        return;
    }
    let (local, peer) = ends(socket, local_port, socket.peer_port());
    let record = SockState {
        hdr: emit::anonymous(Kind::SockState, emit::now(), size_of::<SockState>()),
        sk,
        local,
        peer,
        netns: netns(sk),
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
    if port != 53 && port != 113 {
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
fn ends(socket: &impl Socket, local_port: u16, peer_port: u16) -> (Addr, Addr) {
    let family = socket.family();
    (
        Addr { ip: socket.local_ip(family), family, port: local_port, scope: 0 },
        Addr { ip: socket.peer_ip(family), family, port: peer_port, scope: 0 },
    )
}

/// Inode of the socket's network namespace; 0 where the loader does not know where it is.
#[inline(always)]
fn netns(sk: u64) -> u32 {
    let (sock_net, net_inum) = (kernel::offset!(sock_net), kernel::offset!(net_inum));
    if net_inum == 0 {
        return 0;
    }
    // SAFETY: the helper fails on a bad address; the offsets come from the running kernel's own BTF.
    unsafe {
        let Ok(net) = bpf_probe_read_kernel((sk + u64::from(sock_net)) as *const u64) else {
            return 0;
        };
        bpf_probe_read_kernel((net + u64::from(net_inum)) as *const u32).unwrap_or(0)
    }
}
