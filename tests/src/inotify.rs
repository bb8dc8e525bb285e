//! Whether somebody opens a file.

use std::{
    ffi::CString,
    fs::File,
    io::{ErrorKind, Read as _},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Result, bail};

/// Counts how often a file is opened (inotify(7)). A look by `O_PATH` opens nothing.
pub struct Opens(File);

impl Opens {
    /// Of this file, from now on.
    pub fn of(path: &Path) -> Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: no memory of ours is touched.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            bail!(std::io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the path is NUL-terminated and lives until the call returns.
        let watch = unsafe {
            libc::inotify_add_watch(std::os::fd::AsRawFd::as_raw_fd(&fd), path.as_ptr(), libc::IN_OPEN)
        };
        if watch < 0 {
            bail!(std::io::Error::last_os_error());
        }
        Ok(Self(File::from(fd)))
    }

    /// How often since the last time: two in a row may be counted as one.
    pub fn count(&self) -> Result<usize> {
        let mut events = [0; 4096];
        match (&self.0).read(&mut events) {
            // Of a file, and not of a directory, each event has 16 bytes: no name follows.
            Ok(len) => Ok(len / 16),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}
