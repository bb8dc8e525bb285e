//! A recording in several files: rotated by size (`--max-size`, `--keep`), or the segments of a flight recorder's ring.
//!
//! Each file is a trace by itself: it begins with the [`super::prelude`], its blocks count from 0, and it ends with an end that says
//! that it is continued. The records' counts go on over all files.
//!
//! Limits hold at every moment: room is made before something is written, and what there can be no room for is refused ([`WriteError::NoRoom`]).
//! A ring on a disk that is full forgets its oldest file for what is new.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::block::{Block, BlockType, Header, Packer, Span};
use super::dir::Dir;
use super::error::{CreateError, WriteError};
use super::head::End;
use super::prelude::Prelude;
use super::sink::{BlockSink, FileSink, SingleFile};
use crate::model::KtimeNs;

/// Room for the end of a file.
pub(super) const END_MAX: u64 = 512;
/// What a file begins with takes one part of it in this many, at most.
const PRELUDE_SHARE: u64 = 2;

/// Files of a rotated recording have numbers below this: a file that is called by a greater one is somebody else's.
const NUMBERS: u64 = 1_000_000_000;

/// Why a file ends where the recording does not.
pub(crate) const CONTINUED: &str = "continued in the next file";

/// How the files are named.
#[derive(Debug)]
enum Names {
    /// The one being written has the name that was asked for; a finished one gets a number: `a.wwt` → `a.000001.wwt`.
    Rotated(PathBuf),
    /// All have numbers, in a directory of their own.
    Ring(Dir),
}

/// When a file is finished, and which finished ones stay. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file. Half of it is for what is repeated; what the other half has no room for is refused.
    pub file_bytes: Option<u64>,
    /// Time from the first block of one file to its last.
    pub file_ns: Option<u64>,
    /// Finished files that stay, beside the one being written.
    pub keep_files: Option<usize>,
    /// A finished file goes when its last record is this much older than the latest.
    pub keep_ns: Option<u64>,
    /// Bytes of all files; the oldest finished ones go.
    pub total_bytes: Option<u64>,
}

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) last_ns: u64,
}

/// The file being written.
#[derive(Debug)]
struct Current {
    file: SingleFile<FileSink>,
    path: PathBuf,
    /// What it was made with: without more, it is not worth finishing.
    prelude_bytes: u64,
    first_ns: Option<u64>,
    last_ns: u64,
}

impl Current {
    /// A block was written to it.
    fn note(&mut self, header: &Header) {
        let repeated = matches!(
            BlockType::from_raw(header.kind),
            Some(
                BlockType::Head
                    | BlockType::Target
                    | BlockType::Degradation
                    | BlockType::Clock
                    | BlockType::Snapshot
            )
        );
        if !repeated {
            self.first_ns.get_or_insert(header.first_ns);
        }
        self.last_ns = self.last_ns.max(header.last_ns);
    }
}

/// Several files in turn.
#[derive(Debug)]
pub struct Segmented {
    names: Names,
    limits: Limits,
    force: bool,
    prelude: Prelude,
    packer: Packer,
    current: Option<Current>,
    done: VecDeque<Segment>,
    /// Number of the file being written, from 0.
    file: u64,
    /// Number that the next finished or ring file gets.
    number: u64,
    /// Bytes of files that are gone.
    gone_bytes: u64,
    /// Finished files with something as late as this stay, however old they are; only for want of bytes they go.
    pub(super) keep_from: Option<KtimeNs>,
    /// Latest time of what was written once and has gone since, or could not be written at all.
    pub(super) forgotten: Option<KtimeNs>,
    /// Files that could not be removed: they count, and it is tried again.
    stuck: Vec<Segment>,
}

impl Segmented {
    /// Rotated files beginning with `path`. An existing `path` is refused unless `force`; numbers go on behind those that are
    /// there, which stay: also where an earlier recorder has removed its first ones.
    pub fn rotating(path: &Path, force: bool, limits: Limits) -> Result<Self, WriteError> {
        let number = highest_number(path).saturating_add(1);
        Self::new(Names::Rotated(path.to_owned()), force, number, limits)
    }

    /// Numbered files in the new directory `dir`, mode 0700. An existing one is refused unless `force`, and also then where it is not this user's alone: else the
    /// files of an earlier ring in it go.
    pub(super) fn ring(dir: &Path, force: bool, limits: Limits) -> Result<Self, WriteError> {
        let made = match Dir::make(dir)? {
            Some(made) => made,
            None if !force => return Err(CreateError::RingLeft(dir.to_owned()).into()),
            None => {
                let left = Dir::ours(dir)?;
                let error = |source| CreateError::Io { path: dir.to_owned(), source };
                for name in left.names().map_err(error)?.iter().filter(|name| is_segment(name)) {
                    left.remove(name).map_err(error)?;
                }
                left
            }
        };
        Self::new(Names::Ring(made), false, 1, limits)
    }

    fn new(names: Names, force: bool, number: u64, limits: Limits) -> Result<Self, WriteError> {
        let mut new = Self {
            names,
            limits,
            force,
            prelude: Prelude::new(limits.file_bytes.unwrap_or(u64::MAX) / PRELUDE_SHARE)?,
            packer: Packer::new(3)?,
            current: None,
            done: VecDeque::new(),
            file: 0,
            number,
            gone_bytes: 0,
            keep_from: None,
            forgotten: None,
            stuck: Vec::new(),
        };
        // An error in the name should be told at once.
        new.current = Some(new.open(Span::default(), 0)?);
        Ok(new)
    }

    /// Finished files and the one being written, oldest first, with the bytes that are whole blocks now.
    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let done = self.done.iter().map(|segment| (segment.path.clone(), segment.bytes));
        done.chain(self.current.iter().map(|current| (current.path.clone(), current.file.size()))).collect()
    }

    /// Bytes of all files there are.
    pub fn present_bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |current| current.file.size());
        current + self.done.iter().chain(&self.stuck).map(|segment| segment.bytes).sum::<u64>()
    }

    /// Whether room for `block` may have to be made of something as late as `from`.
    pub(super) fn would_forget(&self, block: &Block, from: KtimeNs) -> bool {
        let Some(max) = self.limits.total_bytes else { return false };
        // At worst one file ends with it and a further one begins.
        let wanted = self.present_bytes() + self.prelude.bytes() + block_bytes(block) + 2 * END_MAX;
        let mut over = wanted.saturating_sub(max);
        for segment in &self.done {
            if over == 0 {
                return false;
            }
            if segment.last_ns >= from.0 {
                return true;
            }
            over = over.saturating_sub(segment.bytes);
        }
        over > 0
    }

    /// Whether everything from `from` on is still there.
    pub(super) fn reaches(&self, from: KtimeNs) -> bool {
        self.forgotten.is_none_or(|forgotten| forgotten < from)
    }

    /// One of its files, to be read.
    pub(super) fn read(&self, path: &Path) -> std::io::Result<std::fs::File> {
        match &self.names {
            Names::Rotated(_) => std::fs::File::open(path),
            Names::Ring(dir) => dir.open(path.file_name().unwrap_or_default()),
        }
    }

    /// Removes all files, and the directory of a ring.
    pub(super) fn remove_all(self) -> std::io::Result<()> {
        let paths: Vec<_> = self.files().into_iter().map(|(path, _)| path).collect();
        match self.names {
            Names::Rotated(_) => paths.iter().try_for_each(std::fs::remove_file),
            Names::Ring(dir) => {
                for path in paths {
                    dir.remove(path.file_name().unwrap_or_default())?;
                }
                dir.remove_itself()
            }
        }
    }

    /// The file being written, where there is one.
    pub fn sink(&self) -> Option<&FileSink> {
        self.current.as_ref().map(|current| current.file.sink())
    }

    /// Makes the next file and repeats what it has to begin with.
    fn open(&mut self, counts: Span, now_ns: u64) -> Result<Current, WriteError> {
        if !self.prelude.fits() {
            // It keeps to its budget but for the head.
            let needed = self.prelude.bytes().saturating_mul(PRELUDE_SHARE);
            return Err(WriteError::NoRoom { needed, limit: self.limits.file_bytes.unwrap_or(0) });
        }
        let path = match &self.names {
            Names::Rotated(path) => path.clone(),
            Names::Ring(dir) => dir.path().join(format!("{:06}.wwt", self.number)),
        };
        let blocks = self.prelude.blocks(self.file, counts)?;
        self.make_room(blocks.iter().map(block_bytes).sum(), now_ns)?;
        // Only the first file of a rotated recording can meet one of somebody else.
        let sink = match &self.names {
            Names::Rotated(_) => FileSink::create(&path, self.force && self.file == 0)?,
            Names::Ring(dir) => {
                self.number += 1;
                FileSink::within(dir, path.file_name().unwrap_or_default())?
            }
        };
        let mut file = SingleFile::new(sink);
        if let Err(error) = blocks.iter().try_for_each(|block| file.put(block)) {
            // Half a beginning is in the way of the next attempt.
            let bytes = file.size();
            self.remove(Segment { path, bytes, last_ns: 0 });
            return Err(error);
        }
        let prelude_bytes = file.size();
        Ok(Current { file, path, prelude_bytes, first_ns: None, last_ns: 0 })
    }

    /// Ends the file being written and gives it its place among the finished ones.
    fn finish_current(&mut self, counts: Span) -> Result<(), WriteError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        self.file += 1;
        let at = current.last_ns;
        let end = End {
            at: KtimeNs(at),
            reason: CONTINUED.to_owned(),
            records: counts.records_before,
            ..End::default()
        };
        let span = Span { items: 1, first_ns: at, last_ns: at, ..counts };
        let block = self.packer.pack(BlockType::End, &serde_json::to_vec(&end)?, span)?;
        // A file without an end is readable as well.
        let ended = current.file.put(&block).and_then(|()| current.file.sync());
        let bytes = current.file.size();
        let mut path = current.path;
        if let Names::Rotated(_) = self.names {
            let target = numbered(&path, self.number);
            self.number += 1;
            std::fs::rename(&path, &target)
                .map_err(|source| WriteError::from_io(target.display().to_string(), bytes, source))?;
            path = target;
        }
        self.done.push_back(Segment { path, bytes, last_ns: at });
        ended
    }

    fn is_due(&self, block: &Block) -> bool {
        let Some(current) = &self.current else { return false };
        let size = current.file.size();
        // A file that holds nothing yet is never full.
        let full = |max: u64| size > current.prelude_bytes && size + block_bytes(block) + END_MAX > max;
        let old =
            |max: u64| current.first_ns.is_some_and(|first| block.header.last_ns.saturating_sub(first) > max);
        self.limits.file_bytes.is_some_and(full) || self.limits.file_ns.is_some_and(old)
    }

    /// Removes the finished files that the limits leave no place for, before so many bytes are written and the end of a file.
    fn make_room(&mut self, bytes: u64, now_ns: u64) -> Result<(), WriteError> {
        for segment in std::mem::take(&mut self.stuck) {
            self.remove(segment);
        }
        loop {
            let total = self.present_bytes() + bytes + END_MAX;
            let large = self.limits.total_bytes.filter(|max| total > *max);
            let Some(oldest) = self.done.front() else {
                return large.map_or(Ok(()), |limit| Err(WriteError::NoRoom { needed: total, limit }));
            };
            let kept = self.keep_from.is_some_and(|from| oldest.last_ns >= from.0);
            let many = self.limits.keep_files.is_some_and(|keep| self.done.len() > keep);
            let old = self.limits.keep_ns.is_some_and(|keep| now_ns.saturating_sub(oldest.last_ns) > keep);
            if !(many || old && !kept || large.is_some()) {
                return Ok(());
            }
            self.forget_oldest();
        }
    }

    /// Removes the oldest finished file. False where there is none.
    fn forget_oldest(&mut self) -> bool {
        let Some(oldest) = self.done.pop_front() else { return false };
        self.gone_bytes += oldest.bytes;
        self.forgotten = self.forgotten.max(Some(KtimeNs(oldest.last_ns)));
        self.remove(oldest);
        true
    }

    fn remove(&mut self, segment: Segment) {
        let removed = match &self.names {
            Names::Rotated(_) => std::fs::remove_file(&segment.path),
            Names::Ring(dir) => dir.remove(segment.path.file_name().unwrap_or_default()),
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                log::warn!("cannot remove {}: {error}", segment.path.display());
                self.stuck.push(segment);
            }
            _ => {}
        }
    }

    /// Writes a block into the current file, or the next one where there is none.
    fn write(&mut self, block: &Block, counts: Span) -> Result<(), WriteError> {
        let now_ns = block.header.last_ns;
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.open(counts, now_ns)?,
        };
        let bytes = current.file.size() + block_bytes(block);
        let written = self.make_room(bytes, now_ns).and_then(|()| current.file.put(block));
        if written.is_ok() {
            current.note(&block.header);
        }
        self.current = Some(current);
        written
    }

    /// On a full disk: whether something old was forgotten for something new. What is to be saved is not.
    fn forgets_for_space(&mut self, error: &WriteError) -> bool {
        let kept = self
            .done
            .front()
            .is_some_and(|oldest| self.keep_from.is_some_and(|from| oldest.last_ns >= from.0));
        matches!(self.names, Names::Ring(_)) && error.is_full() && !kept && self.forget_oldest()
    }

    /// The block as there can be room for it: what is larger than a file loses its content, or is refused.
    fn fitting<'a>(&mut self, block: &'a Block) -> Result<Cow<'a, Block>, WriteError> {
        let Some(max) = self.limits.file_bytes else { return Ok(Cow::Borrowed(block)) };
        let limit = max.saturating_sub(max / PRELUDE_SHARE + END_MAX);
        let needed = block_bytes(block);
        if needed <= limit {
            return Ok(Cow::Borrowed(block));
        }
        if BlockType::from_raw(block.header.kind) == Some(BlockType::Snapshot)
            && let Some(smaller) = self.prelude.without_bytes(block)?
            && block_bytes(&smaller) <= limit
        {
            return Ok(Cow::Owned(smaller));
        }
        Err(WriteError::NoRoom { needed, limit })
    }
}

impl BlockSink for Segmented {
    fn put(&mut self, block: &Block) -> Result<(), WriteError> {
        let records = block.header.kind == BlockType::Records as u16;
        let last = records.then_some(KtimeNs(block.header.last_ns));
        let block = self.fitting(block).inspect_err(|_| self.forgotten = self.forgotten.max(last))?;
        let counts =
            Span { records_before: block.header.records_before, lost: block.header.lost, ..Span::default() };
        let mut ended = Ok(());
        if self.is_due(&block) {
            ended = self.finish_current(counts);
        }
        let written = loop {
            match self.write(&block, counts) {
                Err(error) if self.forgets_for_space(&error) => {}
                written => break written,
            }
        };
        if written.is_err() {
            self.forgotten = self.forgotten.max(last);
        }
        // Also where it cannot be written: the next file may have room for it.
        self.prelude.see(&block)?;
        written.and(ended)
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        self.current.as_mut().map_or(Ok(()), |current| current.file.sync())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        self.current.as_mut().map_or(Ok(()), |current| current.file.finish())
    }

    fn size(&self) -> u64 {
        self.gone_bytes + self.present_bytes()
    }
}

fn block_bytes(block: &Block) -> u64 {
    block.header.block_len() as u64
}

/// `a.wwt` → `a.000001.wwt`.
pub fn numbered(path: &Path, number: u64) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}.{number:06}.{}", extension.to_string_lossy()),
        None => format!("{stem}.{number:06}"),
    };
    path.with_file_name(name)
}

/// The highest number that a file rotated away from `path` has; 0 where there is none, or where the folder cannot be listed.
fn highest_number(path: &Path) -> u64 {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    names.filter_map(|entry| number_of(path, &entry.path())).max().unwrap_or(0)
}

/// The number of a file that was rotated away from `path`.
pub(super) fn number_of(path: &Path, found: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_string_lossy();
    let digits = found.file_stem()?.to_str()?.strip_prefix(&*stem)?.strip_prefix('.')?;
    let number = digits.parse().ok().filter(|number| *number < NUMBERS);
    number.filter(|_| found.extension() == path.extension())
}

/// Whether it is a file of a ring: `000001.wwt`.
pub(super) fn is_segment(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_suffix(".wwt"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}
