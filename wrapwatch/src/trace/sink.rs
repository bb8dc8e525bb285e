//! Where blocks go: a file, or memory.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::block::Block;
use super::dir::Dir;
use super::error::{CreateError, WriteError};

/// Takes bytes to the end of something that can be cut back.
pub trait Sink {
    /// Appends all of `bytes`, or fails having appended any part of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts everything behind the first `len` bytes off; appending goes on there.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Begins to bring what was appended to the disk; need not wait. An error of an earlier call may be told by a later one.
    fn sync(&mut self) -> io::Result<()>;

    /// Brings everything to the disk and waits for it.
    fn finish(&mut self) -> io::Result<()>;

    /// What it is, for messages.
    fn name(&self) -> String;
}

impl Sink for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        Self::truncate(self, usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

/// A file that is written: made new, mode 0600, never through a link, synced from a thread of its own. Everything that wrapwatch writes goes through one.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    file: File,
    len: u64,
    syncer: Option<Syncer>,
    /// It has this name until it is whole.
    whole: Option<Draft>,
}

/// A file that is not whole yet: its name is not the one it will have.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    force: bool,
}

impl FileSink {
    /// Makes a new file, which has its name from the beginning on: for what is of use before it is whole. An existing one is an error, unless `force`:
    /// then it is unlinked first (a symbolic link itself, never what it points to; other names of the old file keep its content).
    pub fn create(path: &Path, force: bool) -> Result<Self, CreateError> {
        if force {
            check_replaceable(path)?;
            match std::fs::remove_file(path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(CreateError::Io { path: path.to_owned(), source });
                }
                _ => {}
            }
        }
        let new = Self::new(path, new_file(path), None)?;
        // So that the name itself survives a power loss; a file system that cannot sync a directory loses only that.
        sync_directory(path);
        Ok(new)
    }

    /// Begins a file that gets its name once it is whole ([`Sink::finish`]): for what is of no use before. An existing one is an error, unless `force`: then it is
    /// replaced at the end, and stays as it is where it does not come to that.
    pub fn replacing(path: &Path, force: bool) -> Result<Self, CreateError> {
        if force {
            check_replaceable(path)?;
        } else if path.symlink_metadata().is_ok() {
            return Err(CreateError::Exists(path.to_owned()));
        }
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.part", std::process::id()));
        let draft = path.with_file_name(name);
        Self::new(path, new_file(&draft), Some(Draft { path: draft, force }))
    }

    /// Makes a new file in a directory of ours.
    pub(super) fn within(dir: &Dir, name: &OsStr) -> Result<Self, CreateError> {
        Self::new(&dir.path().join(name), dir.create(name), None)
    }

    fn new(path: &Path, opened: io::Result<File>, whole: Option<Draft>) -> Result<Self, CreateError> {
        let path = path.to_owned();
        match opened {
            Ok(file) => Ok(Self { path, file, len: 0, syncer: None, whole }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CreateError::Exists(path)),
            Err(source) => Err(CreateError::Io { path, source }),
        }
    }

    /// Writes a whole file at once.
    pub fn write(path: &Path, force: bool, bytes: &[u8]) -> Result<(), WriteError> {
        let mut new = Self::replacing(path, force)?;
        let written = new.append(bytes).and_then(|()| new.finish());
        written.map_err(|source| WriteError::from_io(path.display().to_string(), new.len, source))
    }

    /// The file's name, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file still has a name: false once it, or its directory, was removed under us. What is written then is gone
    /// when the descriptor is closed, unless it is brought elsewhere with [`Self::rescue`].
    pub fn is_linked(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() > 0)
    }

    /// Writes a copy of everything that was written so far, also when the file has lost its name.
    pub fn rescue(&self, to: &Path) -> Result<Self, CreateError> {
        use std::os::unix::fs::FileExt as _;
        let mut copy = Self::create(to, false)?;
        let error = |source| CreateError::Io { path: to.to_owned(), source };
        let mut buf = vec![0; 1 << 16];
        let mut at = 0;
        while at < self.len {
            let want = usize::try_from(self.len - at).unwrap_or(usize::MAX).min(buf.len());
            let n = self.file.read_at(&mut buf[..want], at).map_err(error)?;
            if n == 0 {
                break;
            }
            copy.append(&buf[..n]).map_err(error)?;
            at += n as u64;
        }
        copy.finish().map_err(error)?;
        Ok(copy)
    }
}

/// Something that only looks like a file is not replaced.
fn check_replaceable(path: &Path) -> Result<(), CreateError> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() || meta.is_symlink() => Ok(()),
        Ok(_) => Err(CreateError::NotAFile(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CreateError::Io { path: path.to_owned(), source }),
    }
}

/// Whose draft a file is, by its name (`.a.wwt.812.part`), and of which process.
pub(super) fn draft(name: &OsStr) -> Option<(&str, u32)> {
    let (of, pid) = name.to_str()?.strip_prefix('.')?.strip_suffix(".part")?.rsplit_once('.')?;
    Some((of, pid.parse().ok()?))
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY)
        .open(path)
}

fn sync_directory(path: &Path) {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(err) = File::open(parent).and_then(|dir| dir.sync_all()) {
        log::debug!("cannot sync {}: {err}", parent.display());
    }
}

impl Draft {
    /// Gives it the name that it was made for.
    fn publish(&self, path: &Path) -> io::Result<()> {
        if self.force {
            check_replaceable(path).map_err(io::Error::other)?;
            return std::fs::rename(&self.path, path);
        }
        // Unlike rename, a link never replaces what came meanwhile.
        match std::fs::hard_link(&self.path, path) {
            Ok(()) => std::fs::remove_file(&self.path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A file system without links.
            Err(_) if path.symlink_metadata().is_err() => std::fs::rename(&self.path, path),
            Err(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        // It did not become whole.
        if let Some(draft) = self.whole.take()
            && let Err(error) = std::fs::remove_file(&draft.path)
        {
            log::warn!("cannot remove {}: {error}", draft.path.display());
        }
    }
}

impl Sink for FileSink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let syncer = match &mut self.syncer {
            Some(syncer) => syncer,
            none => none.insert(Syncer::start(self.file.try_clone()?)?),
        };
        syncer.request()
    }

    fn finish(&mut self) -> io::Result<()> {
        let earlier = self.syncer.take().map_or(Ok(()), Syncer::stop);
        self.file.sync_data().and(earlier)?;
        if let Some(draft) = self.whole.as_ref() {
            draft.publish(&self.path)?;
            self.whole = None;
            sync_directory(&self.path);
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Calls `fdatasync` from a thread of its own: on a busy disk it takes seconds, and the ring buffer holds less than that.
#[derive(Debug)]
struct Syncer {
    wake: std::sync::mpsc::SyncSender<()>,
    failed: Arc<Mutex<Option<io::Error>>>,
    thread: JoinHandle<()>,
}

impl Syncer {
    fn start(file: File) -> io::Result<Self> {
        let (wake, asked) = std::sync::mpsc::sync_channel(1);
        let failed = Arc::new(Mutex::new(None));
        let result = Arc::clone(&failed);
        let thread = std::thread::Builder::new().name("wwt-sync".to_owned()).spawn(move || {
            while asked.recv().is_ok() {
                if let Err(err) = file.sync_data() {
                    *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(err);
                }
            }
        })?;
        Ok(Self { wake, failed, thread })
    }

    /// Asks for a sync; one that is still going on will be followed by another.
    fn request(&self) -> io::Result<()> {
        // Full: one is asked for already. Disconnected: the thread panicked, and finish() will sync.
        let _: Result<(), _> = self.wake.try_send(());
        self.take_error()
    }

    fn take_error(&self) -> io::Result<()> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    fn stop(self) -> io::Result<()> {
        let Self { wake, failed, thread } = self;
        drop(wake);
        drop(thread.join());
        failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Takes blocks: one file, or several in turn.
pub trait BlockSink {
    /// Writes a block; gives it its number. On an error nothing of it is left behind.
    fn put(&mut self, block: &Block) -> Result<(), WriteError>;

    /// Begins to bring what was written to the disk.
    fn sync(&mut self) -> Result<(), WriteError>;

    /// Brings everything to the disk.
    fn finish(&mut self) -> Result<(), WriteError>;

    /// Bytes written so far, in all files.
    fn size(&self) -> u64;
}

/// One file of blocks.
#[derive(Debug)]
pub struct SingleFile<S> {
    sink: S,
    len: u64,
    seq: u64,
    torn: bool,
    buf: Vec<u8>,
}

impl<S: Sink> SingleFile<S> {
    /// A file that is empty so far.
    pub const fn new(sink: S) -> Self {
        Self { sink, len: 0, seq: 0, torn: false, buf: Vec::new() }
    }

    /// What the blocks went into.
    pub fn into_inner(self) -> S {
        self.sink
    }

    /// What the blocks go into.
    pub const fn sink(&self) -> &S {
        &self.sink
    }

    #[cfg(test)]
    pub(super) const fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }
}

impl<S: Sink> BlockSink for SingleFile<S> {
    fn put(&mut self, block: &Block) -> Result<(), WriteError> {
        let seq = self.seq;
        // Also where it fails: the gap tells the reader.
        self.seq += 1;
        if self.torn {
            // What an earlier error left behind could not be cut off; a reader skips it, but try again.
            self.torn = self.sink.truncate(self.len).is_err();
        }
        let header = super::block::Header { seq, ..block.header };
        self.buf.clear();
        self.buf.extend_from_slice(&header.to_bytes());
        self.buf.extend_from_slice(&block.payload);
        if let Err(source) = self.sink.append(&self.buf) {
            self.torn = self.sink.truncate(self.len).is_err();
            return Err(WriteError::from_io(self.sink.name(), self.len, source));
        }
        self.len += self.buf.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        self.sink.sync().map_err(|source| WriteError::from_io(self.sink.name(), self.len, source))
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        self.sink.finish().map_err(|source| WriteError::from_io(self.sink.name(), self.len, source))
    }

    fn size(&self) -> u64 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_new_file_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::create(&dir.path().join("a.wwt"), false).unwrap();
        assert_eq!(sink.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_existing_file_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wwt");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(FileSink::create(&path, false), Err(CreateError::Exists(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn force_replaces_a_link_and_not_what_it_points_to() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.wwt"), dir.path().join("other"));
        std::fs::write(&other, "precious").unwrap();
        symlink(&other, &path).unwrap();
        assert!(matches!(FileSink::create(&path, false), Err(CreateError::Exists(_))));
        FileSink::create(&path, true).unwrap().append(b"new").unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"precious");
        assert!(path.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn what_is_replaced_at_the_end_stays_until_then() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.html"), dir.path().join("other"));
        std::fs::write(&other, "precious").unwrap();
        symlink(&other, &path).unwrap();
        assert!(matches!(
            FileSink::write(&path, false, b"new"),
            Err(WriteError::Create(CreateError::Exists(_)))
        ));
        let mut sink = FileSink::replacing(&path, true).unwrap();
        sink.append(b"half").unwrap();
        drop(sink);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious", "through the link, which is there still");
        FileSink::write(&path, true, b"new").unwrap();
        assert_eq!(
            (std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap()),
            (b"new".into(), b"precious".into())
        );
        let meta = path.symlink_metadata().unwrap();
        assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no half of a file is left");
    }

    #[test]
    fn what_came_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.html");
        let mut sink = FileSink::replacing(&path, false).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(sink.append(b"new").and_then(|()| sink.finish()).is_err());
        drop(sink);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(FileSink::replacing(&dir.path().join("fifo"), true), Err(CreateError::NotAFile(_))));
    }

    #[test]
    fn a_directory_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(FileSink::create(dir.path(), true), Err(CreateError::NotAFile(_))));
    }

    #[test]
    fn a_file_that_lost_its_name_can_be_rescued() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut sink = FileSink::create(&dir.path().join("a.wwt"), false).unwrap();
        sink.append(b"some").unwrap();
        sink.sync().unwrap();
        assert!(sink.is_linked());
        drop(dir);
        assert!(!sink.is_linked());
        sink.append(b"thing").unwrap();
        let copy = other.path().join("b.wwt");
        sink.rescue(&copy).unwrap();
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), b"something");
    }
}
