//! Reading configuration files of this machine by the paths a user gives: regular files only, never blocking, [`MAX_BYTES`] at most.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::HostError;
use super::files::MAX_BYTES;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its bytes.
    Text(Vec<u8>),
    /// Nothing.
    Missing,
    /// Something that whoever opens it cannot open either: a loop of symbolic links, a path through a file. errno's text.
    Unusable(String),
}

/// Reads a file. What only this process may not do (permissions) is an error, and so is what is too large or not a file.
pub fn read(path: &Path) -> Result<Found, HostError> {
    let what = || path.display().to_string().escape_debug().to_string();
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR | libc::ENAMETOOLONG)) =>
        {
            return Ok(Found::Unusable(plain(&error)));
        }
        Err(error) => return Err(HostError::io(what(), error)),
    };
    let unusable = |why: &str| HostError::Unusable { what: what(), why: why.to_owned() };
    let meta = file.metadata().map_err(|error| HostError::io(what(), error))?;
    // Whoever opens it reads an empty file.
    if meta.file_type().is_char_device() && meta.rdev() == nix::sys::stat::makedev(1, 3) {
        return Ok(Found::Text(Vec::new()));
    }
    if !meta.is_file() {
        return Err(unusable("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| HostError::io(what(), error))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_BYTES) {
        return Err(unusable("larger than 1 MiB"));
    }
    Ok(Found::Text(bytes))
}

fn open(path: &Path) -> Result<File, Error> {
    // Nothing to wait for: a FIFO opens at once, and is then refused.
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// errno's text without the number Rust adds.
fn plain(error: &Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_no_file_is_said_and_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(read(&at("none")).unwrap(), Found::Missing);
        std::fs::write(at("file"), b"x\0y").unwrap();
        assert_eq!(read(&at("file")).unwrap(), Found::Text(b"x\0y".to_vec()));
        assert!(matches!(read(&at("file/below")).unwrap(), Found::Unusable(_)));
        symlink(at("loop"), at("loop")).unwrap();
        assert!(matches!(read(&at("loop")).unwrap(), Found::Unusable(_)));
        assert!(read(directory.path()).unwrap_err().to_string().contains("not a regular file"));
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&at("fifo")).unwrap_err().to_string().contains("not a regular file"));
        assert_eq!(read(Path::new("/dev/null")).unwrap(), Found::Text(Vec::new()));
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("not a regular file"));
        std::fs::write(at("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(read(&at("large")).unwrap_err().to_string().contains("larger than 1 MiB"));
        std::fs::write(at("fits"), vec![b'x'; 1 << 20]).unwrap();
        assert!(matches!(read(&at("fits")).unwrap(), Found::Text(_)));
    }
}
