//! Looks a client's name up the way libwrap does (getnameinfo, then getaddrinfo), with the real glibc, in a network, mount and UTS
//! namespace of its own. Reads a [`Question`] from stdin, writes a [`Timing`] to stdout. Needs root; leaves nothing behind.

use std::io::Read;
use std::net::IpAddr;
use std::time::Instant;

use wrapwatch_differential::nameserver;
use wrapwatch_differential::resolver::{Question, Timing};
use wrapwatch_differential::took::{since, without_cpu_ns};
use wrapwatch_differential::world::move_away;

fn look_up(client: IpAddr) -> Timing {
    let (start, without_cpu) = (Instant::now(), without_cpu_ns());
    let mut host = [0u8; 1025];
    // SAFETY: all-zero socket addresses are valid; sizes are those of the types.
    let failed = unsafe {
        match client {
            IpAddr::V4(v4) => {
                let mut address: libc::sockaddr_in = std::mem::zeroed();
                address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0);
                address.sin_addr.s_addr = v4.to_bits().to_be();
                name_of((&raw const address).cast(), size_of_val(&address), &mut host)
            }
            IpAddr::V6(v6) => {
                let mut address: libc::sockaddr_in6 = std::mem::zeroed();
                address.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).unwrap_or(0);
                address.sin6_addr.s6_addr = v6.octets();
                name_of((&raw const address).cast(), size_of_val(&address), &mut host)
            }
        }
    };
    let mut timing = Timing {
        reverse: since(start, without_cpu),
        name: None,
        forward: None,
        found: false,
        queries: Vec::new(),
    };
    if failed {
        return timing;
    }
    let end = host.iter().position(|&byte| byte == 0).unwrap_or(0);
    timing.name = Some(String::from_utf8_lossy(&host[..end]).into_owned());
    let (start, without_cpu) = (Instant::now(), without_cpu_ns());
    // SAFETY: an all-zero addrinfo is a valid hint; the name is NUL-terminated.
    unsafe {
        let mut hints: libc::addrinfo = std::mem::zeroed();
        hints.ai_flags = libc::AI_PASSIVE | libc::AI_CANONNAME;
        hints.ai_family = if client.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
        hints.ai_socktype = libc::SOCK_STREAM;
        let mut result = std::ptr::null_mut();
        timing.found =
            libc::getaddrinfo(host.as_ptr().cast(), std::ptr::null(), &raw const hints, &raw mut result) == 0;
        if !result.is_null() {
            libc::freeaddrinfo(result);
        }
    }
    timing.forward = Some(since(start, without_cpu));
    timing
}

/// # Safety
/// `address` points at a socket address of `len` bytes.
unsafe fn name_of(address: *const libc::sockaddr, len: usize, host: &mut [u8; 1025]) -> bool {
    let len = libc::socklen_t::try_from(len).unwrap_or(0);
    // SAFETY: the caller's promise, and a buffer of the size given.
    unsafe {
        libc::getnameinfo(
            address,
            len,
            host.as_mut_ptr().cast(),
            1025,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        ) != 0
    }
}

fn run() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let question: Question = serde_json::from_str(&input)?;
    let mut files = vec![
        ("resolv.conf", question.resolv_conf.as_str()),
        ("hosts", question.hosts.as_str()),
        ("host.conf", "multi on\n"),
    ];
    files.extend(question.nsswitch.as_deref().map(|text| ("nsswitch.conf", text)));
    move_away(&question.hostname, &files)?;
    let seen = nameserver::start(&question)?;
    let mut timing = look_up(question.client.parse()?);
    if let Ok(seen) = seen.lock() {
        timing.queries.clone_from(&seen);
    }
    println!("{}", serde_json::to_string(&timing)?);
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("resolve-once: {error}");
        std::process::exit(1);
    }
}
