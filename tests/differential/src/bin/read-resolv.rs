//! Reads resolv.conf with the real glibc: one text a line comes in (JSON, a list of bytes), one [`Settings`] a line goes out. In namespaces of its
//! own; needs root. With READ_RESOLV_CPU_SECONDS the kernel ends it after so much CPU time.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_ushort, c_void};
use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wrapwatch_differential::resolver::Settings;
use wrapwatch_differential::world::move_away;

/// `struct __res_state` of glibc (bits/types/res_state.h), whose layout its ABI fixes.
#[repr(C)]
struct State {
    retrans: c_int,
    retry: c_int,
    options: c_ulong,
    nscount: c_int,
    nsaddr_list: [libc::sockaddr_in; 3],
    id: c_ushort,
    dnsrch: [*mut c_char; 7],
    defdname: [c_char; 256],
    pfcode: c_ulong,
    /// `ndots` in the low four bits.
    bits: c_uint,
    sort_list: [[u32; 2]; 10],
    qhook: *mut c_void,
    rhook: *mut c_void,
    res_h_errno: c_int,
    vcsock: c_int,
    flags: c_uint,
    ext: Extension,
}

/// `_u._ext`.
#[repr(C)]
struct Extension {
    nscount: u16,
    nsmap: [u16; 3],
    nssocks: [c_int; 3],
    nscount6: u16,
    nsinit: u16,
    nsaddrs: [*mut libc::sockaddr_in6; 3],
    initstamp: [c_uint; 2],
}

const RES_USEVC: c_ulong = 0x0000_0008;
const RES_ROTATE: c_ulong = 0x0000_4000;
const RES_NOAAAA: c_ulong = 0x0800_0000;

unsafe extern "C" {
    fn __res_ninit(state: *mut State) -> c_int;
    fn __res_nclose(state: *mut State);
}

fn settings(state: &State) -> Settings {
    let count = usize::try_from(state.nscount).unwrap_or(0);
    let nameserver = |index: usize| -> Option<IpAddr> {
        let v4 = state.nsaddr_list.get(index)?;
        if c_int::from(v4.sin_family) == libc::AF_INET {
            return Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr))));
        }
        // SAFETY: null, or an address that res_ninit made and res_nclose has not freed yet.
        let v6 = unsafe { state.ext.nsaddrs.get(index)?.as_ref() }?;
        Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
    };
    // SAFETY: the list ends at the first null pointer; the others are C strings within the state.
    let domain = |pointer: &*mut c_char| unsafe { CStr::from_ptr(*pointer) }.to_bytes().to_vec();
    Settings {
        nameservers: (0..count).filter_map(nameserver).collect(),
        timeout_s: state.retrans,
        attempts: state.retry,
        ndots: state.bits & 0xf,
        rotate: state.options & RES_ROTATE != 0,
        use_vc: state.options & RES_USEVC != 0,
        no_aaaa: state.options & RES_NOAAAA != 0,
        search: state.dnsrch.iter().take_while(|pointer| !pointer.is_null()).map(domain).collect(),
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(seconds) = std::env::var("READ_RESOLV_CPU_SECONDS").ok().and_then(|text| text.parse().ok()) {
        let limit = libc::rlimit { rlim_cur: seconds, rlim_max: seconds };
        // SAFETY: a valid structure.
        unsafe { libc::setrlimit(libc::RLIMIT_CPU, &raw const limit) };
    }
    move_away("box", &[("host.conf", "multi on\n")])?;
    for line in std::io::stdin().lock().lines() {
        let text: Vec<u8> = serde_json::from_str(&line?)?;
        std::fs::write("/etc/resolv.conf", text)?;
        // SAFETY: an all-zero state is what res_ninit(3) wants; it is closed before it goes.
        let settings = unsafe {
            let mut state: State = std::mem::zeroed();
            if __res_ninit(&raw mut state) != 0 {
                return Err("res_ninit failed".into());
            }
            let settings = settings(&state);
            __res_nclose(&raw mut state);
            settings
        };
        println!("{}", serde_json::to_string(&settings)?);
    }
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("read-resolv: {error}");
        std::process::exit(1);
    }
}
