//! The real libwrap (`libwrap.so.0`, loaded at run time, so that building needs no package), by the types of its tcpd.h.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::IpAddr;
use std::ptr::null;

use crate::End;

/// A request as a server makes it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Daemon's name.
    pub daemon: &'a str,
    /// The client; none as after a failed getpeername(2).
    pub client: Option<&'a End>,
    /// The server's end.
    pub server: Option<&'a End>,
    /// Whether libwrap takes the process for one that has made checks before.
    pub resident: bool,
}

/// `struct tcpd_context`.
#[repr(C)]
#[derive(Debug)]
pub struct Context {
    /// The table's path.
    pub file: *const c_char,
    /// libwrap's number of the line.
    pub line: c_int,
}

/// `struct host_info` (tcpd.h).
#[repr(C)]
struct HostInfo {
    name: [c_char; 128],
    addr: [c_char; 128],
    sin: *mut libc::sockaddr,
    unit: *mut c_void,
    request: *mut RequestInfo,
}

/// `struct request_info` (tcpd.h).
#[repr(C)]
struct RequestInfo {
    fd: c_int,
    user: [c_char; 128],
    daemon: [c_char; 128],
    pid: [c_char; 10],
    client: HostInfo,
    server: HostInfo,
    sink: *mut c_void,
    hostname: *mut c_void,
    hostaddr: *mut c_void,
    cleanup: *mut c_void,
    config: *mut c_void,
}

/// Keys of `request_init` (tcpd.h).
const RQ_FILE: c_int = 1;
const RQ_DAEMON: c_int = 2;
const RQ_CLIENT_SIN: c_int = 6;
const RQ_SERVER_SIN: c_int = 9;

/// A socket address libwrap can keep a pointer to.
#[expect(clippy::unnecessary_box_returns, reason = "its address must not change")]
#[expect(clippy::cast_possible_truncation, reason = "address families are small numbers")]
fn socket_address(end: &End) -> Box<libc::sockaddr_in6> {
    // SAFETY: all zero is a valid socket address of either family.
    let mut out: Box<libc::sockaddr_in6> = Box::new(unsafe { std::mem::zeroed() });
    match end.address {
        IpAddr::V4(v4) => {
            let address = (&raw mut *out).cast::<libc::sockaddr_in>();
            // SAFETY: sockaddr_in is smaller than sockaddr_in6.
            unsafe {
                (*address).sin_family = libc::AF_INET as libc::sa_family_t;
                (*address).sin_port = end.port.to_be();
                (*address).sin_addr.s_addr = v4.to_bits().to_be();
            }
        }
        IpAddr::V6(v6) => {
            out.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            out.sin6_port = end.port.to_be();
            out.sin6_addr.s6_addr = v6.octets();
            out.sin6_scope_id = end.scope;
        }
    }
    out
}

/// The library's parts.
#[derive(Debug)]
pub struct Libwrap {
    request_init: unsafe extern "C" fn(*mut RequestInfo, ...) -> *mut RequestInfo,
    hosts_access: unsafe extern "C" fn(*mut RequestInfo) -> c_int,
    allow_table: *mut *const c_char,
    deny_table: *mut *const c_char,
    resident: *mut c_int,
    /// The rule that libwrap is at.
    pub context: *mut Context,
    sock_hostname: *mut c_void,
    sock_hostaddr: *mut c_void,
}

impl Libwrap {
    /// Loads it.
    pub fn load() -> Result<Self, String> {
        // SAFETY: loading libwrap runs no constructors of its own.
        let library = unsafe { libc::dlopen(c"libwrap.so.0".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return Err("cannot load libwrap.so.0: install libwrap0".to_owned());
        }
        let symbol = |name: &CStr| {
            // SAFETY: a handle from dlopen.
            let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
            if symbol.is_null() {
                Err(format!("libwrap has no {}", name.to_string_lossy()))
            } else {
                Ok(symbol)
            }
        };
        // SAFETY: the types are those of tcpd.h.
        unsafe {
            Ok(Self {
                request_init: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut RequestInfo, ...) -> *mut RequestInfo,
                >(symbol(c"request_init")?),
                hosts_access: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut RequestInfo) -> c_int,
                >(symbol(c"hosts_access")?),
                allow_table: symbol(c"hosts_allow_table")?.cast(),
                deny_table: symbol(c"hosts_deny_table")?.cast(),
                resident: symbol(c"resident")?.cast(),
                context: symbol(c"tcpd_context")?.cast(),
                sock_hostname: symbol(c"sock_hostname")?,
                sock_hostaddr: symbol(c"sock_hostaddr")?,
            })
        }
    }

    /// `hosts_access` for a request of this daemon, in a process that has made checks before (`resident`) or not. The tables are at these paths; `fd` is
    /// what options that set something on the connection are given.
    pub fn check(&self, request: &Asked<'_>, fd: c_int, tables: &[CString; 2]) -> bool {
        let daemon = CString::new(request.daemon).unwrap_or_default();
        let client = request.client.map(socket_address);
        let server = request.server.map(socket_address);
        let pointer = |address: &Option<Box<libc::sockaddr_in6>>| {
            address.as_ref().map_or(null(), |address| std::ptr::from_ref(&**address)).cast::<libc::sockaddr>()
        };
        // SAFETY: tcpd.h's struct may be all zero (request_init zeroes it); pointers given to libwrap outlive the call; this is the only
        // thread.
        unsafe {
            let mut info: RequestInfo = std::mem::zeroed();
            let init = self.request_init;
            init(
                &raw mut info,
                RQ_FILE,
                fd,
                RQ_DAEMON,
                daemon.as_ptr(),
                RQ_CLIENT_SIN,
                pointer(&client),
                RQ_SERVER_SIN,
                pointer(&server),
                0 as c_int,
            );
            info.hostname = self.sock_hostname;
            info.hostaddr = self.sock_hostaddr;
            *self.allow_table = tables[0].as_ptr();
            *self.deny_table = tables[1].as_ptr();
            *self.resident = if request.resident { 1 } else { -1 };
            (*self.context).file = null();
            (*self.context).line = 0;
            (self.hosts_access)(&raw mut info) != 0
        }
    }
}
