//! Reading a target's files from outside, without being led astray.
//!
//! `openat2(RESOLVE_IN_ROOT)` from `/proc/PID/root` (openat2(2), Linux 5.6): an absolute symbolic link inside a container stays inside. Regular
//! files only, never blocking, [`MAX_BYTES`] at most.

use std::{
    fs::File,
    io::Read as _,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use super::HostError;

/// More than this of one file is never read.
pub const MAX_BYTES: u64 = 1 << 20;

/// A file's content and what tells that it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Path inside the target.
    pub path: String,
    /// Content; empty for a missing file (libwrap treats it so).
    pub bytes: Vec<u8>,
    /// Whether it was there.
    pub exists: bool,
    /// Mark of change.
    pub mark: Mark,
}

/// Inode, size and times: what changes when a file does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Inode; 0 for a missing file.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last modification, seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Last change, seconds and nanoseconds: a rename changes it, and nobody can set it (inode(7)).
    pub ctime: (i64, i64),
}

impl Mark {
    /// Last modification, wall clock, nanoseconds since 1970.
    pub const fn mtime_ns(&self) -> i64 {
        ns(self.mtime)
    }

    /// Last change, wall clock, nanoseconds since 1970.
    pub const fn ctime_ns(&self) -> i64 {
        ns(self.ctime)
    }
}

const fn ns((seconds, ns): (i64, i64)) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}

/// Reads `path` as process `pid` would see it.
pub fn read(pid: u32, path: &str) -> Result<Copy, HostError> {
    let Some(mut file) = open(pid, path)? else {
        return Ok(Copy { path: path.to_owned(), bytes: Vec::new(), exists: false, mark: Mark::default() });
    };
    let mark = mark_of(&file, path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| HostError::io(path, e))?;
    Ok(Copy { path: path.to_owned(), bytes, exists: true, mark })
}

/// The mark alone, to find out whether [`read`] would give something new.
pub fn mark(pid: u32, path: &str) -> Result<Mark, HostError> {
    Root::of(pid)?.mark(path)
}

/// Where the paths of a process begin, for several looks in a row.
#[derive(Debug)]
pub struct Root(File);

impl Root {
    /// That of process `pid`.
    pub fn of(pid: u32) -> Result<Self, HostError> {
        File::open(format!("/proc/{pid}/root")).map(Self).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => HostError::Exited(pid),
            std::io::ErrorKind::PermissionDenied => HostError::Permission { pid, what: "root" },
            _ => HostError::io(format!("/proc/{pid}/root"), error),
        })
    }

    /// As [`mark`].
    pub fn mark(&self, path: &str) -> Result<Mark, HostError> {
        // Only looked at, not opened: what opening waits for (a slow disk, a watcher) is not waited for once a second.
        self.open(path, libc::O_PATH)?.map_or(Ok(Mark::default()), |file| mark_of(&file, path))
    }

    /// What is at a path; None where there is nothing.
    fn open(&self, path: &str, flags: i32) -> Result<Option<File>, HostError> {
        let name = std::ffi::CString::new(path).map_err(|_| HostError::Unusable {
            what: path.escape_debug().to_string(),
            why: "a NUL in its name".into(),
        })?;
        // SAFETY: open_how is a structure of integers; all zeroes is its documented default.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = u64::try_from(flags | libc::O_CLOEXEC).unwrap_or(0);
        how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
        // SAFETY: name is NUL-terminated and how is a live open_how of the size given.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                self.0.as_raw_fd(),
                name.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        match i32::try_from(fd) {
            // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
            Ok(fd) if fd >= 0 => Ok(Some(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))),
            _ => {
                let error = std::io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::ENOENT | libc::ENOTDIR) => Ok(None),
                    _ => Err(HostError::io(path, error)),
                }
            }
        }
    }
}

fn mark_of(file: &File, path: &str) -> Result<Mark, HostError> {
    let meta = file.metadata().map_err(|e| HostError::io(path, e))?;
    if !meta.is_file() {
        return Err(HostError::Unusable { what: path.to_owned(), why: "not a regular file".into() });
    }
    Ok(Mark {
        inode: meta.ino(),
        size: meta.size(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        ctime: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// Opens a file as process `pid` would see it; None where there is none.
pub(super) fn open(pid: u32, path: &str) -> Result<Option<File>, HostError> {
    Root::of(pid)?.open(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// What is at a path as process `pid` would see it, whatever it is; None where there is nothing. It is not opened.
pub fn metadata(pid: u32, path: &str) -> Result<Option<std::fs::Metadata>, HostError> {
    Root::of(pid)?
        .open(path, libc::O_PATH)?
        .map(|file| file.metadata().map_err(|e| HostError::io(path, e)))
        .transpose()
}

/// Whether the files of process `pid` can be looked at as it sees them.
pub fn can_look(pid: u32) -> bool {
    std::fs::metadata(format!("/proc/{pid}/root/")).is_ok()
}
