//! Makes a server behave like one that was built with libwrap: preloaded into it (`LD_PRELOAD`), this library checks every
//! accepted TCP connection with the machine's real libwrap, in the accepting thread, right after `accept`.
//!
//! What it does and in which order is what mysqld does between `accept` and handing the connection over when it is
//! built with libwrap: `signal(SIGCHLD, SIG_DFL)`, `request_init`, `fromhost`, `hosts_access`; on refusal
//! `syslog(LOG_AUTH | LOG_WARNING, "refused connect from …")`, the request's sink, `shutdown`, `close`. To the caller a
//! refused connection looks like an interrupted call (`EINTR`), with which accept loops go on at once and silently.
//!
//! Assumes glibc and libwrap 7.6 with IPv6, as Debian builds it. Unix-socket clients are not checked.
//! The daemon's name is `WRAP_DAEMON`, or else the base name of argv\[0\]. What other servers do differently can be had with
//! further variables, see [`quirks`].

mod libwrap;
mod quirks;

use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::OnceLock;

use libc::{sockaddr, socklen_t};

type Accept4 = unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t, c_int) -> c_int;

/// `accept(2)`, with the check.
///
/// # Safety
/// As for `accept(2)`: `addr` and `len` are null, or valid for what they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(listener: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int {
    type Accept = unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int;
    static REAL: OnceLock<Option<Accept>> = OnceLock::new();
    let real = REAL.get_or_init(|| {
        let found = next(c"accept");
        // SAFETY: a symbol of this name is accept(2) with this signature; a null pointer is `None` in an optional function pointer.
        unsafe { std::mem::transmute::<*mut c_void, Option<Accept>>(found) }
    });
    let Some(real) = real else { return fail(libc::ENOSYS) };
    // SAFETY: the caller's arguments, passed on unchanged.
    let fd = unsafe { real(listener, addr, len) };
    checked(fd, addr)
}

/// `accept4(2)`, with the check.
///
/// # Safety
/// As for `accept4(2)`: `addr` and `len` are null, or valid for what they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(
    listener: c_int,
    addr: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    static REAL: OnceLock<Option<Accept4>> = OnceLock::new();
    let real = REAL.get_or_init(|| {
        let found = next(c"accept4");
        // SAFETY: a symbol of this name is accept4(2) with this signature; a null pointer is `None` in an optional function pointer.
        unsafe { std::mem::transmute::<*mut c_void, Option<Accept4>>(found) }
    });
    let Some(real) = real else { return fail(libc::ENOSYS) };
    if quirks::plain_accept() {
        // SAFETY: the caller's arguments, passed on unchanged.
        let fd = unsafe { accept(listener, addr, len) };
        if fd >= 0 && flags & libc::SOCK_CLOEXEC != 0 {
            // SAFETY: the descriptor is the one that accept has just given.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        return fd;
    }
    // SAFETY: the caller's arguments, passed on unchanged.
    let fd = unsafe { real(listener, addr, len, flags) };
    checked(fd, addr)
}

/// The next definition of a function in the order of loading.
fn next(name: &CStr) -> *mut c_void {
    // SAFETY: `name` is terminated; dlsym only looks up.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: glibc gives the address of the calling thread's errno, always valid.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// What the caller of `accept` gets for `fd`: itself where it may stay, else -1.
fn checked(fd: c_int, addr: *const sockaddr) -> c_int {
    if fd < 0 || !is_tcp(fd, addr) || libwrap::allows(fd, daemon()) {
        return fd;
    }
    // SAFETY: `fd` is the socket that accept returned, and nobody else has seen it yet.
    unsafe {
        libc::shutdown(fd, libc::SHUT_RDWR);
        libc::close(fd);
    }
    fail(libc::EINTR)
}

/// Whether the peer is one that a server with libwrap checks. A server knows it by its listener; here the peer's address tells,
/// which costs no system call where the caller asked for it.
fn is_tcp(fd: c_int, addr: *const sockaddr) -> bool {
    let family = if addr.is_null() {
        domain(fd)
    } else {
        // SAFETY: accept filled it in; the family is the first field of every socket address, and callers pass at least that much.
        c_int::from(unsafe { (*addr).sa_family })
    };
    family == libc::AF_INET || family == libc::AF_INET6
}

/// The socket's address family, or -1.
fn domain(fd: c_int) -> c_int {
    let mut family: c_int = -1;
    // The size of a C int, as getsockopt wants it.
    let mut len: socklen_t = 4;
    // SAFETY: the value and its length are ours and agree.
    unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, (&raw mut family).cast(), &raw mut len);
    }
    family
}

/// The name that the tables' daemon lists are matched with.
fn daemon() -> &'static CStr {
    static NAME: OnceLock<CString> = OnceLock::new();
    NAME.get_or_init(|| {
        let set = std::env::var_os("WRAP_DAEMON").map(std::os::unix::ffi::OsStringExt::into_vec);
        let name = set.or_else(argv0_base).unwrap_or_default();
        CString::new(name).unwrap_or_default()
    })
}

/// Base name of argv\[0\]. glibc's own idea of it: `std::env::args` may be empty in a library.
fn argv0_base() -> Option<Vec<u8>> {
    unsafe extern "C" {
        static program_invocation_name: *const std::ffi::c_char;
    }
    // SAFETY: glibc sets it before any code of the program runs, to a string that lives as long as the process.
    let name = unsafe {
        if program_invocation_name.is_null() {
            return None;
        }
        CStr::from_ptr(program_invocation_name)
    };
    name.to_bytes().rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec)
}
