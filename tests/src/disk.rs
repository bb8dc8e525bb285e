//! A small disk in a recorder's own mount namespace, seen from outside.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use wrapwatch::trace::Reader;

/// What stands beside the traces where the disk is full.
const FILLER: &str = "filler";

/// The disk, as it is seen from outside.
pub struct Disk(PathBuf);

impl Disk {
    /// A command that becomes `program`, with a disk of so many bytes at `at` that goes when it ends.
    pub fn command(at: &Path, bytes: u64, program: &Path) -> Command {
        let script = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" || exit 99; shift 2; exec "$@""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", &bytes.to_string()]);
        command.arg(at).arg(program);
        command
    }

    /// That of a process which such a command became.
    pub fn of(pid: u32, at: &Path) -> Self {
        let within = at.strip_prefix("/").unwrap_or(at);
        Self(Path::new("/proc").join(pid.to_string()).join("root").join(within))
    }

    /// Where it is, from outside.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Fills it to the last byte.
    pub fn fill(&self) -> Result<()> {
        let mut filler = File::create(self.0.join(FILLER))?;
        for size in [1 << 16, 1 << 12, 1] {
            let zeros = vec![0; size];
            loop {
                match filler.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("cannot fill the disk"),
                }
            }
        }
        Ok(())
    }

    /// Makes room again.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.0.join(FILLER)).context("cannot empty the disk")
    }

    /// All traces on it with their sizes, those within rings too.
    pub fn traces(&self) -> Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                // What goes while it is looked at is no trace any more.
                let Ok(meta) = path.symlink_metadata() else { continue };
                if meta.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_some_and(|name| name != FILLER) {
                    found.push((path, meta.len()));
                }
            }
        }
        Ok(found)
    }

    /// Reads every whole trace beside the rings to its end; how many there are.
    pub fn read_all(&self) -> Result<usize> {
        let saved = self.saved()?;
        saved.iter().try_for_each(|path| read(path))?;
        Ok(saved.len())
    }

    /// As [`Self::read_all`], and takes them away.
    pub fn take_all(&self) -> Result<usize> {
        let saved = self.saved()?;
        for path in &saved {
            read(path)?;
            fs::remove_file(path)?;
        }
        Ok(saved.len())
    }

    fn saved(&self) -> Result<Vec<PathBuf>> {
        let traces = self.traces()?.into_iter().map(|(path, _)| path);
        let beside = |path: &PathBuf| path.parent() == Some(&self.0);
        let trace = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wwt");
        Ok(traces.filter(|path| beside(path) && trace(path)).collect())
    }
}

/// Reads a trace to its end.
fn read(path: &Path) -> Result<()> {
    let mut reader = Reader::new(File::open(path)?);
    let mut inputs = 0_u64;
    while reader.next_input().with_context(|| format!("{} is broken", path.display()))?.is_some() {
        inputs += 1;
    }
    ensure!(inputs > 0, "{} is empty", path.display());
    Ok(())
}
