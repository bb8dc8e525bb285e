//! The logs that `wrapwatch import` reads: files, compressed or not, the files of `strace -ff`, standard input. Each is read twice.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use flate2::bufread::MultiGzDecoder;

use crate::import::strace::Log;

/// A log, to be opened as often as it is read.
#[derive(Debug)]
struct Source {
    name: String,
    /// Thread, where the file's name says.
    tid: Option<u32>,
    file: File,
}

/// The logs of one import.
#[derive(Debug)]
pub(super) struct Logs {
    sources: Vec<Source>,
    /// When the last of them was written.
    pub(super) written: SystemTime,
}

/// Logs as they are read.
pub(super) type Open = Vec<Log<Box<dyn BufRead>>>;

impl Logs {
    /// Finds what was named: files, the prefix that `-ff -o PREFIX` was given, `-` for standard input.
    pub(super) fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            if path.as_os_str() == "-" || path.exists() {
                files.push(path.clone());
            } else {
                let of_threads = thread_logs(path)?;
                if of_threads.is_empty() {
                    bail!("{}: no such file, and no {}.PID of strace -ff", path.display(), path.display());
                }
                files.extend(of_threads);
            }
        }
        let several = files.len() > 1;
        let mut logs = Self { sources: Vec::new(), written: UNIX_EPOCH };
        for path in files {
            let (file, written) = if path.as_os_str() == "-" {
                (
                    kept(io::stdin().lock())
                        .context("cannot keep what comes from standard input; give a file")?,
                    None,
                )
            } else {
                let mut file =
                    File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
                let written = file.metadata().and_then(|meta| meta.modified()).ok();
                if file.stream_position().is_err() {
                    file =
                        kept(file).with_context(|| format!("cannot keep what {} gives", path.display()))?;
                }
                (file, written)
            };
            logs.written = logs.written.max(written.unwrap_or_else(SystemTime::now));
            let tid = if several { thread_of(&path) } else { None };
            logs.sources.push(Source { name: path.display().to_string(), tid, file });
        }
        Ok(logs)
    }

    /// Opens them from their beginning.
    pub(super) fn open(&self) -> anyhow::Result<Open> {
        self.sources.iter().map(Source::open).collect()
    }
}

impl Source {
    fn open(&self) -> anyhow::Result<Log<Box<dyn BufRead>>> {
        let mut file = self.file.try_clone().with_context(|| format!("cannot read {}", self.name))?;
        file.seek(SeekFrom::Start(0)).with_context(|| format!("cannot read {}", self.name))?;
        let mut reader = BufReader::new(file);
        let begin = reader.fill_buf().with_context(|| format!("cannot read {}", self.name))?;
        let source: Box<dyn BufRead> = match Format::of(begin) {
            Format::Plain => Box::new(reader),
            Format::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(reader))),
            Format::Zstd => Box::new(BufReader::new(zstd::Decoder::with_buffer(reader)?)),
            Format::Other(program) => {
                bail!(
                    "{} is compressed. Run: {program} -dc {} | wrapwatch import strace - -o …",
                    self.name,
                    self.name
                )
            }
            Format::Archive(what) => bail!("{} is {what}: unpack it first", self.name),
            Format::Trace => bail!("{} is a trace already: wrapwatch report {}", self.name, self.name),
            Format::Capture => bail!("{} is a capture of packets, not a log of strace", self.name),
        };
        Ok(Log { tid: self.tid, source })
    }
}

/// What a file begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    Gzip,
    Zstd,
    /// Compressed by something else: the program that reads it.
    Other(&'static str),
    Archive(&'static str),
    Trace,
    Capture,
}

impl Format {
    fn of(begin: &[u8]) -> Self {
        const MAGIC: [(&[u8], Format); 12] = [
            (&[0x1f, 0x8b], Format::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd], Format::Zstd),
            (&[0xfd, b'7', b'z', b'X', b'Z'], Format::Other("xz")),
            (b"BZh", Format::Other("bzip2")),
            (&[0x04, 0x22, 0x4d, 0x18], Format::Other("lz4")),
            (b"PK\x03\x04", Format::Archive("a zip archive")),
            (b"7z\xbc\xaf", Format::Archive("a 7z archive")),
            (&crate::trace::block::MAGIC, Format::Trace),
            (&[0xd4, 0xc3, 0xb2, 0xa1], Format::Capture),
            (&[0xa1, 0xb2, 0xc3, 0xd4], Format::Capture),
            (&[0x0a, 0x0d, 0x0d, 0x0a], Format::Capture),
            (&[0x4d, 0x3c, 0xb2, 0xa1], Format::Capture),
        ];
        MAGIC.iter().find(|(magic, _)| begin.starts_with(magic)).map_or(Self::Plain, |(_, format)| *format)
    }
}

/// What can be read once only, in a file without a name.
fn kept(mut from: impl io::Read) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE);
    let mut file = options.open(std::env::temp_dir())?;
    io::copy(&mut from, &mut file)?;
    Ok(file)
}

/// The thread in the name of a log of `strace -ff`, which may be compressed.
fn thread_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    name.rsplit_once('.')?.1.parse().ok()
}

/// `PREFIX.PID` for every thread, as `strace -ff -o PREFIX` names them.
fn thread_logs(prefix: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let dir = prefix.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = prefix.file_name().unwrap_or_default().to_string_lossy();
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let behind = file.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('.'));
        let behind =
            behind.map(|rest| rest.strip_suffix(".gz").or_else(|| rest.strip_suffix(".zst")).unwrap_or(rest));
        if behind.is_some_and(|tid| tid.parse::<u32>().is_ok()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn read(bytes: &[u8]) -> anyhow::Result<String> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(bytes)?;
        let logs = Logs::find(&[file.path().to_owned()])?;
        let mut last = String::new();
        for _ in 0..2 {
            last.clear();
            logs.open()?[0].source.read_to_string(&mut last)?;
        }
        Ok(last)
    }

    #[test]
    fn a_log_is_read_whether_it_is_compressed_or_not() {
        let text = "7 close(3) = 0\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let zstd = zstd::encode_all(text.as_bytes(), 3).unwrap();
        for bytes in [text.as_bytes(), &gzip.finish().unwrap(), &zstd] {
            assert_eq!(read(bytes).unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        for (bytes, said) in [
            (&b"BZh91AY"[..], "bzip2 -dc"),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz -dc"),
            (b"PK\x03\x04", "unpack it first"),
            (&[0xd4, 0xc3, 0xb2, 0xa1], "packets"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
