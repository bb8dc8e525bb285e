//! Bytes → blocks, whatever the bytes are: finds the next whole block behind damage and says what lies between.

use std::io::{BufRead as _, BufReader, Read};

use super::block::{BlockType, HEADER_LEN, Header, MAGIC};
use super::error::ReadError;
use super::versions::FORMAT_VERSION;

/// What kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Bytes that are no block, or whose checksum does not match.
    Bytes,
    /// The last block is not whole: the file was cut, or its writer killed within a write.
    Torn,
    /// The file ends at a whole block, but not with an end: the recorder was killed, or is still at it.
    NoEnd,
    /// Blocks are missing, but no bytes: the recorder could not write them (the disk was full).
    Dropped,
    /// A whole block whose content does not make sense: a fault of whatever wrote it.
    Content,
}

/// Something missing from a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which.
    pub kind: DamageKind,
    /// Where in the file it begins.
    pub offset: u64,
    /// Bytes skipped.
    pub skipped_bytes: u64,
    /// Bytes that the torn block would have had more; `None` where it is not known.
    pub missing_bytes: Option<u64>,
    /// Blocks missing; `None` where it is not known.
    pub blocks: Option<u64>,
    /// Records missing; `None` where it is not known.
    pub records: Option<u64>,
    /// Latest time before it, monotonic; `None` where nothing came before.
    pub from_ns: Option<u64>,
    /// Earliest time behind it; `None` where nothing followed.
    pub to_ns: Option<u64>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            DamageKind::Bytes => write!(f, "{} damaged bytes at offset {}", self.skipped_bytes, self.offset)?,
            DamageKind::Torn => {
                write!(f, "the file ends within a block that begins at offset {}", self.offset)?;
                if let Some(n) = self.missing_bytes {
                    write!(f, " ({n} of its bytes are missing)")?;
                }
            }
            DamageKind::NoEnd => {
                f.write_str("the recorder did not end by itself: its last second may be missing")?;
            }
            DamageKind::Dropped => f.write_str("the recorder could not write blocks (a full disk?)")?,
            DamageKind::Content => write!(f, "a block at offset {} that makes no sense", self.offset)?,
        }
        if let Some(n) = self.blocks.filter(|n| *n > 0) {
            write!(f, "; {n} {} missing", if n == 1 { "block" } else { "blocks" })?;
        }
        if let Some(n) = self.records {
            write!(f, "; {n} records missing")?;
        }
        if let (Some(from), Some(to)) = (self.from_ns, self.to_ns)
            && to > from
        {
            write!(f, " within {:.1} s", std::time::Duration::from_nanos(to - from).as_secs_f64())?;
        }
        Ok(())
    }
}

/// What the scanner found next.
#[derive(Debug)]
pub enum Found<'a> {
    /// A whole block: header, payload as stored, where in the file it begins.
    Block(Header, &'a [u8], u64),
    /// Something missing.
    Damage(Damage),
}

/// Without a whole block in this many bytes, it is no trace: the largest block may be damaged, and another one behind it.
const GIVE_UP: u64 = 40 << 20;
/// Bytes asked of the source at once.
const CHUNK: usize = 1 << 16;

/// Damage that began and did not end yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    offset: u64,
    /// Bytes that the block at `offset` would have had more, where its header is whole and the file ends first.
    missing_bytes: Option<u64>,
    /// The block's records, where its header is whole.
    header: Option<Header>,
}

/// Reads blocks. Memory: the largest block, and one chunk.
#[derive(Debug)]
pub struct Scanner<R> {
    /// What is read goes through its buffer: made once and not zeroed, where room in `buf` would be for each read.
    source: BufReader<R>,
    buf: Vec<u8>,
    /// What comes next in `buf`.
    pos: usize,
    /// Offset in the file of `buf[0]`.
    base: u64,
    eof: bool,
    damage: Option<Open>,
    /// Header of the last whole block.
    last: Option<Header>,
    ended: bool,
    done: bool,
}

enum Step {
    Block(Header),
    Damaged,
    End,
}

impl<R: Read> Scanner<R> {
    /// Reads from where `source` stands.
    pub fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(CHUNK, source),
            buf: Vec::new(),
            pos: 0,
            base: 0,
            eof: false,
            damage: None,
            last: None,
            ended: false,
            done: false,
        }
    }

    /// Bytes of the file consumed so far.
    pub const fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// The next block or damage; `None` at the end. After `None` or an error nothing comes any more, but after one of kind `WouldBlock`: that is for the source
    /// to say that it has nothing yet.
    pub fn next_block(&mut self) -> Result<Option<Found<'_>>, ReadError> {
        while !self.done {
            match self.step()? {
                Step::Block(header) => {
                    if let Some(damage) = self.gap(&header) {
                        // The block itself comes with the next call.
                        self.damage = None;
                        self.last = Some(Header { seq: header.seq.wrapping_sub(1), ..self.passed(&header) });
                        return Ok(Some(Found::Damage(damage)));
                    }
                    if header.version > FORMAT_VERSION
                        || u32::from(header.abi) > wrapwatch_common::ABI_VERSION
                    {
                        self.done = true;
                        return Err(ReadError::TooNew { format: header.version, abi: header.abi });
                    }
                    let offset = self.offset();
                    self.last = Some(header);
                    self.ended = header.kind == BlockType::End as u16;
                    let start = self.pos + HEADER_LEN;
                    self.pos += header.block_len();
                    let payload = self.buf.get(start..self.pos).unwrap_or_default();
                    return Ok(Some(Found::Block(header, payload, offset)));
                }
                Step::Damaged => {
                    if self.last.is_none() && self.offset() > GIVE_UP {
                        self.done = true;
                        return Err(ReadError::NotATrace(self.offset()));
                    }
                }
                Step::End => {
                    self.done = true;
                    return self.at_end().map(|damage| damage.map(Found::Damage));
                }
            }
        }
        Ok(None)
    }

    /// Looks at what comes next; skips damaged bytes.
    fn step(&mut self) -> Result<Step, ReadError> {
        if !self.fill(HEADER_LEN)? {
            if self.pos < self.buf.len() {
                self.open_damage(None, None);
                self.pos = self.buf.len();
            }
            return Ok(Step::End);
        }
        let parsed = self.buf[self.pos..].first_chunk().map(Header::parse);
        let Some(Ok(header)) = parsed else {
            self.open_damage(None, None);
            self.skip_to_magic()?;
            return Ok(Step::Damaged);
        };
        let whole = self.fill(header.block_len())?;
        let have = self.buf.len() - self.pos;
        if whole {
            let payload = &self.buf[self.pos + HEADER_LEN..self.pos + header.block_len()];
            if crc32fast::hash(payload) == header.payload_crc {
                return Ok(Step::Block(header));
            }
            self.open_damage(None, Some(header));
        } else {
            self.open_damage(Some((header.block_len() - have) as u64), Some(header));
        }
        // Its length may be true or not: look for the next magic right behind this one.
        self.skip_to_magic()?;
        Ok(Step::Damaged)
    }

    const fn open_damage(&mut self, missing_bytes: Option<u64>, header: Option<Header>) {
        if self.damage.is_none() {
            self.damage = Some(Open { offset: self.offset(), missing_bytes, header });
        }
    }

    /// Moves on to the next magic behind the current byte, or to the end.
    fn skip_to_magic(&mut self) -> Result<(), ReadError> {
        self.pos += 1;
        while self.fill(MAGIC.len())? {
            let rest = &self.buf[self.pos..];
            if let Some(at) = find_magic(rest) {
                self.pos += at;
                return Ok(());
            }
            // The last bytes may be the beginning of one.
            self.pos = self.buf.len() - (MAGIC.len() - 1);
        }
        self.pos = self.buf.len();
        Ok(())
    }

    /// Sees to it that `n` bytes are there from `pos` on; false where the file ends first. Asks for no more than is needed and there: of a file that grows, what is
    /// there is told at once. Where the source has nothing yet (`WouldBlock`), the same can be asked again.
    fn fill(&mut self, n: usize) -> Result<bool, ReadError> {
        while self.buf.len() - self.pos < n {
            if self.eof {
                return Ok(false);
            }
            // Little is left when a block was consumed, so this copies little.
            if self.pos > 0 {
                self.buf.drain(..self.pos);
                self.base += self.pos as u64;
                self.pos = 0;
            }
            self.eof = self.read()? == 0;
        }
        Ok(true)
    }

    /// Appends what the source has, up to a chunk: the buffer grows with what comes, not with what a header claims.
    fn read(&mut self) -> Result<usize, ReadError> {
        loop {
            match self.source.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                got => {
                    let bytes = got?;
                    self.buf.extend_from_slice(bytes);
                    let got = bytes.len();
                    self.source.consume(got);
                    return Ok(got);
                }
            }
        }
    }

    /// The last header, made to fit the one that follows damage, so that the gap is told once.
    fn passed(&self, next: &Header) -> Header {
        Header { records_before: next.records_before, items: 0, ..self.last.unwrap_or(*next) }
    }

    /// What is missing between the last whole block and this one.
    fn gap(&self, next: &Header) -> Option<Damage> {
        // A number that went back: another file begins here, several were joined into one.
        let blocks = match self.last {
            Some(last) => next.seq.checked_sub(last.seq.wrapping_add(1)),
            None => Some(next.seq),
        };
        let records = self.last.and_then(|last| next.records_before.checked_sub(records_behind(&last)));
        let (kind, offset) = match self.damage {
            Some(damage) => (DamageKind::Bytes, damage.offset),
            None if blocks.is_none() => return None,
            // Blocks are numbered again where a flight recorder's segments became one trace; records are not.
            None if blocks == Some(0) && records.is_none_or(|n| n == 0) => return None,
            None => (DamageKind::Dropped, self.offset()),
        };
        let blocks = blocks.filter(|n| *n > 0 || kind != DamageKind::Dropped);
        Some(Damage {
            kind,
            offset,
            skipped_bytes: self.offset() - offset,
            missing_bytes: None,
            blocks,
            records,
            from_ns: self.last.map(|last| last.last_ns),
            to_ns: Some(next.first_ns),
        })
    }

    fn at_end(&self) -> Result<Option<Damage>, ReadError> {
        let Some(last) = self.last else {
            let torn_first = self.damage.is_some_and(|damage| damage.header.is_some());
            if !torn_first && !self.begins_like_a_trace() {
                return Err(ReadError::NotATrace(self.offset()));
            }
            return Ok(self.damage.map(|damage| self.torn(damage, None)));
        };
        match self.damage {
            Some(damage) => Ok(Some(self.torn(damage, Some(last.last_ns)))),
            None if self.ended => Ok(None),
            None => Ok(Some(Damage {
                kind: DamageKind::NoEnd,
                offset: self.offset(),
                skipped_bytes: 0,
                missing_bytes: None,
                blocks: None,
                records: None,
                from_ns: Some(last.last_ns),
                to_ns: None,
            })),
        }
    }

    fn torn(&self, damage: Open, from_ns: Option<u64>) -> Damage {
        let in_block = damage.header.filter(|header| header.kind == BlockType::Records as u16);
        Damage {
            kind: DamageKind::Torn,
            offset: damage.offset,
            skipped_bytes: self.offset() - damage.offset,
            missing_bytes: damage.missing_bytes,
            blocks: None,
            records: in_block.map(|header| u64::from(header.items)),
            from_ns,
            to_ns: None,
        }
    }

    /// A file cut within its first header; it is all in the buffer still.
    fn begins_like_a_trace(&self) -> bool {
        self.base == 0 && !self.buf.is_empty() && self.buf.iter().zip(&MAGIC).all(|(a, b)| a == b)
    }
}

const fn records_behind(header: &Header) -> u64 {
    let own = if header.kind == BlockType::Records as u16 { header.items as u64 } else { 0 };
    header.records_before.saturating_add(own)
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|&b| b == MAGIC[0]) {
        let at = from + at;
        if bytes.get(at..at + MAGIC.len())? == MAGIC {
            return Some(at);
        }
        from = at + 1;
    }
    None
}
