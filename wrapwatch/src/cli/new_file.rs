//! Files that a subcommand writes.

use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::trace::{FileSink, Sink as _};

/// A file made as traces are: new, for its owner only.
pub struct NewFile(FileSink);

impl NewFile {
    /// Begins it; an existing one is an error, unless `force`.
    pub fn create(path: &Path, force: bool) -> anyhow::Result<Self> {
        Ok(Self(FileSink::replacing(path, force)?))
    }

    /// Gives it its name.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.finish()
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is written by one and given its name by another.
#[derive(Clone)]
pub struct SharedFile(Arc<Mutex<Option<io::BufWriter<NewFile>>>>);

impl SharedFile {
    /// Begins it; an existing one is an error, unless `force`.
    pub fn create(path: &Path, force: bool) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Some(io::BufWriter::new(NewFile::create(path, force)?))))))
    }

    /// Gives it its name; nothing can be written any more.
    pub fn finish(self) -> io::Result<()> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(file) = file else { return Ok(()) };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
    }

    fn with<T>(&self, act: impl FnOnce(&mut io::BufWriter<NewFile>) -> io::Result<T>) -> io::Result<T> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.as_mut().map_or_else(|| Err(io::Error::other("the file is finished")), act)
    }
}

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(Write::flush)
    }
}
