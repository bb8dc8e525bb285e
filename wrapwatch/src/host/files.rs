//! Reading a target's files from outside, without being led astray.
//!
//! A path that a target names is walked from its root (`openat2(RESOLVE_IN_ROOT)` from `/proc/PID/root`, Linux 5.6: an absolute symbolic link inside a
//! container stays inside; where that call is refused, by [`super::walk`]), with the target's own rights ([`super::rights`]) and without opening anything (`O_PATH`). What is found has to be a regular
//! file, and none of the kernel's own (procfs says other things to each reader); only then that very file is opened for reading, without waiting.
//! [`MAX_BYTES`] at most are read.
//!
//! [`with`] is for workers of [`super::reader`], since also a look can wait for ever: for a file system that does not answer. [`read`], [`mark`] and
//! [`metadata`] ask a worker themselves.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::statfs::fstatfs,
};

use super::{
    HostError, reader,
    rights::{Identity, Manner},
    walk,
};

/// More than this of one file is never read.
pub const MAX_BYTES: u64 = 1 << 20;
/// Directories with more names are not read.
const NAMES_MAX: usize = 1024;

/// File systems whose files the kernel makes up (linux/magic.h): proc, sysfs, debugfs, tracefs, securityfs, cgroup, cgroup2, bpf, configfs, pstore, efivarfs,
/// selinuxfs, smackfs, binfmt_misc, nsfs, and what has no place at all (anon_inodefs, pipefs, sockfs).
const MADE_UP: [u32; 18] = [
    0x0000_9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x0027_e0eb,
    0x6367_7270,
    0xcafe_4a11,
    0x6265_6570,
    0x6165_676c,
    0xde5e_81e4,
    0xf97c_ff8c,
    0x4341_5d53,
    0x4249_4e4d,
    0x6e73_6673,
    0x0904_1934,
    0x5049_5045,
    0x534f_434b,
];

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

impl Copy {
    /// Whether all of the file was read.
    pub const fn is_whole(&self) -> bool {
        self.mark.size <= MAX_BYTES
    }
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

    fn of(meta: &Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

const fn ns((seconds, ns): (i64, i64)) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}

/// Reads `path` as process `pid` would see it, if it may.
pub fn read(pid: u32, path: &str) -> Result<Copy, HostError> {
    let owned = path.to_owned();
    on_worker(pid, path, move |view| view.read(&owned))
}

/// The mark alone, to find out whether [`read`] would give something new.
pub fn mark(pid: u32, path: &str) -> Result<Mark, HostError> {
    let owned = path.to_owned();
    on_worker(pid, path, move |view| view.mark(&owned))
}

/// What is at a path as process `pid` would see it, whatever it is; None where there is nothing. It is not opened.
pub fn metadata(pid: u32, path: &str) -> Result<Option<Metadata>, HostError> {
    let owned = path.to_owned();
    on_worker(pid, path, move |view| {
        let found = view.find(&owned)?;
        found.map(|found| found.metadata().map_err(|error| HostError::io(owned, error))).transpose()
    })
}

/// The names in a directory as process `pid` would see it, if it may, in their order. Of a directory with too many of them nothing is known.
pub fn names(pid: u32, path: &str) -> Result<Vec<String>, HostError> {
    let owned = path.to_owned();
    on_worker(pid, path, move |view| view.names(&owned))
}

fn on_worker<T: Send + 'static>(
    pid: u32,
    path: &str,
    work: impl FnOnce(&View<'_>) -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    reader::run(pid, path, reader::LIMIT, move || with(pid, work)?)?
}

/// Whether the files of process `pid` can be looked at as it sees them.
pub fn can_look(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/root")).is_ok()
}

/// Does `work` with the files of process `pid` as it sees them, with its rights. On a worker only: the thread is someone else meanwhile.
pub fn with<T>(pid: u32, work: impl FnOnce(&View<'_>) -> T) -> Result<T, HostError> {
    let path = format!("/proc/{pid}/root");
    let root = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => HostError::Exited(pid),
        io::ErrorKind::PermissionDenied => HostError::Permission { pid, what: "root" },
        _ => HostError::io(&*path, error),
    })?;
    // Whoever looks at files as itself has its own rights.
    if pid == std::process::id() {
        return Ok(work(&View { root: &root, check: None }));
    }
    let identity = Identity::of(pid)?;
    let done = identity.within(|manner| {
        let check = (manner == Manner::Checked).then_some(&identity);
        work(&View { root: &root, check })
    });
    done.map_err(|error| HostError::io(path, error))
}

/// A process's files, while the thread has the process's rights.
#[derive(Debug)]
pub struct View<'a> {
    root: &'a File,
    /// Whose rights the kernel does not look at.
    check: Option<&'a Identity>,
}

/// Something at a path that is not opened.
#[derive(Debug)]
pub struct Found(File);

impl Found {
    /// What a link in the directory of `pid` under /proc leads to (`exe`, `map_files`), found with the rights of this thread.
    pub fn at_link(pid: u32, link: &Path) -> Result<Self, HostError> {
        let open = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(link);
        open.map(Self).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => HostError::Exited(pid),
            io::ErrorKind::PermissionDenied => {
                HostError::Permission { pid, what: "its program and libraries" }
            }
            _ => HostError::io(link.display().to_string(), error),
        })
    }

    /// What it is.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// The descriptor; nothing can be read from it.
    pub fn into_fd(self) -> OwnedFd {
        self.0.into()
    }
}

impl View<'_> {
    /// As [`read`].
    pub fn read(&self, path: &str) -> Result<Copy, HostError> {
        let Some(file) = self.open(path)? else {
            return Ok(Copy {
                path: path.to_owned(),
                bytes: Vec::new(),
                exists: false,
                mark: Mark::default(),
            });
        };
        let mark = file.metadata().map(|meta| Mark::of(&meta)).map_err(|error| HostError::io(path, error))?;
        // No more than it is: it is kept.
        let mut bytes = Vec::with_capacity(usize::try_from(mark.size.min(MAX_BYTES)).unwrap_or_default());
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|error| HostError::io(path, error))?;
        Ok(Copy { path: path.to_owned(), bytes, exists: true, mark })
    }

    /// As [`mark`]. This is done ten times a second, so the kind of file system is asked for only when the file is read.
    pub fn mark(&self, path: &str) -> Result<Mark, HostError> {
        let Some(found) = self.find(path)? else { return Ok(Mark::default()) };
        Ok(Mark::of(&regular(&found, path)?))
    }

    /// As [`names`].
    fn names(&self, path: &str) -> Result<Vec<String>, HostError> {
        let failed = |error: io::Error| HostError::io(path, error);
        let Some(found) = self.find(path)? else { return Err(failed(Errno::ENOENT.into())) };
        let meta = found.metadata().map_err(failed)?;
        if !meta.is_dir() {
            return Err(failed(Errno::ENOTDIR.into()));
        }
        if self.check.is_some_and(|identity| !identity.may(4, &meta)) {
            return Err(failed(Errno::EACCES.into()));
        }
        // The very directory that was looked at.
        let again = format!("/proc/self/fd/{}", found.0.as_raw_fd());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(again).map_err(failed)? {
            if names.len() >= NAMES_MAX {
                let why = format!("more than {NAMES_MAX} names");
                return Err(HostError::Unusable { what: path.to_owned(), why });
            }
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a file for reading; None where there is none.
    pub fn open(&self, path: &str) -> Result<Option<File>, HostError> {
        self.find(path)?.map(|found| self.open_found(&found, path)).transpose()
    }

    /// Opens for reading what was found otherwise, if the process may read it.
    pub fn reopen(&self, found: &Found) -> Result<File, HostError> {
        self.open_found(found, "what is mapped")
    }

    /// What is at a path, whatever it is; None where there is nothing.
    pub(super) fn find(&self, path: &str) -> Result<Option<Found>, HostError> {
        if path.contains('\0') {
            let what = path.escape_debug().to_string();
            return Err(HostError::Unusable { what, why: "a NUL in its name".into() });
        }
        if let Some(identity) = self.check {
            self.check_way(identity, path)?;
        }
        self.walk(path)
    }

    fn walk(&self, path: &str) -> Result<Option<Found>, HostError> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let found = match openat2(self.root, path, how) {
            Err(Errno::ENOSYS) => walk::find(self.root.as_fd(), path),
            found => found,
        };
        match found {
            Ok(fd) => Ok(Some(Found(fd.into()))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(HostError::io(path, error.into())),
        }
    }

    /// Where the kernel decides for another user: whether the process may search the directories on the way. Those that links lead through are not seen.
    fn check_way(&self, identity: &Identity, path: &str) -> Result<(), HostError> {
        let slashes = path.match_indices('/').map(|(at, _)| at.max(1));
        for directory in slashes.filter_map(|end| path.get(..end)) {
            let Some(found) = self.walk(directory)? else { return Ok(()) };
            let meta = found.metadata().map_err(|error| HostError::io(path, error))?;
            if meta.is_dir() && !identity.may(1, &meta) {
                return Err(HostError::io(path, Errno::EACCES.into()));
            }
        }
        Ok(())
    }

    fn open_found(&self, found: &Found, path: &str) -> Result<File, HostError> {
        let meta = regular(found, path)?;
        is_written(found, path)?;
        if self.check.is_some_and(|identity| !identity.may(4, &meta)) {
            return Err(HostError::io(path, Errno::EACCES.into()));
        }
        // The very file that was looked at. O_NONBLOCK: nobody's lease is waited for (fcntl(2)).
        let again = format!("/proc/self/fd/{}", found.0.as_raw_fd());
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(again)
            .map_err(|error| HostError::io(path, error))
    }
}

fn unusable(path: &str, why: &str) -> HostError {
    HostError::Unusable { what: path.to_owned(), why: why.to_owned() }
}

/// What is found is a file.
fn regular(found: &Found, path: &str) -> Result<Metadata, HostError> {
    let meta = found.metadata().map_err(|error| HostError::io(path, error))?;
    if meta.is_file() { Ok(meta) } else { Err(unusable(path, "not a regular file")) }
}

/// It has its content from whoever wrote it.
fn is_written(found: &Found, path: &str) -> Result<(), HostError> {
    let system = fstatfs(found.0.as_fd()).map_err(|error| HostError::io(path, error.into()))?;
    // The type differs from one architecture to the next; the numbers have 32 bits.
    if MADE_UP.iter().any(|magic| i128::from(*magic) == i128::from(system.filesystem_type().0) & 0xffff_ffff)
    {
        let why = "the kernel makes it up for each reader, so it says nothing about the target";
        return Err(unusable(path, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process stands in for a target with the same rights.
    fn view<T>(work: impl FnOnce(&View<'_>) -> T) -> T {
        with(std::process::id(), work).unwrap()
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("/dev/ptmx", at("device")).unwrap();
        nix::unistd::mkfifo(at("fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        view(|view| {
            let copy = view.read(&at("file")).unwrap();
            assert!(copy.exists && copy.bytes == b"text" && copy.mark == view.mark(&at("file")).unwrap());
            assert!(!view.read(&at("none")).unwrap().exists);
            for name in ["device", "fifo", "."] {
                assert!(
                    view.read(&at(name)).unwrap_err().to_string().contains("not a regular file"),
                    "{name}"
                );
            }
            for path in ["/proc/version", "/proc/self/environ", "/sys/kernel/uevent_seqnum"] {
                let error = view.read(path).unwrap_err().to_string();
                assert!(error.contains("the kernel makes it up"), "{path}: {error}");
            }
            assert!(view.read("/proc/self/fd/0").is_err());
            assert!(view.read("a\0b").unwrap_err().to_string().contains("NUL"));
        });
    }

    #[test]
    fn of_a_directory_with_too_many_names_none_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let names = || view(|view| view.names(path));
        for number in 0..NAMES_MAX {
            std::fs::write(directory.path().join(format!("{number:04}")), "").unwrap();
        }
        assert_eq!(names().unwrap().len(), NAMES_MAX);
        std::fs::write(directory.path().join("x"), "").unwrap();
        assert!(names().unwrap_err().to_string().contains("more than 1024 names"));
    }

    #[test]
    fn where_the_kernel_does_not_decide_modes_do() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(directory.path(), 0o755);
        let inner = directory.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let file = inner.join("file");
        std::fs::write(&file, "text").unwrap();
        let path = file.to_str().unwrap();
        let root = File::open("/").unwrap();
        let nobody = Identity::of_another(12_345);
        let view = View { root: &root, check: Some(&nobody) };
        mode(&inner, 0o755);
        mode(&file, 0o644);
        assert_eq!(view.read(path).unwrap().bytes, b"text");
        mode(&file, 0o640);
        assert!(view.read(path).unwrap_err().to_string().contains("ermission denied"));
        mode(&file, 0o644);
        mode(&inner, 0o744);
        assert!(view.read(path).is_err());
    }
}
