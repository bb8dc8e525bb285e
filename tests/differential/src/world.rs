//! A process's own mount, network and UTS namespaces, with an `/etc` of its own: what an oracle does to it nobody else sees.

use std::ffi::CString;
use std::io::{Error, Result};

fn check(result: libc::c_int, what: &str) -> Result<()> {
    if result == 0 {
        return Ok(());
    }
    let error = Error::last_os_error();
    Err(Error::new(error.kind(), format!("{what}: {error}")))
}

/// Private namespaces, the loopback up, and the files of `/etc` that the oracle is given (name, text). Needs root.
pub fn move_away(hostname: &str, files: &[(&str, &str)]) -> Result<()> {
    let directory = CString::new("/tmp")?;
    let tmpfs = CString::new("tmpfs")?;
    let root = CString::new("/")?;
    // SAFETY: plain system calls with valid strings.
    unsafe {
        check(
            libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWUTS),
            "unshare (needs root)",
        )?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(
            libc::mount(std::ptr::null(), root.as_ptr(), std::ptr::null(), private, std::ptr::null()),
            "private mounts",
        )?;
        check(libc::mount(tmpfs.as_ptr(), directory.as_ptr(), tmpfs.as_ptr(), 0, std::ptr::null()), "tmpfs")?;
        check(libc::sethostname(hostname.as_ptr().cast(), hostname.len()), "hostname")?;
    }
    loopback_up()?;
    // An /etc of our own: files that are not there cannot be bind-mounted away.
    std::fs::create_dir("/tmp/etc")?;
    for (name, text) in files {
        std::fs::write(std::path::Path::new("/tmp/etc").join(name), text)?;
    }
    let (from, to) = (CString::new("/tmp/etc")?, CString::new("/etc")?);
    // SAFETY: as above.
    unsafe {
        check(
            libc::mount(from.as_ptr(), to.as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()),
            "bind /etc",
        )
    }
}

fn loopback_up() -> Result<()> {
    // SAFETY: an all-zero ifreq is valid; the name "lo" fits.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        #[expect(clippy::cast_possible_truncation, reason = "the kernel's flags are short")]
        let up = libc::IFF_UP as libc::c_short;
        request.ifr_ifru.ifru_flags = up;
        let result = check(libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request), "loopback up");
        libc::close(socket);
        result
    }
}
