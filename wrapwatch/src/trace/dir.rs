//! A directory of a recorder alone: opened once, and everything in it by this descriptor, so that nobody can put another in its place meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::error::CreateError;

/// An open directory.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Makes it, mode 0700. `None` where there is something of that name.
    pub(super) fn make(path: &Path) -> Result<Option<Self>, CreateError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Self::ours(path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(source) => Err(CreateError::Io { path: path.to_owned(), source }),
        }
    }

    /// Opens one that is there: a real directory, this user's, and for nobody else.
    pub(super) fn ours(path: &Path) -> Result<Self, CreateError> {
        let error = |source| CreateError::Io { path: path.to_owned(), source };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(nix::errno::Errno::ENOTDIR | nix::errno::Errno::ELOOP) => {
                return Err(CreateError::NotOurs(path.to_owned()));
            }
            Err(errno) => return Err(error(errno.into())),
        };
        let file = File::from(fd);
        let meta = file.metadata().map_err(error)?;
        if meta.uid() != geteuid().as_raw() || meta.mode() & 0o077 != 0 {
            return Err(CreateError::NotOurs(path.to_owned()));
        }
        Ok(Self { fd: file.into(), path: path.to_owned() })
    }

    /// Opens somebody's, to read what is in it.
    pub(super) fn of_anybody(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { fd: open(path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// The name that it was opened by.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A new file in it, for appending, mode 0600.
    pub(super) fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_RDWR
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_EXCL
            | OFlag::O_NOFOLLOW
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        Ok(openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into())
    }

    /// A regular file in it, to be read. Anything else is not waited for.
    pub(super) fn open(&self, name: &OsStr) -> io::Result<File> {
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
    }

    /// Takes a file out of it. One that is not there is no error.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Err(nix::errno::Errno::ENOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// The names in it, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let entries = std::fs::read_dir(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))?;
        let mut names: Vec<_> = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    /// Removes it, where it is empty.
    pub(super) fn remove_itself(self) -> io::Result<()> {
        std::fs::remove_dir(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn only_a_directory_of_this_user_alone_is_ours() {
        let at = tempfile::tempdir().unwrap();
        let (dir, link) = (at.path().join("dir"), at.path().join("link"));
        assert!(Dir::make(&dir).unwrap().is_some());
        assert!(Dir::make(&dir).unwrap().is_none() && Dir::ours(&dir).is_ok());
        symlink(&dir, &link).unwrap();
        assert!(matches!(Dir::ours(&link), Err(CreateError::NotOurs(_))));
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(Dir::ours(&dir), Err(CreateError::NotOurs(_))));
        std::fs::write(at.path().join("file"), "").unwrap();
        assert!(matches!(Dir::ours(&at.path().join("file")), Err(CreateError::NotOurs(_))));
    }

    #[test]
    fn what_is_in_it_stays_so_when_another_takes_its_name() {
        let at = tempfile::tempdir().unwrap();
        let (path, other) = (at.path().join("dir"), at.path().join("other"));
        let dir = Dir::make(&path).unwrap().unwrap();
        dir.create("1".as_ref()).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("1"), "precious").unwrap();
        std::fs::rename(&path, at.path().join("away")).unwrap();
        symlink(&other, &path).unwrap();
        assert_eq!(dir.names().unwrap(), ["1"]);
        dir.remove("1".as_ref()).unwrap();
        dir.remove("1".as_ref()).unwrap();
        assert_eq!(std::fs::read(other.join("1")).unwrap(), b"precious");
        nix::unistd::mkfifo(&at.path().join("away").join("2"), Mode::S_IRUSR).unwrap();
        assert!(dir.open("2".as_ref()).is_err(), "not waited for");
    }
}
