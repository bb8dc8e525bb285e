//! A fix, and how it is written: never through a link, with the file's mode and owner, and a copy of what was there beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::files::Files;
use crate::host::local::{self, Found};
use crate::wrappers::input::Input;
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

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// Files that are changed, each with the path of the copy of what was there.
    pub done: Vec<(String, PathBuf)>,
    /// What ended it, with the path it is about. Where nothing is done nothing has changed, and nothing is left behind.
    pub error: Option<(String, io::Error)>,
}

/// Puts each file's new text in its place. All of them are looked at and written beside the old ones before the first is replaced. It ends where a path
/// is a link or no regular file, where it is no longer what it was, or the system refuses.
pub fn write<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Written {
    let mut written = Written::default();
    let mut ready = Vec::new();
    for change in changes {
        match prepare(change) {
            Ok(fresh) => ready.push((change, fresh)),
            Err(error) => return Written { error: Some((change.path.clone(), error)), ..written },
        }
    }
    for (change, fresh) in ready {
        match replace(change, fresh) {
            Ok(backup) => written.done.push((change.path.clone(), backup)),
            Err(error) => return Written { error: Some((change.path.clone(), error)), ..written },
        }
    }
    written
}

/// The new text in a file of its own beside the old one, which goes again unless it is put in its place.
struct Fresh {
    file: NamedTempFile,
    old: fs::Metadata,
}

fn prepare(change: &Change) -> io::Result<Fresh> {
    let path = Path::new(&change.path);
    let old = unchanged(path, &change.old)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".wrapwatch-").tempfile_in(folder)?;
    file.write_all(&change.new)?;
    like(file.as_file(), &old)?;
    file.as_file().sync_all()?;
    Ok(Fresh { file, old })
}

/// A file's metadata, where it is one and still has this text.
fn unchanged(path: &Path, text: &[u8]) -> io::Result<fs::Metadata> {
    let refuse = |why: &str| io::Error::new(ErrorKind::InvalidInput, why.to_owned());
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_file() {
        return Err(refuse("it is a link or no regular file: write to the file itself"));
    }
    let now = local::read(path).map_err(|error| io::Error::other(error.to_string()))?;
    if now != Found::Text(text.to_vec()) {
        return Err(refuse("it has changed since lint read it: run lint again"));
    }
    Ok(meta)
}

fn replace(change: &Change, fresh: Fresh) -> io::Result<PathBuf> {
    let path = Path::new(&change.path);
    unchanged(path, &change.old)?;
    let backup = copy_of(path, &change.old, &fresh.old)?;
    // The name may have become a link since: a rename replaces the name and follows nothing.
    fresh.file.persist(path).map_err(|error| {
        drop(fs::remove_file(&backup));
        error.error
    })?;
    Ok(backup)
}

/// A copy under the first free name of FILE.orig, FILE.orig.1, …
fn copy_of(path: &Path, text: &[u8], meta: &fs::Metadata) -> io::Result<PathBuf> {
    for number in 0..100 {
        let name = beside(path, &if number == 0 { ".orig".to_owned() } else { format!(".orig.{number}") });
        // Never over a file that is there, nor through a link.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name) {
            Ok(mut file) => {
                let written =
                    file.write_all(text).and_then(|()| like(&file, meta)).and_then(|()| file.sync_all());
                written.inspect_err(|_| drop(fs::remove_file(&name)))?;
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

/// Gives a new file another's owner and mode.
fn like(file: &File, other: &fs::Metadata) -> io::Result<()> {
    std::os::unix::fs::fchown(file, Some(other.uid()), Some(other.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(other.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &Path, old: &str, new: &str) -> Change {
        Change { path: path.to_string_lossy().into_owned(), old: old.into(), new: new.into(), table: true }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entry = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(entry).collect();
        names.sort();
        names
    }

    #[test]
    fn a_fix_keeps_the_mode_and_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.allow");
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let backup = write([&change(&path, "old\n", "new\n")]).done.remove(0).1;
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(&backup).unwrap()),
            (b"new\n".to_vec(), b"old\n".to_vec())
        );
        for file in [&path, &backup] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o7777, 0o640);
        }
        let second = write([&change(&path, "new\n", "newer\n")]).done.remove(0).1;
        assert_eq!(second, folder.path().join("hosts.allow.orig.1"));
        assert_eq!(names(folder.path()), ["hosts.allow", "hosts.allow.orig", "hosts.allow.orig.1"]);
    }

    #[test]
    fn what_was_done_before_an_error_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["hosts.allow", "hosts.deny", "hosts.deny.orig"] {
            fs::write(at(name), "old\n").unwrap();
        }
        // No name is left for the second one's copy.
        for number in 1..100 {
            fs::write(at(&format!("hosts.deny.orig.{number}")), "old\n").unwrap();
        }
        let changes = ["hosts.allow", "hosts.deny"].map(|name| change(&at(name), "old\n", "new\n"));
        let written = write(&changes);
        let (path, error) = written.error.unwrap();
        assert_eq!(path, changes[1].path);
        assert!(error.to_string().contains("a hundred copies"), "{error}");
        assert_eq!(written.done, [(changes[0].path.clone(), at("hosts.allow.orig"))]);
        assert_eq!(
            (fs::read(at("hosts.allow")).unwrap(), fs::read(at("hosts.deny")).unwrap()),
            (b"new\n".to_vec(), b"old\n".to_vec())
        );
    }

    #[test]
    fn nothing_is_written_through_a_link_or_over_a_change_nor_anything_before_all_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (allow, deny, link) = (at("hosts.allow"), at("hosts.deny"), at("link"));
        fs::write(&allow, "old\n").unwrap();
        fs::write(&deny, "old\n").unwrap();
        std::os::unix::fs::symlink(&allow, &link).unwrap();
        let good = change(&allow, "old\n", "new\n");
        for (bad, word) in [
            (change(&link, "old\n", "new\n"), "link"),
            (change(&deny, "other\n", "new\n"), "changed"),
            (change(&at("none"), "", "new\n"), "No such file"),
        ] {
            let written = write([&good, &bad]);
            assert_eq!(written.done, []);
            let (path, error) = written.error.unwrap();
            assert_eq!(path, bad.path);
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(fs::read(&allow).unwrap(), b"old\n");
            assert_eq!(names(folder.path()), ["hosts.allow", "hosts.deny", "link"], "nothing is left behind");
        }
    }
}
