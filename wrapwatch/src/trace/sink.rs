//! Where blocks go: a file, or memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::block::Block;
use super::writer::WriteError;

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

/// Why a trace file could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is something of that name, and `force` was not given.
    #[error("{} exists already; choose another name, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// The ring of an earlier flight recorder, and `force` was not given.
    #[error(
        "{} was left by a flight recorder that did not end by itself; make a trace of it (wrapwatch export {} --to wwt -o FILE.wwt) and remove it, choose another name, or --force to replace it",
        .0.display(), .0.display()
    )]
    RingLeft(PathBuf),
    /// It is a directory, device, socket or pipe: never replaced.
    #[error("{} is not a regular file and is not replaced", .0.display())]
    NotAFile(PathBuf),
    /// Less than a flight recorder can do with.
    #[error(
        "a flight recorder cannot keep to {limit} bytes: give --max-total at least {} bytes (256K)",
        super::FlightOptions::TOTAL_MIN_BYTES
    )]
    TotalSmall {
        /// What there may be.
        limit: u64,
    },
    /// What earlier flight recorders saved leaves no room for a ring.
    #[error(
        "{} and its numbered traces have {saved} bytes already: with a ring of {ring} that is more than --max-total allows ({limit}); remove some of them, or give it more",
        path.display()
    )]
    TotalUsed {
        /// The first trace.
        path: PathBuf,
        /// Bytes saved.
        saved: u64,
        /// Bytes of the ring.
        ring: u64,
        /// What there may be.
        limit: u64,
    },
    /// Everything else.
    #[error("cannot create {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A trace file: made new, mode 0600, synced from a thread of its own.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    file: File,
    len: u64,
    syncer: Option<Syncer>,
}

impl FileSink {
    /// Makes a new file. An existing one is an error, unless `force`: then it is unlinked first (a symbolic link itself, never what it
    /// points to; other names of the old file keep its content).
    pub fn create(path: &Path, force: bool) -> Result<Self, CreateError> {
        let error = |source| CreateError::Io { path: path.to_owned(), source };
        if force {
            remove_regular(path)?;
        }
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY)
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                return Err(CreateError::Exists(path.to_owned()));
            }
            Err(source) => return Err(error(source)),
        };
        // So that the name itself survives a power loss; a file system that cannot sync a directory loses only that.
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Err(err) = File::open(parent).and_then(|dir| dir.sync_all()) {
            log::debug!("cannot sync {}: {err}", parent.display());
        }
        Ok(Self { path: path.to_owned(), file, len: 0, syncer: None })
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

fn remove_regular(path: &Path) -> Result<(), CreateError> {
    let error = |source| CreateError::Io { path: path.to_owned(), source };
    let kind = match path.symlink_metadata() {
        Ok(meta) => meta.file_type(),
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(error(source)),
    };
    if kind.is_dir() || kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device()
    {
        return Err(CreateError::NotAFile(path.to_owned()));
    }
    std::fs::remove_file(path).map_err(error)
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
        self.file.sync_data().and(earlier)
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
