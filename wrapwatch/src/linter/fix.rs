//! A fix, and how it is written: never through a link, with the file's mode and owner, and a copy of what was there beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::files::Files;
use crate::wrappers::lint::Input;
use crate::wrappers::rewrite::rewrite;

/// One file that a fix changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: String,
    /// As it is.
    pub old: Vec<u8>,
    /// As it should be.
    pub new: Vec<u8>,
    /// A table; otherwise /etc/hosts, which is not lint's to write.
    pub table: bool,
}

/// What a fix changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The files that change.
    pub files: Vec<Change>,
    /// Clients for whom nothing can be done, and why.
    pub left_alone: Vec<(String, String)>,
}

/// Works out what to change for the input's clients.
pub fn changes(files: &Files, input: &Input<'_>) -> Changes {
    let fix = rewrite(input);
    let tables = files.paths.iter().zip(&files.texts).zip(fix.tables);
    let mut all: Vec<Change> = tables
        .map(|((path, old), new)| Change { path: path.clone(), old: old.clone(), new, table: true })
        .collect();
    let mut hosts = files.hosts.clone();
    if !fix.hosts.is_empty() && !hosts.is_empty() && !hosts.ends_with(b"\n") {
        hosts.push(b'\n');
    }
    for line in &fix.hosts {
        hosts.extend_from_slice(line.as_bytes());
        hosts.push(b'\n');
    }
    let (path, old) = (files.hosts_path.clone(), files.hosts.clone());
    all.push(Change { path, old, new: hosts, table: false });
    all.retain(|change| change.old != change.new);
    Changes { files: all, left_alone: fix.left_alone }
}

/// Puts `new` in the place of a file; the path of the copy of what was there.
///
/// # Errors
/// Where the path is a link or no regular file, where it is no longer what it was, or the system refuses.
pub fn write(path: &Path, old: &[u8], new: &[u8]) -> io::Result<PathBuf> {
    let refuse = |why: &str| io::Error::new(ErrorKind::InvalidInput, why.to_owned());
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_file() {
        return Err(refuse("it is a link or no regular file: write to the file itself"));
    }
    if fs::read(path)? != old {
        return Err(refuse("it has changed meanwhile: run lint again"));
    }
    let backup = copy_of(path, old, &meta)?;
    let mut fresh = beside(path, ".wrapwatch-new");
    fresh = match create(&fresh, &meta) {
        Ok(mut file) => {
            file.write_all(new)?;
            file.sync_all()?;
            fresh
        }
        Err(error) => return Err(error),
    };
    // The name may have become a link since: a rename replaces the name and follows nothing.
    fs::rename(&fresh, path).inspect_err(|_| drop(fs::remove_file(&fresh)))?;
    Ok(backup)
}

/// A copy under the first free name of FILE.orig, FILE.orig.1, …
fn copy_of(path: &Path, text: &[u8], meta: &fs::Metadata) -> io::Result<PathBuf> {
    for number in 0..100 {
        let name = beside(path, &if number == 0 { ".orig".to_owned() } else { format!(".orig.{number}") });
        match create(&name, meta) {
            Ok(mut file) => {
                file.write_all(text)?;
                file.sync_all()?;
                return Ok(name);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "there are a hundred copies already"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A new file with another's owner and mode; never over one that is there, nor through a link.
fn create(path: &Path, like: &fs::Metadata) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let prepared = std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777)));
    prepared.inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_keeps_the_mode_and_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.allow");
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let backup = write(&path, b"old\n", b"new\n").unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(&backup).unwrap()),
            (b"new\n".to_vec(), b"old\n".to_vec())
        );
        for file in [&path, &backup] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o7777, 0o640);
        }
        let second = write(&path, b"new\n", b"newer\n").unwrap();
        assert_eq!(second, folder.path().join("hosts.allow.orig.1"));
    }

    #[test]
    fn nothing_is_written_through_a_link_or_over_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("hosts.allow"), folder.path().join("link"));
        fs::write(&path, "old\n").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(write(&link, b"old\n", b"new\n").unwrap_err().to_string().contains("link"));
        assert!(write(&path, b"other\n", b"new\n").unwrap_err().to_string().contains("changed"));
        assert_eq!(fs::read(&path).unwrap(), b"old\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no copies of what was not changed");
    }
}
