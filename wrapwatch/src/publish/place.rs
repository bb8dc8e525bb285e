//! Where a recording's files are, and which comes after which: a trace with those that were rotated away from it, a flight recorder's ring, a folder with such rings.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where to look for files.
#[derive(Debug)]
pub(super) enum Place {
    /// `a.wwt`, which is written, and `a.000001.wwt` and so on, which were.
    Rotated(PathBuf),
    /// `000001.wwt` and so on.
    Ring(PathBuf),
    /// Rings of flight recorders that follow each other: `a.wwt.ring`; and those that were read already.
    Rings { dir: PathBuf, read: BTreeSet<PathBuf> },
}

/// A file as the file system knows it, by whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// A file there is.
#[derive(Clone, Debug)]
struct Entry {
    path: PathBuf,
    /// The number in its name; the one being written may have none.
    number: Option<u64>,
    id: FileId,
}

/// A file that is read.
#[derive(Debug)]
pub(super) struct Opened {
    /// Its name when it was opened: it may have another one since.
    pub(super) path: PathBuf,
    pub(super) file: File,
    id: FileId,
    /// Files with no higher number come before it.
    number: u64,
}

impl Place {
    /// By what `path` is. With `follow` it need not be there yet: a trace of this name may come.
    pub(super) fn of(path: &Path, follow: bool) -> io::Result<Self> {
        let is_dir = match fs::metadata(path) {
            Ok(meta) => meta.is_dir(),
            Err(error) if follow && error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(named(path, &error)),
        };
        if !is_dir {
            return Ok(Self::Rotated(path.to_owned()));
        }
        // Named so or not, a folder with numbered traces is a ring.
        let is_ring = path.extension().is_some_and(|extension| extension == "ring");
        if is_ring || !numbered_in(path, "")?.is_empty() {
            return Ok(Self::Ring(path.to_owned()));
        }
        Ok(Self::Rings { dir: path.to_owned(), read: BTreeSet::new() })
    }

    /// Whether it was rotated away from a trace, by its name: nothing is written to it any more.
    pub(super) fn was_rotated(path: &Path) -> bool {
        let stem = path.file_stem().map(Path::new);
        let number = stem.and_then(Path::extension).and_then(|number| number.to_str());
        number.is_some_and(|number| number.len() == 6 && number.bytes().all(|digit| digit.is_ascii_digit()))
    }

    /// What was asked for.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Rotated(path) | Self::Ring(path) | Self::Rings { dir: path, .. } => path,
        }
    }

    /// Bytes of the files there are, where it is known which they will be.
    pub(super) fn bytes(&self) -> u64 {
        let entries = match self {
            Self::Rotated(path) => rotated(path),
            Self::Ring(dir) => numbered_in(dir, ""),
            Self::Rings { .. } => Ok(Vec::new()),
        };
        let lengths =
            entries.unwrap_or_default().into_iter().filter_map(|entry| fs::metadata(entry.path).ok());
        lengths.map(|meta| meta.len()).sum()
    }

    /// Opens the file behind `last`, or the first. None: there is none yet.
    pub(super) fn next(&mut self, last: Option<&Opened>) -> io::Result<Option<Opened>> {
        let Some(entry) = self.next_entry(last)? else { return Ok(None) };
        self.open(entry)
    }

    /// Opens the file of the name that was asked for; elsewhere than in a rotated trace, the first.
    pub(super) fn written(&mut self) -> io::Result<Option<Opened>> {
        let Self::Rotated(path) = self else { return self.next(None) };
        let written = rotated(path)?.into_iter().find(|entry| entry.number.is_none());
        written.map_or(Ok(None), |entry| self.open(entry))
    }

    fn open(&mut self, entry: Entry) -> io::Result<Option<Opened>> {
        let file = match File::open(&entry.path) {
            // Removed, or rotated away, meanwhile: to be looked for again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| named(&entry.path, &error))?,
        };
        if FileId::of(&file.metadata()?) != entry.id {
            return Ok(None);
        }
        if let (Self::Rings { read, .. }, Some(ring)) = (&mut *self, entry.path.parent()) {
            read.insert(ring.to_owned());
        }
        let number = match entry.number {
            Some(number) => number,
            None => self.highest()?,
        };
        Ok(Some(Opened { path: entry.path, file, id: entry.id, number }))
    }

    /// Whether there is a file behind this one: then nothing is written to it any more.
    pub(super) fn has_next(&self, last: &Opened) -> io::Result<bool> {
        Ok(self.next_entry(Some(last))?.is_some())
    }

    fn next_entry(&self, last: Option<&Opened>) -> io::Result<Option<Entry>> {
        match self {
            Self::Rotated(path) => Ok(behind(rotated(path)?, last)),
            Self::Ring(dir) => Ok(behind(numbered_in(dir, "")?, last)),
            Self::Rings { dir, read } => {
                let ring = last.and_then(|last| last.path.parent()).filter(|ring| ring.is_dir());
                let next = ring.map(|ring| numbered_in(ring, "")).transpose()?;
                match next.and_then(|entries| behind(entries, last)) {
                    Some(next) => Ok(Some(next)),
                    None => first_of_newest(dir, read),
                }
            }
        }
    }

    /// The highest number that a file has now.
    fn highest(&self) -> io::Result<u64> {
        let Self::Rotated(path) = self else { return Ok(0) };
        Ok(rotated(path)?.iter().filter_map(|entry| entry.number).max().unwrap_or(0))
    }
}

/// The entry behind `last`, which may have another name since, or have gone.
fn behind(entries: Vec<Entry>, last: Option<&Opened>) -> Option<Entry> {
    let Some(last) = last else { return entries.into_iter().next() };
    let known = entries.iter().position(|entry| entry.id == last.id);
    let mut rest = entries.into_iter();
    match known {
        Some(at) => rest.nth(at + 1),
        None => rest.find(|entry| entry.number.is_none_or(|number| number > last.number)),
    }
}

/// `a.000001.wwt`, …, `a.wwt`.
fn rotated(path: &Path) -> io::Result<Vec<Entry>> {
    // First the one being written: rotated away in between, it is found again below, and nothing is passed over.
    let written = match fs::metadata(path) {
        Ok(meta) => Some(Entry { path: path.to_owned(), number: None, id: FileId::of(&meta) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(named(path, &error)),
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut entries = match numbered_in(dir, &format!("{stem}.")) {
        // Of one's own file in a folder that may not be listed, the others are not known.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && written.is_some() => Vec::new(),
        entries => entries?,
    };
    entries.extend(written.filter(|written| entries.iter().all(|entry| entry.id != written.id)));
    Ok(entries)
}

/// Files `PREFIXnnnnnn.wwt` by number.
fn numbered_in(dir: &Path, prefix: &str) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let listed = match fs::read_dir(dir) {
        // A ring goes with its recorder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(entries),
        listed => listed.map_err(|error| named(dir, &error))?,
    };
    for entry in listed {
        let path = entry?.path();
        let Some(number) = number(&path, prefix) else { continue };
        match fs::metadata(&path) {
            Ok(meta) => entries.push(Entry { id: FileId::of(&meta), number: Some(number), path }),
            // The oldest go at any time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(named(&path, &error)),
        }
    }
    entries.sort_by_key(|entry| entry.number);
    Ok(entries)
}

fn number(path: &Path, prefix: &str) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(".wwt")?;
    (digits.len() >= 6 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The first file of the ring that was written to last, of those that were not read yet.
fn first_of_newest(dir: &Path, read: &BTreeSet<PathBuf>) -> io::Result<Option<Entry>> {
    let mut newest = None;
    for entry in fs::read_dir(dir).map_err(|error| named(dir, &error))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "ring") {
            continue;
        }
        let Ok(changed) = fs::metadata(&path).and_then(|meta| meta.modified()) else { continue };
        if newest.as_ref().is_none_or(|(latest, _)| *latest < changed) {
            newest = Some((changed, path));
        }
    }
    match newest {
        Some((_, ring)) if !read.contains(&ring) => Ok(numbered_in(&ring, "")?.into_iter().next()),
        _ => Ok(None),
    }
}

/// An error that says of what.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot read {}: {}", path.display(), crate::model::error_line(error)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(opened: Option<&Opened>) -> String {
        opened.map_or_else(String::new, |opened| {
            opened.path.file_name().unwrap().to_string_lossy().into_owned()
        })
    }

    fn make(dir: &Path, names: &[&str]) {
        names.iter().for_each(|name| fs::write(dir.join(name), name).unwrap());
    }

    #[test]
    fn rotated_files_come_in_order_whatever_they_are_called_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        make(
            dir.path(),
            &["a.000002.wwt", "a.000010.wwt", "a.wwt", "b.000003.wwt", "a.12.wwt", "a.wwt.ring"],
        );
        let mut place = Place::of(&at("a.wwt"), true).unwrap();
        let first = place.next(None).unwrap();
        let second = place.next(first.as_ref()).unwrap();
        let third = place.next(second.as_ref()).unwrap();
        let names = [&first, &second, &third].map(|opened| name(opened.as_ref()));
        assert_eq!(names, ["a.000002.wwt", "a.000010.wwt", "a.wwt"]);
        assert!(place.next(third.as_ref()).unwrap().is_none());
        // Rotated away: it is the same one still, and the next has not begun.
        fs::rename(at("a.wwt"), at("a.000011.wwt")).unwrap();
        assert!(!place.has_next(third.as_ref().unwrap()).unwrap());
        make(dir.path(), &["a.wwt"]);
        assert!(place.has_next(third.as_ref().unwrap()).unwrap());
        // Rotated twice, and the one that is read is gone.
        fs::rename(at("a.wwt"), at("a.000012.wwt")).unwrap();
        make(dir.path(), &["a.wwt"]);
        fs::remove_file(at("a.000011.wwt")).unwrap();
        let fourth = place.next(third.as_ref()).unwrap();
        let fifth = place.next(fourth.as_ref()).unwrap();
        assert_eq!([&fourth, &fifth].map(|opened| name(opened.as_ref())), ["a.000012.wwt", "a.wwt"]);
        // Written anew, by another recorder.
        fs::remove_file(at("a.wwt")).unwrap();
        assert!(place.next(fifth.as_ref()).unwrap().is_none());
        make(dir.path(), &["a.wwt"]);
        assert_eq!(name(place.next(fifth.as_ref()).unwrap().as_ref()), "a.wwt");
    }

    #[test]
    fn rings_follow_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut place = Place::of(dir.path(), true).unwrap();
        assert!(place.next(None).unwrap().is_none(), "there is none yet");
        let (one, two) = (dir.path().join("x.wwt.ring"), dir.path().join("a.wwt.ring"));
        fs::create_dir(&one).unwrap();
        make(&one, &["000007.wwt", "000008.wwt"]);
        // What a recorder saved has been in its ring.
        make(dir.path(), &["x.wwt"]);
        let first = place.next(None).unwrap();
        let second = place.next(first.as_ref()).unwrap();
        assert_eq!([&first, &second].map(|opened| name(opened.as_ref())), ["000007.wwt", "000008.wwt"]);
        assert!(place.next(second.as_ref()).unwrap().is_none());
        fs::create_dir(&two).unwrap();
        make(&two, &["000001.wwt"]);
        let later = fs::metadata(&one).unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
        File::open(&two).unwrap().set_modified(later).unwrap();
        fs::remove_dir_all(&one).unwrap();
        let third = place.next(second.as_ref()).unwrap();
        assert_eq!(third.as_ref().unwrap().path, two.join("000001.wwt"));
        assert!(place.next(third.as_ref()).unwrap().is_none());
    }
}
