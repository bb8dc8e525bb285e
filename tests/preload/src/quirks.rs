//! What servers other than the lab's do, by environment variables:
//!
//! - `WRAP_ACCEPT=plain`: they call `accept` and not `accept4`.
//! - `WRAP_FDS=N`: they have so many descriptors open that new ones are numbered from N.
//! - `WRAP_TABLES=FILE`: their tables are elsewhere. The file holds both paths, each in 256 bytes and terminated by a NUL; it is mapped, so
//!   that libwrap's variables point into it and follow when it is written to in place.
//! - `WRAP_RESOLVER=ADDRESS,ADDRESS`: their resolver is not glibc's. It asks these nameservers through one socket that is never connected, the next one
//!   when nothing came for a second. Only PTR of IPv4 addresses, which is what libwrap's `getnameinfo` comes to.

use std::env;
use std::ffi::{c_char, c_int, c_void};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::OnceLock;
use std::time::Duration;

use libc::{sockaddr, socklen_t};

/// Room of one path in the file of `WRAP_TABLES`.
const PATH_ROOM: usize = 256;
/// How long one nameserver is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// `WRAP_ACCEPT`
pub(crate) fn plain_accept() -> bool {
    static PLAIN: OnceLock<bool> = OnceLock::new();
    *PLAIN.get_or_init(|| env::var_os("WRAP_ACCEPT").is_some_and(|how| how == "plain"))
}

/// `WRAP_TABLES`: the paths of hosts.allow and hosts.deny.
pub(crate) fn tables() -> Option<(*const c_char, *const c_char)> {
    static MAPPED: OnceLock<Option<usize>> = OnceLock::new();
    let mapped = MAPPED.get_or_init(|| {
        let path = std::ffi::CString::new(env::var_os("WRAP_TABLES")?.as_bytes()).ok()?;
        // SAFETY: the path is terminated; the mapping is new, of a length that fits, and never taken away.
        let mapped = unsafe {
            let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            let mapped =
                libc::mmap(std::ptr::null_mut(), 2 * PATH_ROOM, libc::PROT_READ, libc::MAP_SHARED, fd, 0);
            libc::close(fd);
            mapped
        };
        (mapped != libc::MAP_FAILED).then_some(mapped.addr())
    });
    let allow = mapped.as_ref().copied()? as *const c_char;
    // SAFETY: the mapping has room for two paths.
    Some((allow, unsafe { allow.add(PATH_ROOM) }))
}

/// `WRAP_FDS`: takes all lower descriptors, before the program has begun.
extern "C" fn take_descriptors() {
    let Some(first) = env::var("WRAP_FDS").ok().and_then(|n| n.parse::<c_int>().ok()) else { return };
    // A spawned command is another program.
    // SAFETY: single-threaded, before main. The limit is raised as far as it may be; duplicates of standard input are closed on exec.
    unsafe {
        env::remove_var("WRAP_FDS");
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        loop {
            let fd = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 0);
            if fd < 0 || fd >= first - 1 {
                return;
            }
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = take_descriptors;

type GetNameInfo = unsafe extern "C" fn(
    *const sockaddr,
    socklen_t,
    *mut c_char,
    socklen_t,
    *mut c_char,
    socklen_t,
    c_int,
) -> c_int;

/// `getnameinfo(3)`, with another resolver where `WRAP_RESOLVER` says so.
///
/// # Safety
/// As for `getnameinfo(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getnameinfo(
    addr: *const sockaddr,
    addr_len: socklen_t,
    host: *mut c_char,
    host_len: socklen_t,
    serv: *mut c_char,
    serv_len: socklen_t,
    flags: c_int,
) -> c_int {
    static REAL: OnceLock<Option<GetNameInfo>> = OnceLock::new();
    static SERVERS: OnceLock<Vec<IpAddr>> = OnceLock::new();
    let servers = SERVERS.get_or_init(|| {
        let list = env::var("WRAP_RESOLVER").unwrap_or_default();
        list.split(',').filter_map(|server| server.parse().ok()).collect()
    });
    // SAFETY: the caller gives a socket address of this length.
    let wanted = unsafe { (!servers.is_empty()).then(|| ipv4(addr)).flatten() };
    if let Some(client) = wanted.filter(|_| flags & libc::NI_NUMERICHOST == 0) {
        let Some(name) = reverse(client, servers) else { return libc::EAI_NONAME };
        let room = (host_len as usize).saturating_sub(1);
        let len = name.len().min(room);
        // SAFETY: the caller's buffer has room for `host_len` bytes; no more than that with the NUL is written.
        unsafe {
            std::ptr::copy_nonoverlapping(name.as_ptr().cast::<c_char>(), host, len);
            host.add(len).write(0);
        }
        return 0;
    }
    let real = REAL.get_or_init(|| {
        let found = crate::next(c"getnameinfo");
        // SAFETY: a symbol of this name is getnameinfo(3) with this signature; a null pointer is `None`.
        unsafe { std::mem::transmute::<*mut c_void, Option<GetNameInfo>>(found) }
    });
    let Some(real) = real else { return libc::EAI_FAIL };
    // SAFETY: the caller's arguments, passed on unchanged.
    unsafe { real(addr, addr_len, host, host_len, serv, serv_len, flags) }
}

/// # Safety
/// `addr` points to a socket address as long as its family says.
unsafe fn ipv4(addr: *const sockaddr) -> Option<Ipv4Addr> {
    // SAFETY: the family is the first field of every socket address.
    if addr.is_null() || c_int::from(unsafe { (*addr).sa_family }) != libc::AF_INET {
        return None;
    }
    // SAFETY: this is what AF_INET says; no alignment is assumed.
    let v4 = unsafe { addr.cast::<libc::sockaddr_in>().read_unaligned() };
    Some(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr)))
}

/// Asks one server after the other through one socket that is never connected.
fn reverse(client: Ipv4Addr, servers: &[IpAddr]) -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    let [a, b, c, d] = client.octets();
    let mut query = vec![a, d, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [&d.to_string(), &c.to_string(), &b.to_string(), &a.to_string(), "in-addr", "arpa"] {
        query.push(u8::try_from(label.len()).ok()?);
        query.extend_from_slice(label.as_bytes());
    }
    // The root, PTR, IN.
    query.extend([0, 0, 12, 0, 1]);
    let mut answer = [0; 512];
    for server in servers {
        socket.send_to(&query, SocketAddr::new(*server, 53)).ok()?;
        if let Ok((len, _)) = socket.recv_from(&mut answer) {
            return name_of_ptr(answer.get(..len)?, query.len());
        }
    }
    None
}

/// The first answer's name: behind the question come two bytes of pointer, type, class, four of TTL, two of length (RFC 1035, 4.1.3).
fn name_of_ptr(message: &[u8], question_end: usize) -> Option<String> {
    let mut rest = message.get(question_end + 12..)?;
    let mut labels = Vec::new();
    while let Some((&len, tail)) = rest.split_first().filter(|(len, _)| (1..64).contains(*len)) {
        labels.push(String::from_utf8_lossy(tail.get(..usize::from(len))?).into_owned());
        rest = tail.get(usize::from(len)..)?;
    }
    // A pointer to a suffix of the question or of the zone is not followed: the lab's names are written out.
    (!labels.is_empty()).then(|| labels.join("."))
}
