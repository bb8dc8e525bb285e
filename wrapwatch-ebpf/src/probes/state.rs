//! What happens to sockets outside any process: handshakes, clients that leave, ICMP errors.
//!
//! Layouts, the same on 5.10 to 7.2: `/sys/kernel/tracing/events/sock/{inet_sock_set_state,inet_sk_error_report}/format`. The `_v6`
//! addresses are filled for IPv4 too, v4-mapped.

use aya_ebpf::{helpers::bpf_probe_read_kernel, macros::tracepoint, programs::TracePointContext};
use wrapwatch_common::{
    counters::Counter,
    records::{Addr, Kind, SockError, SockState},
};

use crate::{
    args::field,
    emit,
    maps::{LAYOUT, PORTS},
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

#[tracepoint]
pub fn inet_sock_set_state(ctx: TracePointContext) -> u32 {
    let old: i32 = field::<_, 16>(&ctx);
    let new: i32 = field::<_, 20>(&ctx);
    let began = old == TCP_SYN_RECV && new == TCP_ESTABLISHED;
    let left = old == TCP_ESTABLISHED && (new == TCP_CLOSE_WAIT || new == TCP_CLOSE);
    if !(began || left) || field::<u16, 30>(&ctx) != IPPROTO_TCP {
        return 0;
    }
    let local_port: u16 = field::<_, 24>(&ctx);
    if PORTS.get_ptr(local_port).is_none() {
        return 0;
    }
    let family: u16 = field::<_, 28>(&ctx);
    let sk: u64 = field::<_, 8>(&ctx);
    let record = SockState {
        hdr: emit::anonymous(Kind::SockState, emit::now(), size_of::<SockState>()),
        sk,
        local: Addr { ip: ip::<40>(&ctx), family, port: local_port, scope: 0 },
        peer: Addr { ip: ip::<56>(&ctx), family, port: field::<_, 26>(&ctx), scope: 0 },
        netns: netns(sk),
        old: old as u8,
        new: new as u8,
        pad: 0,
    };
    emit::fixed(&record, Counter::LostSockState);
    0
}

#[tracepoint]
pub fn inet_sk_error_report(ctx: TracePointContext) -> u32 {
    let port: u16 = field::<_, 14>(&ctx);
    if port != 53 && port != 113 {
        return 0;
    }
    let family: u16 = field::<_, 16>(&ctx);
    let record = SockError {
        hdr: emit::anonymous(Kind::SockError, emit::now(), size_of::<SockError>()),
        local: Addr { ip: ip::<28>(&ctx), family, port: field::<_, 12>(&ctx), scope: 0 },
        peer: Addr { ip: ip::<44>(&ctx), family, port, scope: 0 },
        error: field::<_, 8>(&ctx),
        protocol: u32::from(field::<u16, 18>(&ctx)),
    };
    emit::fixed(&record, Counter::LostOther);
    0
}

/// Sixteen bytes of the context, by words that the verifier sees as aligned.
#[inline(always)]
fn ip<const OFFSET: usize>(ctx: &TracePointContext) -> [u8; 16] {
    use aya_ebpf::EbpfContext as _;
    // SAFETY: the verifier checks that the offsets lie inside the context and refuses the program otherwise; addresses there are aligned
    // to 4 bytes.
    let words = unsafe { ctx.as_ptr().byte_add(OFFSET).cast::<[u32; 4]>().read() };
    let mut ip = [0; 16];
    let mut i = 0;
    while i < 4 {
        let bytes = words[i].to_ne_bytes();
        ip[4 * i] = bytes[0];
        ip[4 * i + 1] = bytes[1];
        ip[4 * i + 2] = bytes[2];
        ip[4 * i + 3] = bytes[3];
        i += 1;
    }
    ip
}

/// Inode of the socket's network namespace; 0 where the loader does not know where it is.
#[inline(always)]
fn netns(sk: u64) -> u32 {
    let Some(layout) = LAYOUT.get(0) else { return 0 };
    if layout.net_inum == 0 {
        return 0;
    }
    // SAFETY: the helper fails on a bad address; the offsets come from the running kernel's own BTF.
    unsafe {
        let Ok(net) = bpf_probe_read_kernel((sk + u64::from(layout.sock_net)) as *const u64) else {
            return 0;
        };
        bpf_probe_read_kernel((net + u64::from(layout.net_inum)) as *const u32).unwrap_or(0)
    }
}
