//! Reading files while they are written: one input after another, over rotation, and behind a cut.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::PublishError;
use super::place::{Opened, Place};
use crate::context::Context;
use crate::engine::{Engine, Options};
use crate::model::ClockPair;
use crate::observe::Observer;
use crate::trace::{CONTINUED, Input, ReadError, Reader, block::MAGIC};

/// A file that grows until it is known to be finished.
#[derive(Debug)]
struct Growing {
    file: File,
    finished: Rc<Cell<bool>>,
}

impl Read for Growing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buf)? {
            0 if !buf.is_empty() && !self.finished.get() => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

/// The file that is being read.
#[derive(Debug)]
struct Current {
    opened: Opened,
    reader: Reader<Growing>,
    finished: Rc<Cell<bool>>,
    /// Where in the file reading began: not at 0 behind a cut.
    from: u64,
    /// Inputs taken from it.
    taken: u64,
}

impl Current {
    fn at(opened: Opened, from: u64, finished: bool) -> io::Result<Self> {
        let mut file = opened.file.try_clone()?;
        file.seek(SeekFrom::Start(from))?;
        let finished = Rc::new(Cell::new(finished));
        let reader = Reader::new(Growing { file, finished: finished.clone() });
        Ok(Self { opened, reader, finished, from, taken: 0 })
    }

    /// Up to where it is read.
    const fn read(&self) -> u64 {
        self.from.saturating_add(self.reader.offset())
    }

    /// Its length, where that is less than was read of it.
    fn cut(&self) -> io::Result<Option<u64>> {
        let len = self.opened.file.metadata()?.len();
        Ok((len < self.read()).then_some(len))
    }
}

/// Where a trace that is followed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// With the oldest file there is.
    Oldest,
    /// With the file itself; those that were rotated away from it before are passed over.
    Here,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An input was taken, or a file opened: there may be more.
    More,
    /// There is nothing more for now.
    Nothing,
}

/// Reads files that may grow.
#[derive(Debug)]
pub struct Follower {
    place: Place,
    /// Also what is still to be written is read.
    follow: Option<From>,
    current: Option<Current>,
    /// The file read before.
    last: Option<Opened>,
    /// Bytes of the files read before.
    passed: u64,
    /// What was missed, for a person.
    pub(super) notes: Vec<String>,
}

impl Follower {
    /// Of the trace, ring or folder of rings at `path`, from its oldest file on.
    pub(super) fn new(path: &Path, follow: bool) -> Result<Self, PublishError> {
        let (place, follow) = (Place::of(path, follow)?, follow.then_some(From::Oldest));
        Ok(Self { place, follow, current: None, last: None, passed: 0, notes: Vec::new() })
    }

    /// Of the trace in this file and, where it is rotated away, in those that come after it.
    pub fn here(path: &Path) -> Result<Self, PublishError> {
        let follow = (!Place::was_rotated(path)).then_some(From::Here);
        Ok(Self { follow, ..Self::new(path, follow.is_some())? })
    }

    /// Inputs taken of the file that is being read.
    pub(super) fn taken(&self) -> Option<u64> {
        self.current.as_ref().map(|current| current.taken)
    }

    /// Bytes read so far, and bytes there are, where that is known.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let current = self.current.as_ref().map_or(0, Current::read);
        (self.passed.saturating_add(current), self.place.bytes())
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Whether there was no file.
    pub(super) const fn has_read_nothing(&self) -> bool {
        self.last.is_none()
    }

    /// Nothing more is written to the file that is being read.
    fn finish(&self) {
        self.current.iter().for_each(|current| current.finished.set(true));
    }

    /// Reads on: `take` is given the next input and how many of its file that makes. An error is final.
    pub(super) fn step(&mut self, take: &mut dyn FnMut(&Input<'_>, u64)) -> Result<Step, PublishError> {
        if self.current.is_none() && !self.open()? {
            return Ok(Step::Nothing);
        }
        let Some(current) = &mut self.current else { return Ok(Step::More) };
        match current.reader.next_input() {
            Ok(Some(input)) => {
                current.taken += 1;
                take(&input, current.taken);
            }
            Ok(None) => {
                self.passed = self.passed.saturating_add(current.read());
                self.last = self.current.take().map(|current| current.opened);
            }
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if !self.goes_on()? {
                    return Ok(Step::Nothing);
                }
            }
            Err(source) => {
                return Err(PublishError::Read { path: current.opened.path.clone(), source });
            }
        }
        Ok(Step::More)
    }

    /// Opens the next file; false where there is none.
    fn open(&mut self) -> Result<bool, PublishError> {
        let from_here = self.follow == Some(From::Here) && self.last.is_none();
        let opened = if from_here { self.place.written()? } else { self.place.next(self.last.as_ref())? };
        let Some(opened) = opened else { return Ok(false) };
        let mut first = [0; MAGIC.len()];
        let n = opened.file.read_at(&mut first, 0)?;
        // Without an end it would be waited for more of it.
        let is_other = first.iter().zip(MAGIC).take(n).any(|(byte, magic)| *byte != magic);
        if is_other && self.follow == Some(From::Oldest) {
            return Err(PublishError::NotATrace(opened.path));
        }
        self.current = Some(Current::at(opened, 0, is_other || self.follow.is_none())?);
        Ok(true)
    }

    /// The file has nothing more for now. Whether that is its end, or it was cut.
    fn goes_on(&mut self) -> Result<bool, PublishError> {
        let Some(current) = &mut self.current else { return Ok(false) };
        if self.place.has_next(&current.opened)? {
            current.finished.set(true);
            return Ok(true);
        }
        let Some(len) = current.cut()? else { return Ok(false) };
        // What was in it was told; what comes next is read from its end on, where its number shows what is missing.
        if let Some(cut) = self.current.take() {
            self.notes.push(format!("{} was cut while it was read", cut.opened.path.display()));
            self.current = Some(Current { taken: cut.taken, ..Current::at(cut.opened, len, false)? });
        }
        Ok(true)
    }
}

/// How far a trace that may grow was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// To its end: the recorder has ended, or another one goes on in its place.
    Ended,
    /// To what was there, when nobody wanted more.
    Open,
    /// Not even that.
    Partly,
}

/// Tells an observer a trace that may grow until its recorder ends, or the observer says `BrokenPipe`; where there is nothing for now it is flushed, and asked
/// again after `pause`.
pub fn tell(
    mut follower: Follower,
    options: Options,
    observer: &mut impl Observer,
    pause: Duration,
) -> Result<(Context, Growth), PublishError> {
    let engine = Engine::new(options);
    let mut telling = Telling { engine, recording: None, growth: Growth::Partly, replaced: false };
    loop {
        let mut written = Ok(());
        let step = follower.step(&mut |input, _| written = telling.take(input, observer))?;
        if step == Step::Nothing && follower.follow.is_none() {
            telling.growth = Growth::Ended;
        } else if step == Step::Nothing && written.is_ok() && telling.growth != Growth::Ended {
            telling.growth = Growth::Open;
            written = observer.flush();
            if written.is_ok() {
                thread::sleep(pause);
            }
        }
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
        if telling.growth == Growth::Ended {
            follower.finish();
            if telling.replaced || follower.current.is_none() {
                telling.finish(observer)?;
                break;
            }
        }
    }
    Ok((telling.engine.into_context(), telling.growth))
}

/// One recording being told.
struct Telling {
    engine: Engine,
    recording: Option<ClockPair>,
    growth: Growth,
    /// Another one goes on in its place.
    replaced: bool,
}

impl Telling {
    fn take(&mut self, input: &Input<'_>, observer: &mut impl Observer) -> io::Result<()> {
        if let Input::Head(head) = input {
            self.replaced |= *self.recording.get_or_insert(head.clock) != head.clock;
        }
        if self.replaced {
            self.growth = Growth::Ended;
            return Ok(());
        }
        observer.input(input)?;
        self.engine.feed(input);
        if matches!(input, Input::End(end) if end.reason != CONTINUED) {
            self.growth = Growth::Ended;
        } else if self.growth == Growth::Open {
            self.growth = Growth::Partly;
        }
        self.lines(observer)
    }

    fn finish(&mut self, observer: &mut impl Observer) -> io::Result<()> {
        self.engine.finish();
        self.lines(observer)
    }

    fn lines(&mut self, observer: &mut impl Observer) -> io::Result<()> {
        while let Some(line) = self.engine.next_line() {
            observer.line(&line)?;
        }
        Ok(())
    }
}
