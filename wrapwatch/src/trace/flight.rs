//! The flight recorder: the last minutes on disk, in a ring of segments beside the trace to be; joined to one trace when something
//! happens.
//!
//! Everything is bounded: the ring by time and bytes, ring and all that is saved, also by earlier recorders, by [`FlightOptions::total_bytes`], at every
//! moment. A recorder that was killed leaves its ring behind: [`Save::of_dir`] makes a trace of it.
//!
//! What set a save off is in the saved trace: from [`FlightRing::pin`] on the ring does not forget it. Where it would have to, the trace is saved at
//! once, before what was asked to follow has come.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::block::{Block, BlockType, Header, PackError, Packer, Span};
use super::dir::Dir;
use super::error::{CreateError, ReadError, WriteError};
use super::head::End;
use super::scan::{Found, Scanner};
use super::segments::{CONTINUED, END_MAX, Limits, Segmented, is_segment, number_of, numbered};
use super::sink::{BlockSink, FileSink, SingleFile, draft};
use crate::model::KtimeNs;

/// The ring is cut into this many segments, at least; one more is kept, so that the time asked for is there in full.
const SEGMENTS: u64 = 8;
/// The ring may have one part of everything in this many.
const RING_SHARE: u64 = 4;
/// Bytes of a segment: what a full disk makes the ring forget at once is no more.
const SEGMENT_MAX_BYTES: u64 = 8 << 20;
/// Segments are held open while they are saved, so they are larger before there are more of them.
const SEGMENTS_MAX: u64 = 256;

/// How much a flight recorder keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightOptions {
    /// How far back a saved trace reaches (`--last`), at least.
    pub last_ns: u64,
    /// Bytes of the ring; where they are fewer than the time needs, the time is shorter.
    pub ring_bytes: u64,
    /// Bytes of the ring and everything saved. What would pass it is not saved.
    pub total_bytes: u64,
}

impl FlightOptions {
    /// Least bytes that a flight recorder can do with.
    pub const TOTAL_MIN_BYTES: u64 = 256 << 10;

    /// Keeps the last `last_ns`, and takes `total_bytes` for the ring and all that is saved.
    pub const fn within(total_bytes: u64, last_ns: u64) -> Self {
        // A trace being saved may hold one segment open that the ring has forgotten already.
        let ring_bytes = total_bytes / (RING_SHARE * SEGMENTS + 1) * SEGMENTS;
        Self { last_ns, ring_bytes, total_bytes }
    }

    /// Whether a flight recorder of this size can begin beside what was saved to `path` before.
    pub fn check(&self, path: &Path) -> Result<(), CreateError> {
        let limit = self.total_bytes;
        if limit < Self::TOTAL_MIN_BYTES {
            return Err(CreateError::TotalSmall { limit, least: Self::TOTAL_MIN_BYTES });
        }
        let saved: u64 = saved_traces(path).map(|path| bytes_of(&path)).sum();
        if saved.saturating_add(self.ring_bytes) > limit {
            return Err(CreateError::TotalUsed {
                path: path.to_owned(),
                saved,
                ring: self.ring_bytes,
                limit,
            });
        }
        Ok(())
    }

    /// Bytes of one segment of the ring.
    pub fn segment_bytes(&self) -> u64 {
        let part = (self.ring_bytes / SEGMENTS).min(SEGMENT_MAX_BYTES).max(self.ring_bytes / SEGMENTS_MAX);
        // A segment of a small ring holds some blocks, and is no more than a part of it.
        part.max((1 << 16).min(self.ring_bytes / 4))
    }

    /// Bytes of a block of records before compression: some have room in a segment beside what each repeats.
    pub fn block_bytes(&self) -> usize {
        usize::try_from(self.segment_bytes() / 4).unwrap_or(usize::MAX)
    }
}

/// Why something was not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The cap on everything.
    #[error("not saved: {saved} bytes are saved, and {needed} more would pass the limit of {limit} for all")]
    Cap {
        /// Bytes saved before.
        saved: u64,
        /// Bytes of the ring now, which the new trace may take.
        needed: u64,
        /// The cap.
        limit: u64,
    },
    /// What set it off has gone from the ring.
    #[error(
        "not saved: it began {began_s:.1} s ago, and of that the ring has lost the beginning; give --max-total more ({limit} bytes), or --last where it is less"
    )]
    Short {
        /// How long ago it began, seconds.
        began_s: f64,
        /// The cap.
        limit: u64,
    },
    /// The trace could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The trace could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A segment could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
}

impl From<PackError> for SaveError {
    fn from(error: PackError) -> Self {
        Self::Write(error.into())
    }
}

/// A ring of segments on disk; a [`BlockSink`] for a [`super::Writer`].
#[derive(Debug)]
pub struct FlightRing {
    pub(super) segments: Segmented,
    dir: PathBuf,
    path: PathBuf,
    options: FlightOptions,
    /// Traces being saved, and what they may take with the segments that they hold.
    saving: Vec<(PathBuf, u64)>,
    pinned: Option<Pinned>,
    early: Option<Early>,
}

/// What happened, and will be saved for.
#[derive(Debug)]
struct Pinned {
    why: String,
    from: KtimeNs,
}

/// A trace that had to be saved at once.
#[derive(Debug)]
pub struct Early {
    /// What for.
    pub why: String,
    /// To be run, as [`FlightRing::save`] gives it.
    pub save: Result<Save, SaveError>,
}

/// The ring's directory beside the trace that will be saved to `path`: `FILE.wwt.ring`.
fn ring_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".ring");
    path.with_file_name(name)
}

impl FlightRing {
    /// Makes the directory `FILE.wwt.ring` beside the traces that will be saved: to `path`, to `FILE.000001.wwt` and so on, whichever are not there yet.
    pub fn create(path: &Path, force: bool, options: FlightOptions) -> Result<Self, WriteError> {
        options.check(path)?;
        let dir = ring_of(path);
        let limits = Limits {
            file_bytes: Some(options.segment_bytes()),
            file_ns: Some((options.last_ns / SEGMENTS).max(1)),
            keep_files: None,
            keep_ns: Some(options.last_ns),
            total_bytes: Some(options.ring_bytes),
        };
        let segments = Segmented::ring(&dir, force, limits)?;
        let path = path.to_owned();
        Ok(Self { segments, dir, path, options, saving: Vec::new(), pinned: None, early: None })
    }

    /// Whether what an earlier flight recorder left at the place of the ring, if anything, can be taken over.
    pub fn check_left(path: &Path, force: bool) -> Result<(), CreateError> {
        let dir = ring_of(path);
        match dir.symlink_metadata() {
            Err(_) => Ok(()),
            Ok(_) if force => Dir::ours(&dir).map(drop),
            Ok(_) => Err(CreateError::RingLeft(dir)),
        }
    }

    /// Where the segments are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The segment being written, where there is one.
    pub fn sink(&self) -> Option<&FileSink> {
        self.segments.sink()
    }

    /// Something happened that began at `from`, and a trace will be saved for it: until [`Self::save`] nothing since then is forgotten. To be called with everything
    /// written ([`super::Writer::flush_block`]). An error where the ring does not reach back so far.
    pub fn pin(&mut self, why: &str, from: KtimeNs, now: KtimeNs) -> Result<(), SaveError> {
        if !self.segments.reaches(from) {
            let began_s = Duration::from_nanos(now.since(from)).as_secs_f64();
            return Err(SaveError::Short { began_s, limit: self.options.total_bytes });
        }
        self.segments.keep_from = Some(from);
        self.pinned = Some(Pinned { why: why.to_owned(), from });
        Ok(())
    }

    fn unpin(&mut self) -> Option<Pinned> {
        self.segments.keep_from = None;
        self.pinned.take()
    }

    /// What had to be saved before its time, since the ring had no room for it and what came then.
    pub const fn take_early(&mut self) -> Option<Early> {
        self.early.take()
    }

    /// Bytes of what was saved, also by earlier recorders: the traces there are now.
    fn saved_bytes(&self) -> u64 {
        let being_saved =
            |path: &Path| self.saving.iter().any(|(other, _)| other.file_name() == path.file_name());
        saved_traces(&self.path).filter(|path| !being_saved(path)).map(|path| bytes_of(&path)).sum()
    }

    /// Prepares a trace of what the ring holds now. Call [`super::Writer::flush_block`] before. [`Save::run`] writes it, in another
    /// thread: it reads up to the whole ring. The segments it needs are held open, so the ring goes on meanwhile. [`Self::saved`] has to be told of its end.
    pub fn save(&mut self, why: &str, now: KtimeNs) -> Result<Save, SaveError> {
        self.unpin();
        let files = self.segments.files();
        let needed = self.segments.present_bytes() + END_MAX;
        // The segment that is being read may have gone from the ring.
        let held = files.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        let limit = self.options.total_bytes;
        let reserved: u64 = self.saving.iter().map(|(_, bytes)| bytes).sum();
        let saved = self.saved_bytes().saturating_add(reserved);
        if saved.saturating_add(needed + held + self.options.ring_bytes) > limit {
            return Err(SaveError::Cap { saved, needed, limit });
        }
        let mut parts = Vec::new();
        for (path, len) in files {
            let opened = self.segments.read(&path);
            parts.push(Part::of(path, opened, len)?);
        }
        let to = self.free_name();
        self.saving.push((to.clone(), needed + held));
        Ok(Save { parts, to, force: false, end: Some((why.to_owned(), now)) })
    }

    /// A save has ended, well or not.
    pub fn saved(&mut self, to: &Path) {
        self.saving.retain(|(path, _)| path != to);
    }

    /// The first name in turn that is not taken.
    fn free_name(&self) -> PathBuf {
        let taken = |path: &Path| {
            path.symlink_metadata().is_ok() || self.saving.iter().any(|(other, _)| other == path)
        };
        let numbers = (1..).map(|number| numbered(&self.path, number));
        let mut names = std::iter::once(self.path.clone()).chain(numbers);
        names.find(|path| !taken(path)).unwrap_or_else(|| self.path.clone())
    }

    /// Removes the ring.
    pub fn remove(self) -> io::Result<()> {
        self.segments.remove_all()
    }
}

/// What is there of `FILE.wwt`, `FILE.000001.wwt` and so on, and of those that a recorder was killed while it wrote them.
fn saved_traces(path: &Path) -> impl Iterator<Item = PathBuf> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let path = path.to_owned();
    entries.map(|entry| entry.path()).filter(move |found| is_of(&path, found))
}

fn bytes_of(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |meta| meta.len())
}

/// Whether `found` is `path`, or a numbered one of it, or what became of neither.
fn is_of(path: &Path, found: &Path) -> bool {
    if found.file_name() == path.file_name() {
        return true;
    }
    if let Some((draft_of, pid)) = found.file_name().and_then(draft) {
        return pid != std::process::id() && is_of(path, Path::new(draft_of));
    }
    number_of(path, found).is_some()
}

impl BlockSink for FlightRing {
    fn put(&mut self, block: &Block) -> Result<(), WriteError> {
        if let Some(pinned) = self.pinned.as_ref()
            && self.segments.would_forget(block, pinned.from)
            && let Some(Pinned { why, .. }) = self.unpin()
        {
            let save = self.save(&why, KtimeNs(block.header.first_ns));
            self.early = Some(Early { why, save });
        }
        self.segments.put(block)
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        // What matters is saved; the ring may go with the power.
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        self.segments.finish()
    }

    fn size(&self) -> u64 {
        self.segments.size()
    }
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Part {
    fn of(path: PathBuf, opened: io::Result<File>, len: u64) -> Result<Self, SaveError> {
        match opened {
            Ok(file) => Ok(Self { path, file, len }),
            Err(source) => Err(SaveError::Read { path, source: source.into() }),
        }
    }
}

/// Segments on their way into one trace.
#[derive(Debug)]
pub struct Save {
    parts: Vec<Part>,
    to: PathBuf,
    force: bool,
    /// What for, and when; none where the recorder did not live to say so: then there is no end, and a reader says so.
    end: Option<(String, KtimeNs)>,
}

/// A trace that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl Save {
    /// A trace of the ring that a killed recorder left behind.
    pub fn of_dir(dir: &Path, to: &Path, force: bool) -> Result<Self, SaveError> {
        let error = |source: io::Error| SaveError::Read { path: dir.to_owned(), source: source.into() };
        let mut parts = Vec::new();
        let ring = Dir::of_anybody(dir).map_err(error)?;
        for name in ring.names().map_err(error)?.iter().filter(|name| is_segment(name)) {
            parts.push(Part::of(dir.join(name), ring.open(name), u64::MAX)?);
        }
        Ok(Self { parts, to: to.to_owned(), force, end: None })
    }

    /// Where it will be.
    pub fn to(&self) -> &Path {
        &self.to
    }

    /// Writes the trace. What the segments repeat is in it once. It has its name once it is whole, and where that fails nothing of it stays.
    pub fn run(self) -> Result<Saved, SaveError> {
        let mut join = Join {
            out: SingleFile::new(FileSink::replacing(&self.to, self.force)?),
            seen: HashSet::new(),
            last: None,
        };
        self.parts.into_iter().try_for_each(|part| join.segment(part))?;
        join.end(self.end)?;
        Ok(Saved { path: self.to, bytes: join.out.size() })
    }
}

/// Segments being joined.
struct Join {
    out: SingleFile<FileSink>,
    /// Type and payload of what segments repeat.
    seen: HashSet<(u16, Vec<u8>)>,
    last: Option<Header>,
}

impl Join {
    fn segment(&mut self, part: Part) -> Result<(), SaveError> {
        let mut scanner = Scanner::new(part.file.take(part.len));
        loop {
            let (header, payload) = match scanner.next_block() {
                Ok(Some(Found::Block(header, payload, _))) => (header, payload.to_vec()),
                Ok(Some(Found::Damage(_))) => continue,
                // The latter: a segment killed within its head.
                Ok(None) | Err(ReadError::NotATrace(_)) => return Ok(()),
                Err(source) => return Err(SaveError::Read { path: part.path, source }),
            };
            if !self.repeats(&header, &payload) {
                self.out.put(&Block { header, payload })?;
            }
            self.last = Some(header);
        }
    }

    fn repeats(&mut self, header: &Header, payload: &[u8]) -> bool {
        match BlockType::from_raw(header.kind) {
            Some(BlockType::Head) => self.last.is_some(),
            // It ends the segment only.
            Some(BlockType::End) => true,
            Some(BlockType::Target | BlockType::Degradation | BlockType::Clock | BlockType::Snapshot) => {
                !self.seen.insert((header.kind, payload.to_vec()))
            }
            _ => false,
        }
    }

    fn end(&mut self, end: Option<(String, KtimeNs)>) -> Result<(), SaveError> {
        let Some((reason, at)) = end else { return Ok(self.out.finish()?) };
        let last = self.last;
        let records = last.map_or(0, |header| header.records_before);
        let end = End { at, reason, records, ..End::default() };
        let raw = serde_json::to_vec(&end).map_err(WriteError::from)?;
        let lost = last.map_or(0, |header| header.lost);
        let span = Span { items: 1, first_ns: at.0, last_ns: at.0, records_before: records, lost };
        self.out.put(&Packer::new(3)?.pack(BlockType::End, &raw, span)?)?;
        Ok(self.out.finish()?)
    }
}

/// When a trace is saved after something happened: not at once, so that the end of it is there too, and not again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    after_ns: u64,
    cooldown_ns: u64,
    state: State,
    suppressed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Something happened; save at this time.
    Armed {
        due: KtimeNs,
        why: String,
    },
    /// Saved; nothing counts until this time.
    Cooling {
        until: KtimeNs,
    },
}

impl Trigger {
    /// Saves `after_ns` behind what happened (`--after`), and takes nothing for new within `cooldown_ns` behind that (`--cooldown`).
    pub const fn new(after_ns: u64, cooldown_ns: u64) -> Self {
        Self { after_ns, cooldown_ns, state: State::Idle, suppressed: 0 }
    }

    /// Whether something that happens now would be saved for.
    pub fn is_open(&self, now: KtimeNs) -> bool {
        match &self.state {
            State::Idle => true,
            State::Armed { .. } => false,
            State::Cooling { until } => now >= *until,
        }
    }

    /// What was armed was saved before its time.
    pub fn saved_early(&mut self, now: KtimeNs) {
        self.state = State::Cooling { until: now.plus(self.cooldown_ns) };
    }

    /// Something happened. True where it is the one that will be saved for.
    pub fn happened(&mut self, now: KtimeNs, why: &str) -> bool {
        match &self.state {
            State::Cooling { until } if now < *until => {}
            State::Idle | State::Cooling { .. } => {
                self.state = State::Armed { due: now.plus(self.after_ns), why: why.to_owned() };
                return true;
            }
            State::Armed { .. } => {}
        }
        self.suppressed += 1;
        false
    }

    /// Whether to save now, and for what. Told once.
    pub fn due(&mut self, now: KtimeNs) -> Option<String> {
        match &mut self.state {
            State::Armed { due, why } if now >= *due => {
                let why = std::mem::take(why);
                self.state = State::Cooling { until: now.plus(self.cooldown_ns) };
                Some(why)
            }
            _ => None,
        }
    }

    /// What is armed still, at the end of the recording.
    pub fn pending(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Armed { why, .. } => Some(why),
            _ => None,
        }
    }

    /// How often something happened that was not saved for by itself.
    pub const fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

/// Whether an end is that of a file only, not of the recording.
pub fn is_continued(end: &End) -> bool {
    end.reason == CONTINUED
}
