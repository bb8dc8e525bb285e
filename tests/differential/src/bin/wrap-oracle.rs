//! Runs wrapper checks in the real libwrap (`libwrap.so.0`, loaded at run time, so that building needs no package).
//!
//! The functions below with C names take the place of glibc's (and of two of libwrap's own) for the calls libwrap makes: the executable's
//! symbols come first when the library is bound. So names and users are what the case says, nothing is executed, and every call is
//! written down together with `tcpd_context`, the rule libwrap is at. Address parsing and printing stay glibc's.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use wrapwatch_differential::libwrap::{Asked, Context, Libwrap};
use wrapwatch_differential::{Answer, Case, Event, TableText, What};

/// The process id that a forked aclexec command would have.
const CHILD: libc::pid_t = 0x7fff_1234;

/// Everything the stand-ins need; the oracle has one thread.
#[derive(Default)]
struct World {
    case: Option<Case>,
    events: Vec<Event>,
    directory: PathBuf,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
    static CONTEXT: Cell<*const Context> = const { Cell::new(null()) };
    static OUT: RefCell<Option<File>> = const { RefCell::new(None) };
}

fn note(what: What, text: String) {
    let context = context();
    WORLD.with_borrow_mut(|world| world.events.push(Event { what, text, context }));
}

fn context() -> Option<(bool, u32)> {
    let context = CONTEXT.get();
    if context.is_null() {
        return None;
    }
    // SAFETY: the pointer is libwrap's `tcpd_context`, which lives as long as the library, and libwrap runs in this thread only.
    let Context { file, line } = unsafe { context.read() };
    if file.is_null() {
        return None;
    }
    // SAFETY: libwrap points it at the table's path, a C string.
    let file = unsafe { CStr::from_ptr(file) };
    Some((file.to_bytes().ends_with(b"/hosts.deny"), u32::try_from(line).unwrap_or(0)))
}

fn ask<T>(question: impl FnOnce(&Case) -> T) -> Option<T> {
    WORLD.with_borrow(|world| world.case.as_ref().map(question))
}

/// The next definition of a function: glibc's, for the cases the stand-in leaves to it.
struct Real(&'static CStr, OnceLock<usize>);

impl Real {
    const fn new(name: &'static CStr) -> Self {
        Self(name, OnceLock::new())
    }

    fn get(&self) -> *mut c_void {
        // SAFETY: dlsym only reads the name.
        let find = || unsafe { libc::dlsym(libc::RTLD_NEXT, self.0.as_ptr()) }.expose_provenance();
        std::ptr::with_exposed_provenance_mut(*self.1.get_or_init(find))
    }
}

static GETNAMEINFO: Real = Real::new(c"getnameinfo");
static GETADDRINFO: Real = Real::new(c"getaddrinfo");
static FOPEN: Real = Real::new(c"fopen");
static FCLOSE: Real = Real::new(c"fclose");

/// # Safety
/// `text` is null or a C string.
unsafe fn string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `address` points at a socket address of its family's size.
unsafe fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise; only the size the family has is read.
    unsafe {
        match c_int::from((*address).sa_family) {
            libc::AF_INET => {
                let v4 = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr))))
            }
            libc::AF_INET6 => {
                let v6 = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
            }
            _ => None,
        }
    }
}

type GetNameInfo = unsafe extern "C" fn(
    *const libc::sockaddr,
    libc::socklen_t,
    *mut c_char,
    libc::socklen_t,
    *mut c_char,
    libc::socklen_t,
    c_int,
) -> c_int;
type GetAddrInfo = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const libc::addrinfo,
    *mut *mut libc::addrinfo,
) -> c_int;

/// Names of addresses.
///
/// # Safety
/// As getnameinfo(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getnameinfo(
    address: *const libc::sockaddr,
    len: libc::socklen_t,
    host: *mut c_char,
    host_len: libc::socklen_t,
    service: *mut c_char,
    service_len: libc::socklen_t,
    flags: c_int,
) -> c_int {
    if flags & libc::NI_NUMERICHOST != 0 {
        // SAFETY: glibc's function has this type; the arguments are the caller's.
        return unsafe {
            let real: GetNameInfo = std::mem::transmute(GETNAMEINFO.get());
            real(address, len, host, host_len, service, service_len, flags)
        };
    }
    // SAFETY: the caller passes a socket address.
    let Some(address) = (unsafe { ip(address) }) else { return libc::EAI_FAMILY };
    note(What::Reverse, address.to_string());
    let name =
        ask(|case| case.names.iter().find(|(of, _)| *of == address).map(|(_, name)| name.clone())).flatten();
    let Some(name) = name.and_then(|name| CString::new(name).ok()) else { return libc::EAI_NONAME };
    let bytes = name.as_bytes_with_nul();
    if bytes.len() > host_len as usize {
        return libc::EAI_OVERFLOW;
    }
    // SAFETY: `host` has room for `host_len` bytes.
    unsafe { host.copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len()) };
    0
}

/// Addresses of names.
///
/// # Safety
/// As getaddrinfo(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
) -> c_int {
    // SAFETY: glibc's function has this type.
    let real: GetAddrInfo = unsafe { std::mem::transmute(GETADDRINFO.get()) };
    // SAFETY: the caller's hints.
    let (flags, family) = unsafe { hints.as_ref() }.map_or((0, 0), |hints| (hints.ai_flags, hints.ai_family));
    if flags & libc::AI_NUMERICHOST != 0 {
        // SAFETY: the arguments are the caller's.
        return unsafe { real(node, service, hints, result) };
    }
    // SAFETY: the caller's C string.
    let name = unsafe { string(node) };
    note(What::Forward, name.clone());
    let ipv6 = family == libc::AF_INET6;
    let answer = ask(|case| {
        case.addresses
            .iter()
            .find(|(of, v6, _)| *of == name && *v6 == ipv6)
            .map(|(_, _, answer)| answer.clone())
    });
    let Some(answer) = answer.flatten() else { return libc::EAI_NONAME };
    let mut head: *mut libc::addrinfo = null_mut();
    for address in answer.addresses.iter().rev() {
        let Ok(text) = CString::new(address.to_string()) else { continue };
        // SAFETY: all-zero hints are valid; each list node comes from glibc, and freeaddrinfo(3) frees a list node by node.
        unsafe {
            let mut numeric: libc::addrinfo = std::mem::zeroed();
            numeric.ai_flags = libc::AI_NUMERICHOST;
            numeric.ai_socktype = libc::SOCK_STREAM;
            let mut node = null_mut();
            if real(text.as_ptr(), null(), &raw const numeric, &raw mut node) == 0 {
                (*node).ai_next = head;
                head = node;
            }
        }
    }
    if head.is_null() {
        return libc::EAI_NONAME;
    }
    if let Some(canonical) = answer.canonical.and_then(|name| CString::new(name).ok()) {
        // SAFETY: strdup's copy is freed by freeaddrinfo(3).
        unsafe { (*head).ai_canonname = libc::strdup(canonical.as_ptr()) };
    }
    // SAFETY: the caller's place for the result.
    unsafe { *result = head };
    0
}

/// Netgroups.
///
/// # Safety
/// As innetgr(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn innetgr(
    group: *const c_char,
    host: *const c_char,
    _user: *const c_char,
    _domain: *const c_char,
) -> c_int {
    // SAFETY: the caller's C strings.
    let (group, host) = unsafe { (string(group), string(host)) };
    let member = ask(|case| case.netgroups.contains(&(group.clone(), host)));
    note(What::Netgroup, group);
    c_int::from(member == Some(true))
}

/// libwrap's ident client.
///
/// # Safety
/// `user` has room for 128 bytes, as libwrap's callers give it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rfc931(_theirs: *mut libc::sockaddr, _ours: *mut libc::sockaddr, user: *mut c_char) {
    note(What::Ident, String::new());
    let name = ask(|case| case.user.clone()).flatten().unwrap_or_else(|| "unknown".to_owned());
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: 127 bytes and a NUL.
    unsafe {
        libc::strncpy(user, name.as_ptr(), 127);
        user.add(127).write(0);
    }
}

/// libwrap's way to run a spawn option's command.
///
/// # Safety
/// `command` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shell_cmd(command: *const c_char) {
    // SAFETY: the caller's C string.
    note(What::Spawn, unsafe { string(command) });
}

/// aclexec's fork: there is no child.
#[unsafe(no_mangle)]
pub extern "C" fn fork() -> libc::pid_t {
    note(What::Aclexec, String::new());
    CHILD
}

/// aclexec's wait.
///
/// # Safety
/// As wait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wait(status: *mut c_int) -> libc::pid_t {
    let success = ask(|case| case.aclexec) == Some(true);
    // SAFETY: the caller's place for the status.
    unsafe { *status = if success { 0 } else { 1 << 8 } };
    CHILD
}

/// twist's exec: the process would now be a shell. Says so and ends.
///
/// # Safety
/// As execl(3), called with `sh -c command`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execl(
    _path: *const c_char,
    _sh: *const c_char,
    _c: *const c_char,
    command: *const c_char,
    _end: *const c_char,
) -> c_int {
    // SAFETY: the caller's C string.
    note(What::Twist, unsafe { string(command) });
    end_without_return();
}

/// libwrap sleeps only before it ends the process.
#[unsafe(no_mangle)]
pub extern "C" fn sleep(_seconds: c_uint) -> c_uint {
    note(What::Exit, String::new());
    end_without_return();
}

fn end_without_return() -> ! {
    answer(None);
    // SAFETY: nothing of this process needs cleaning up, and libwrap's frames are to be left.
    unsafe { libc::_exit(0) }
}

/// The umask option would change what this process creates.
#[unsafe(no_mangle)]
pub extern "C" fn umask(_mask: libc::mode_t) -> libc::mode_t {
    0o022
}

/// The nice option would slow this process down.
#[unsafe(no_mangle)]
pub extern "C" fn nice(_by: c_int) -> c_int {
    0
}

/// Files that rules name are kept under other names.
///
/// # Safety
/// As fopen(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    // SAFETY: glibc's function has this type.
    let real: unsafe extern "C" fn(*const c_char, *const c_char) -> *mut libc::FILE =
        unsafe { std::mem::transmute(FOPEN.get()) };
    // SAFETY: the caller's C string.
    let name = unsafe { string(path) };
    let index = ask(|case| case.files.iter().position(|(file, _)| *file == name)).flatten();
    let other = index.and_then(|index| {
        let path = WORLD.with_borrow(|world| world.directory.join(format!("file{index}")));
        CString::new(path.into_os_string().into_encoded_bytes()).ok()
    });
    let path = other.as_ref().map_or(path, |other| other.as_ptr());
    // SAFETY: C strings, the caller's or ours.
    unsafe { real(path, mode) }
}

/// The close of a table: `tcpd_context` says where reading stopped.
///
/// # Safety
/// As fclose(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fclose(file: *mut libc::FILE) -> c_int {
    note(What::Close, String::new());
    // SAFETY: glibc's function has this type; the stream is the caller's.
    unsafe {
        let real: unsafe extern "C" fn(*mut libc::FILE) -> c_int = std::mem::transmute(FCLOSE.get());
        real(file)
    }
}

/// libwrap's messages.
///
/// # Safety
/// As vsyslog(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vsyslog_chk(
    _priority: c_int,
    _flag: c_int,
    format: *const c_char,
    arguments: *mut c_void,
) {
    unsafe extern "C" {
        fn vsnprintf(
            buffer: *mut c_char,
            size: usize,
            format: *const c_char,
            arguments: *mut c_void,
        ) -> c_int;
    }
    let mut buffer = [0u8; 16384];
    // SAFETY: the format and its arguments are the caller's; a va_list parameter is a pointer on the ABIs Debian builds for here.
    let text = unsafe {
        vsnprintf(buffer.as_mut_ptr().cast(), buffer.len(), format, arguments);
        string(buffer.as_ptr().cast())
    };
    note(What::Warn, text);
}

fn answer(allowed: Option<bool>) {
    let events = WORLD.with_borrow_mut(|world| std::mem::take(&mut world.events));
    let Ok(mut line) = serde_json::to_vec(&Answer { allowed, events }) else { return };
    line.push(b'\n');
    OUT.with_borrow_mut(|out| {
        if let Some(out) = out
            && out.write_all(&line).is_err()
        {
            std::process::exit(1);
        }
    });
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    // Every case writes its tables: keep them off the disk where that is possible.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    WORLD.with_borrow_mut(|world| directory.path().clone_into(&mut world.directory));
    let libwrap = Libwrap::load()?;
    CONTEXT.set(libwrap.context);
    // twist closes descriptors 0 to 2: keep the real ones elsewhere.
    let keep = |fd: c_int| -> std::io::Result<File> {
        // SAFETY: dup'ing makes a descriptor nobody else owns.
        unsafe {
            match libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) {
                -1 => Err(std::io::Error::last_os_error()),
                fd => Ok(File::from_raw_fd(fd)),
            }
        }
    };
    let input = BufReader::new(keep(0)?);
    OUT.set(Some(keep(1)?));
    // Something keepalive and linger can be set on.
    let mut files = Vec::new();
    for line in input.lines() {
        let case: Case = serde_json::from_str(&line?)?;
        let mut tables = [CString::default(), CString::default()];
        for ((table, name), slot) in
            [(&case.allow, "hosts.allow"), (&case.deny, "hosts.deny")].into_iter().zip(&mut tables)
        {
            let mut path = directory.path().join(name);
            let _ = std::fs::remove_file(&path);
            match table {
                TableText::Missing => {}
                TableText::Text(text) => std::fs::write(&path, text)?,
                TableText::Unreadable => {
                    let file = directory.path().join("a-file");
                    std::fs::write(&file, b"")?;
                    path = file.join(name);
                }
            }
            *slot = CString::new(path.into_os_string().into_encoded_bytes())?;
        }
        if case.files != files {
            for (index, (_, text)) in case.files.iter().enumerate() {
                std::fs::write(directory.path().join(format!("file{index}")), text)?;
            }
            files.clone_from(&case.files);
        }
        WORLD.with_borrow_mut(|world| world.case = Some(case.clone()));
        // Its own for each: banners that nobody reads would fill one.
        let (socket, _other) = std::os::unix::net::UnixStream::pair()?;
        // The oracle counts as a resident process from its first check on, unless the case says otherwise.
        let request = Asked {
            daemon: &case.daemon,
            client: case.client.as_ref(),
            server: case.server.as_ref(),
            resident: !case.first,
        };
        let allowed = libwrap.check(&request, socket.as_raw_fd(), &tables);
        WORLD.with_borrow_mut(|world| world.case = None);
        answer(Some(allowed));
    }
    Ok(())
}

fn main() {
    // The linker must not drop what only libwrap calls.
    std::hint::black_box([
        getnameinfo as *const c_void,
        getaddrinfo as *const c_void,
        innetgr as *const c_void,
        rfc931 as *const c_void,
        shell_cmd as *const c_void,
        fork as *const c_void,
        wait as *const c_void,
        execl as *const c_void,
        sleep as *const c_void,
        umask as *const c_void,
        nice as *const c_void,
        fopen as *const c_void,
        fclose as *const c_void,
        __vsyslog_chk as *const c_void,
    ]);
    if let Err(error) = serve() {
        eprintln!("wrap-oracle: {error}");
        std::process::exit(1);
    }
}
