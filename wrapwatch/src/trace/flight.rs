//! The flight recorder: the last minutes on disk, in a ring of segments beside the trace to be; joined to one trace when something
//! happens.
//!
//! Everything is bounded: the ring by time and bytes, all that is saved by [`FlightOptions::total_bytes`]. A recorder that was killed
//! leaves its ring behind: [`Save::of_dir`] makes a trace of it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::block::{Block, BlockType, Header, PackError, Packer, Span};
use super::head::End;
use super::scan::{Found, ReadError, Scanner};
use super::segments::{CONTINUED, Limits, Segmented, numbered, ring_files};
use super::sink::{BlockSink, CreateError, FileSink, SingleFile};
use super::writer::WriteError;
use crate::model::KtimeNs;

/// The ring is cut into this many segments; one more is kept, so that the time asked for is there in full.
const SEGMENTS: u64 = 8;

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
    force: bool,
    saved_bytes: u64,
    saved: u64,
}

/// The ring's directory beside the trace that will be saved to `path`: `FILE.wwt.ring`.
pub fn ring_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".ring");
    path.with_file_name(name)
}

impl FlightRing {
    /// Makes the directory `FILE.wwt.ring` beside the trace that will be saved to `path` (a second one to `FILE.000001.wwt`).
    pub fn create(path: &Path, force: bool, options: FlightOptions) -> Result<Self, WriteError> {
        if !force && path.symlink_metadata().is_ok() {
            return Err(CreateError::Exists(path.to_owned()).into());
        }
        let dir = ring_of(path);
        let limits = Limits {
            // A segment of a small ring holds some blocks, and is no more than a part of it.
            file_bytes: Some((options.ring_bytes / SEGMENTS).max((1 << 16).min(options.ring_bytes / 4))),
            file_ns: Some((options.last_ns / SEGMENTS).max(1)),
            keep_files: None,
            keep_ns: Some(options.last_ns),
            total_bytes: Some(options.ring_bytes),
        };
        let segments = Segmented::ring(&dir, force, limits)?;
        Ok(Self { segments, dir, path: path.to_owned(), options, force, saved_bytes: 0, saved: 0 })
    }

    /// Where the segments are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The segment being written, where there is one.
    pub fn sink(&self) -> Option<&FileSink> {
        self.segments.sink()
    }

    /// Prepares a trace of what the ring holds now. Call [`super::Writer::flush_block`] before. [`Save::run`] writes it, in another
    /// thread: it reads up to the whole ring. The segments it needs are held open, so the ring goes on meanwhile.
    pub fn save(&mut self, why: &str, now: KtimeNs) -> Result<Save, SaveError> {
        let needed = self.segments.present_bytes();
        let limit = self.options.total_bytes;
        if self.saved_bytes.saturating_add(needed).saturating_add(self.options.ring_bytes) > limit {
            return Err(SaveError::Cap { saved: self.saved_bytes, needed, limit });
        }
        let mut parts = Vec::new();
        for (path, len) in self.segments.files() {
            parts.push(Part::open(path, len)?);
        }
        // Only the one that was named may replace another; numbers go on behind those that are there.
        let force = self.force && self.saved == 0;
        let mut to = self.path.clone();
        while self.saved > 0 {
            to = numbered(&self.path, self.saved);
            if to.symlink_metadata().is_err() {
                break;
            }
            self.saved += 1;
        }
        self.saved += 1;
        // What it will take at most; corrected by nobody, so that the cap holds whatever happens to the job.
        self.saved_bytes += needed;
        Ok(Save { parts, to, force, end: Some((why.to_owned(), now)) })
    }

    /// Removes the ring.
    pub fn remove(self) -> io::Result<()> {
        for (path, _) in self.segments.files() {
            std::fs::remove_file(path)?;
        }
        std::fs::remove_dir(&self.dir)
    }
}

impl BlockSink for FlightRing {
    fn put(&mut self, block: &Block) -> Result<(), WriteError> {
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
    fn open(path: PathBuf, len: u64) -> Result<Self, SaveError> {
        match File::open(&path) {
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
        for path in ring_files(dir).map_err(error)? {
            parts.push(Part::open(path, u64::MAX)?);
        }
        Ok(Self { parts, to: to.to_owned(), force, end: None })
    }

    /// Writes the trace. What the segments repeat is in it once.
    pub fn run(self) -> Result<Saved, SaveError> {
        let mut join = Join {
            out: SingleFile::new(FileSink::create(&self.to, self.force)?),
            seen: HashSet::new(),
            last: None,
        };
        for part in self.parts {
            join.segment(part)?;
        }
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
