//! libwrap's interface (`tcpd.h`, 7.6 with IPv6) and one whole check through it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicI32;

/// `STRING_LENGTH`
const STRING_LENGTH: usize = 128;
/// `RQ_FILE`
const RQ_FILE: c_int = 1;
/// `RQ_DAEMON`
const RQ_DAEMON: c_int = 2;

/// `struct host_info`
#[repr(C)]
struct HostInfo {
    name: [c_char; STRING_LENGTH],
    addr: [c_char; STRING_LENGTH],
    sin: *mut libc::sockaddr,
    unit: *mut c_void,
    request: *mut RequestInfo,
}

/// `struct request_info`. Only its size, `fd` and `sink` matter here: libwrap fills and reads the rest.
#[repr(C)]
struct RequestInfo {
    fd: c_int,
    user: [c_char; STRING_LENGTH],
    daemon: [c_char; STRING_LENGTH],
    pid: [c_char; 10],
    client: [HostInfo; 1],
    server: [HostInfo; 1],
    sink: Option<unsafe extern "C" fn(c_int)>,
    hostname: Option<unsafe extern "C" fn(*mut HostInfo)>,
    hostaddr: Option<unsafe extern "C" fn(*mut HostInfo)>,
    cleanup: Option<unsafe extern "C" fn(*mut RequestInfo)>,
    config: *mut c_void,
}

// What the C compiler makes of Debian's tcpd.h on a 64-bit machine (printed with sizeof and offsetof).
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<HostInfo>() == 280);
    assert!(size_of::<RequestInfo>() == 872);
    assert!(std::mem::offset_of!(RequestInfo, client) == 272);
    assert!(std::mem::offset_of!(RequestInfo, sink) == 832);
};

#[link(name = "wrap")]
unsafe extern "C" {
    fn request_init(request: *mut RequestInfo, ...) -> *mut RequestInfo;
    /// `fromhost` is a macro for this one.
    fn sock_host(request: *mut RequestInfo);
    fn hosts_access(request: *mut RequestInfo) -> c_int;
    fn eval_client(request: *mut RequestInfo) -> *mut c_char;
    static mut hosts_allow_table: *const c_char;
    static mut hosts_deny_table: *const c_char;
}

/// Programs that use libwrap define this; libwrap logs admitted connections of some options with it.
#[unsafe(no_mangle)]
pub(crate) static allow_severity: AtomicI32 = AtomicI32::new(libc::LOG_INFO);
/// Programs that use libwrap define this; the option `severity` in a rule changes it, hence atomic.
#[unsafe(no_mangle)]
pub(crate) static deny_severity: AtomicI32 = AtomicI32::new(libc::LOG_WARNING);

/// One wrapper check of the accepted socket `fd`, with everything that mysqld does around it up to the sink.
/// True: the client may stay.
pub(crate) fn allows(fd: c_int, daemon: &CStr) -> bool {
    let mut request = MaybeUninit::<RequestInfo>::zeroed();
    let request = request.as_mut_ptr();
    // SAFETY: `request` has libwrap's layout (asserted above) and outlives every use; request_init takes key and value pairs up
    // to a 0, each value of the type its key asks for (a string, an int). mysqld sets SIGCHLD back as well, so that libwrap's
    // waiting for a spawned command works. libwrap keeps no pointer into the request after hosts_access has returned.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        if let Some((allow, deny)) = crate::quirks::tables() {
            hosts_allow_table = allow;
            hosts_deny_table = deny;
        }
        request_init(request, RQ_DAEMON, daemon.as_ptr(), RQ_FILE, fd, 0 as c_int);
        sock_host(request);
        if hosts_access(request) != 0 {
            return true;
        }
        libc::syslog(
            libc::LOG_AUTH | libc::LOG_WARNING,
            c"refused connect from %s".as_ptr(),
            eval_client(request),
        );
        if let Some(sink) = (*request).sink {
            sink((*request).fd);
        }
    }
    false
}
