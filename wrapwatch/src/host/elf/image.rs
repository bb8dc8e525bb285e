//! An ELF file as the loader sees it: segments and the dynamic section (elf(5), the gABI). Nothing is read whole.
//!
//! The file is a target's, and may have been made to hurt: everything that it says of sizes and counts is bounded, and each look costs reads of which there
//! is a fixed number. Sections are of no interest, for nothing needs them to run a program.

use std::{cell::Cell, fs::File, io, os::unix::fs::FileExt as _};

/// Program headers; real files have some ten.
const MOST_SEGMENTS: usize = 64;
/// Entries of the dynamic section; real files have some thirty.
const MOST_DYNAMIC: usize = 1024;
/// What all looks into one file may read.
const MOST_BYTES: u64 = 256 << 20;
/// How often all looks into one file may read.
const MOST_READS: u32 = 50_000;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_NULL: u64 = 0;

/// Where an image's bytes are.
pub trait Source {
    /// As [`std::os::unix::fs::FileExt::read_at`].
    fn read_some(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Source for File {
    fn read_some(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.read_at(bytes, at)
    }
}

impl Source for [u8] {
    fn read_some(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        for (to, from) in bytes.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(len)
    }
}

/// A part of the file that is mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// An ELF file.
#[derive(Debug)]
pub struct Image<'a, S: Source + ?Sized> {
    source: &'a S,
    /// 64 bits, else 32.
    wide: bool,
    big_endian: bool,
    fixed: bool,
    segments: Vec<Segment>,
    /// Tags and values.
    dynamic: Vec<(u64, u64)>,
    bytes_left: Cell<u64>,
    reads_left: Cell<u32>,
}

impl<'a, S: Source + ?Sized> Image<'a, S> {
    /// Takes its headers apart. An error says what is wrong with the file.
    pub fn of(source: &'a S) -> Result<Self, String> {
        let mut image = Self {
            source,
            wide: true,
            big_endian: false,
            fixed: false,
            segments: Vec::new(),
            dynamic: Vec::new(),
            bytes_left: Cell::new(MOST_BYTES),
            reads_left: Cell::new(MOST_READS),
        };
        let mut ident = [0; 16];
        image.exactly(&mut ident, 0)?;
        let [0x7f, b'E', b'L', b'F', class, data, 1, ..] = ident else {
            return Err("not an ELF file".into());
        };
        image.wide = match class {
            1 => false,
            2 => true,
            _ => return Err(format!("an ELF file of unknown class {class}")),
        };
        image.big_endian = match data {
            1 => false,
            2 => true,
            _ => return Err(format!("an ELF file of unknown byte order {data}")),
        };
        image.headers()?;
        Ok(image)
    }

    fn headers(&mut self) -> Result<(), String> {
        // e_type; e_phoff, e_phentsize and e_phnum stand behind addresses of either size.
        let mut header = [0; 64];
        let len = if self.wide { 64 } else { 52 };
        self.exactly(header.get_mut(..len).unwrap_or_default(), 0)?;
        self.fixed = self.number(&header, 16, 2) == 2;
        let (table, size, count) = if self.wide { (32, 54, 56) } else { (28, 42, 44) };
        let table = self.word(&header, table);
        let expected = if self.wide { 56 } else { 32 };
        if self.number(&header, size, 2) != expected {
            return Err("its program headers have an unknown size".into());
        }
        let count = usize::try_from(self.number(&header, count, 2)).unwrap_or(usize::MAX);
        if count > MOST_SEGMENTS {
            return Err(format!(
                "it has {count} program headers, more than the {MOST_SEGMENTS} that are looked at"
            ));
        }
        let entry = usize::try_from(expected).unwrap_or(56);
        let mut headers = vec![0; entry.saturating_mul(count)];
        self.exactly(&mut headers, table)?;
        let mut dynamic = None;
        for header in headers.chunks_exact(entry) {
            let (offset, address, len) = if self.wide { (8, 16, 32) } else { (4, 8, 16) };
            let segment = Segment {
                address: self.word(header, address),
                offset: self.word(header, offset),
                len: self.word(header, len),
            };
            match self.number(header, 0, 4) {
                PT_LOAD => self.segments.push(segment),
                PT_DYNAMIC => dynamic = Some(segment),
                _ => {}
            }
        }
        self.read_dynamic(dynamic)
    }

    fn read_dynamic(&mut self, segment: Option<Segment>) -> Result<(), String> {
        let Some(segment) = segment else { return Ok(()) };
        let entry = if self.wide { 16 } else { 8 };
        let entries = usize::try_from(segment.len).unwrap_or(usize::MAX).checked_div(entry).unwrap_or(0);
        let mut bytes = vec![0; entries.min(MOST_DYNAMIC).saturating_mul(entry)];
        self.exactly(&mut bytes, segment.offset)?;
        let entries = bytes.chunks_exact(entry).map(|at| (self.word(at, 0), self.word(at, entry / 2)));
        self.dynamic = entries.take_while(|(tag, _)| *tag != DT_NULL).collect();
        Ok(())
    }

    /// Whether its addresses are final: a program that is not to be moved.
    pub const fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Whether it has 64-bit addresses.
    pub const fn is_wide(&self) -> bool {
        self.wide
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The values of a dynamic tag, in order.
    pub(super) fn dynamic(&self, tag: u64) -> impl Iterator<Item = u64> {
        self.dynamic.iter().filter(move |(of, _)| *of == tag).map(|&(_, value)| value)
    }

    /// Where an address of the image is in the file; None where no segment brings it from there.
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = address.checked_sub(segment.address).filter(|within| *within < segment.len)?;
            segment.offset.checked_add(within)
        })
    }

    /// Fills `bytes` from an address of the image.
    pub(super) fn at_address(&self, bytes: &mut [u8], address: u64) -> Result<(), String> {
        let offset = self.offset_of(address).ok_or("an address outside of its segments")?;
        self.exactly(bytes, offset)
    }

    /// Fills `bytes` from an offset.
    pub(super) fn exactly(&self, bytes: &mut [u8], at: u64) -> Result<(), String> {
        let wanted = bytes.len();
        if self.some(bytes, at)? == wanted { Ok(()) } else { Err("it ends too early".into()) }
    }

    /// Fills `bytes` from an offset as far as the file goes.
    pub(super) fn some(&self, bytes: &mut [u8], at: u64) -> Result<usize, String> {
        let mut len = 0;
        while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
            let wanted = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            let reads_left = self.reads_left.get().checked_sub(1);
            let (Some(reads), Some(left)) = (reads_left, self.bytes_left.get().checked_sub(wanted)) else {
                return Err("it takes too much reading for what it should be".into());
            };
            self.reads_left.set(reads);
            self.bytes_left.set(left);
            let from = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            match self.source.read_some(rest, from) {
                Ok(0) => break,
                Ok(more) => len = len.saturating_add(more),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(len)
    }

    /// An address or offset in its own size.
    pub(super) fn word(&self, bytes: &[u8], at: usize) -> u64 {
        self.number(bytes, at, if self.wide { 8 } else { 4 })
    }

    /// An unsigned number of `len` bytes; 0 where there are none.
    pub(super) fn number(&self, bytes: &[u8], at: usize, len: usize) -> u64 {
        let bytes = bytes.get(at..at.saturating_add(len)).unwrap_or_default();
        let join = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
    }
}
