//! Reading the kernel's own structures, at the offsets that the loader found.
//!
//! They are constants by the time the verifier looks: where one is 0 the code behind it is not there, nor the helper that it calls.

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task};
use wrapwatch_common::maps::Layout;

use crate::{
    probes::state::Socket,
    sockaddr::{self, AF_INET},
};

/// See [`Layout`].
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout {
    sock_net: 0,
    net_inum: 0,
    task_run_delay: 0,
    sock_family: 0,
    sock_sport: 0,
    sock_dport: 0,
    sock_rcv_saddr: 0,
    sock_daddr: 0,
    sock_v6_rcv_saddr: 0,
    sock_v6_daddr: 0,
    sock_protocol: 0,
    sock_err: 0,
    task_signal: 0,
    signal_live: 0,
};

/// One of the offsets.
macro_rules! offset {
    ($member:ident) => {
        // SAFETY: a static's member can be read. Volatile, since the compiler would take what stands there now for the value.
        unsafe { core::ptr::addr_of!($crate::kernel::LAYOUT.$member).read_volatile() }
    };
}
pub(crate) use offset;

/// Whether the current thread, which ends, is the last of its process; false where that is not known.
#[inline(always)]
pub fn is_last_thread() -> bool {
    let (signal, live) = (offset!(task_signal), offset!(signal_live));
    if signal == 0 || live == 0 {
        return false;
    }
    // SAFETY: the helpers have no preconditions but valid addresses, which they check; the offsets come from the running kernel's own BTF.
    unsafe {
        let task = bpf_get_current_task();
        let Ok(signal) = bpf_probe_read_kernel((task + u64::from(signal)) as *const u64) else {
            return false;
        };
        // `do_exit` counts it down before it comes to the tracepoint.
        bpf_probe_read_kernel((signal + u64::from(live)) as *const i32) == Ok(0)
    }
}

/// A `struct sock`.
pub struct Sock(pub u64);

impl Sock {
    #[inline(always)]
    fn member<T: Default>(&self, offset: u32) -> T {
        // SAFETY: the helper checks the address; T is plain data for every caller (integers, arrays of them).
        unsafe { bpf_probe_read_kernel((self.0 + u64::from(offset)) as *const T) }.unwrap_or_default()
    }

    /// The error queued on it, positive.
    #[inline(always)]
    pub fn error(&self) -> i32 {
        self.member(offset!(sock_err))
    }

    #[inline(always)]
    fn ip(&self, family: u16, v4: u32, v6: u32) -> [u8; 16] {
        if family == AF_INET { sockaddr::v4_mapped(self.member(v4)) } else { self.member(v6) }
    }
}

impl Socket for Sock {
    #[inline(always)]
    fn protocol(&self) -> u16 {
        self.member(offset!(sock_protocol))
    }

    #[inline(always)]
    fn family(&self) -> u16 {
        self.member(offset!(sock_family))
    }

    #[inline(always)]
    fn local_port(&self) -> u16 {
        u16::from_be(self.member(offset!(sock_sport)))
    }

    #[inline(always)]
    fn peer_port(&self) -> u16 {
        u16::from_be(self.member(offset!(sock_dport)))
    }

    #[inline(always)]
    fn local_ip(&self, family: u16) -> [u8; 16] {
        self.ip(family, offset!(sock_rcv_saddr), offset!(sock_v6_rcv_saddr))
    }

    #[inline(always)]
    fn peer_ip(&self, family: u16) -> [u8; 16] {
        self.ip(family, offset!(sock_daddr), offset!(sock_v6_daddr))
    }
}
