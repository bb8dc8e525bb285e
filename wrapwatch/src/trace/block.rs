//! The block: the unit of writing, checking and skipping. Layout: `docs/trace-format.md`.

use wrapwatch_common::ABI_VERSION;

use super::versions::FORMAT_VERSION;

/// Begins every block. Like PNG's: not text, and mangled by whatever converts line ends or strips the eighth bit.
pub const MAGIC: [u8; 8] = *b"\x89WWT\r\n\x1a\n";
/// Bytes of a header.
pub const HEADER_LEN: usize = 80;
/// Most bytes of a payload before compression; what claims more is damage. Bounds a reader's memory, whatever it is fed.
pub const RAW_MAX: usize = 16 << 20;
/// Most bytes of a payload as stored.
pub const STORED_MAX: usize = RAW_MAX;

/// The payload is one zstd frame.
const FLAG_ZSTD: u16 = 1;

/// What a block holds. The values are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum BlockType {
    /// [`super::Head`], JSON.
    Head = 1,
    /// Records, laid out by [`super::columns`].
    Records = 2,
    /// [`super::Sample`], JSON.
    Sample = 3,
    /// [`super::SnapshotMeta`], one line of JSON, then the file's bytes.
    Snapshot = 4,
    /// [`crate::model::ClockPair`], JSON.
    Clock = 5,
    /// [`crate::model::Degradation`], JSON.
    Degradation = 6,
    /// [`crate::model::Lost`], JSON.
    Lost = 7,
    /// [`super::Target`], JSON: one that was found after the head was written.
    Target = 8,
    /// [`super::End`], JSON.
    End = 9,
}

impl BlockType {
    /// The type with this number, if this version knows it.
    pub const fn from_raw(raw: u16) -> Option<Self> {
        Some(match raw {
            1 => Self::Head,
            2 => Self::Records,
            3 => Self::Sample,
            4 => Self::Snapshot,
            5 => Self::Clock,
            6 => Self::Degradation,
            7 => Self::Lost,
            8 => Self::Target,
            9 => Self::End,
            _ => return None,
        })
    }
}

/// A block's header, as its bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub version: u16,
    /// Version of the records' layout (`wrapwatch_common::ABI_VERSION`).
    pub abi: u16,
    /// [`BlockType`], or one that a later version knows.
    pub kind: u16,
    /// Bit 0: the payload is one zstd frame. The others are 0.
    pub flags: u16,
    /// Bytes of the payload in the file.
    pub stored_len: u32,
    /// Bytes of the payload once decompressed.
    pub raw_len: u32,
    /// Records in the block; 1 for other types.
    pub items: u32,
    /// CRC-32 (IEEE) of the stored payload.
    pub payload_crc: u32,
    /// Number of the block in its file, from 0. One that could not be written is counted too.
    pub seq: u64,
    /// Earliest time in the block, monotonic.
    pub first_ns: u64,
    /// Latest time in the block, monotonic.
    pub last_ns: u64,
    /// Records offered to the writer before those of this block, since the recording began.
    pub records_before: u64,
    /// Records that the kernel side had lost when the block was written, as far as it was known.
    pub lost: u64,
}

/// Why 80 bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// They do not begin with the magic.
    Magic,
    /// The checksum over the header does not match.
    Checksum,
    /// The checksum matches, but a length is beyond its cap.
    Length,
}

impl Header {
    /// The header's bytes, checksum included.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut put = Put { out: &mut out, at: 0 };
        put.bytes(&MAGIC);
        for field in [self.version, self.abi, self.kind, self.flags] {
            put.bytes(&field.to_le_bytes());
        }
        for field in [self.stored_len, self.raw_len, self.items, self.payload_crc] {
            put.bytes(&field.to_le_bytes());
        }
        for field in [self.seq, self.first_ns, self.last_ns, self.records_before, self.lost] {
            put.bytes(&field.to_le_bytes());
        }
        put.bytes(&[0; 4]);
        let crc = crc32fast::hash(&out[..HEADER_LEN - 4]);
        out[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, HeaderError> {
        if bytes[..MAGIC.len()] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let mut take = Take { bytes, at: HEADER_LEN - 4 };
        if take.u32() != crc32fast::hash(&bytes[..HEADER_LEN - 4]) {
            return Err(HeaderError::Checksum);
        }
        take.at = MAGIC.len();
        let header = Self {
            version: take.u16(),
            abi: take.u16(),
            kind: take.u16(),
            flags: take.u16(),
            stored_len: take.u32(),
            raw_len: take.u32(),
            items: take.u32(),
            payload_crc: take.u32(),
            seq: take.u64(),
            first_ns: take.u64(),
            last_ns: take.u64(),
            records_before: take.u64(),
            lost: take.u64(),
        };
        if header.stored_len as usize > STORED_MAX || header.raw_len as usize > RAW_MAX {
            return Err(HeaderError::Length);
        }
        Ok(header)
    }

    /// Bytes of the block in the file.
    pub const fn block_len(&self) -> usize {
        HEADER_LEN + self.stored_len as usize
    }
}

struct Put<'a> {
    out: &'a mut [u8; HEADER_LEN],
    at: usize,
}

impl Put<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

struct Take<'a> {
    bytes: &'a [u8; HEADER_LEN],
    at: usize,
}

impl Take<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        out
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

/// A block ready to be written, or as it was read: its payload is as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Header; its `seq` is given where the block enters a file.
    pub header: Header,
    /// Payload as stored.
    pub payload: Vec<u8>,
}

/// What a block says of itself besides its payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Records in it; 1 for other types.
    pub items: u32,
    /// Earliest time.
    pub first_ns: u64,
    /// Latest time.
    pub last_ns: u64,
    /// Records before it.
    pub records_before: u64,
    /// Lost so far.
    pub lost: u64,
}

/// Compresses payloads into blocks, at one level, reusing its memory.
pub struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// Why a payload cannot become a block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// More than [`RAW_MAX`].
    #[error("a block of {0} bytes is larger than a trace file allows ({RAW_MAX})")]
    TooBig(usize),
    /// zstd failed, which it does for want of memory only.
    #[error("zstd: {0}")]
    Zstd(#[source] std::io::Error),
}

impl Packer {
    /// A packer of this zstd level.
    pub fn new(level: i32) -> Result<Self, PackError> {
        let zstd = zstd::bulk::Compressor::new(level).map_err(PackError::Zstd)?;
        Ok(Self { zstd, out: Vec::new() })
    }

    /// Makes a block of `raw`. `seq` is left 0.
    pub fn pack(&mut self, kind: BlockType, raw: &[u8], span: Span) -> Result<Block, PackError> {
        let raw_len = u32::try_from(raw.len()).ok().filter(|&len| len as usize <= RAW_MAX);
        let raw_len = raw_len.ok_or(PackError::TooBig(raw.len()))?;
        self.out.clear();
        self.out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.zstd.compress_to_buffer(raw, &mut self.out).map_err(PackError::Zstd)?;
        let (payload, flags) =
            if self.out.len() < raw.len() { (self.out.clone(), FLAG_ZSTD) } else { (raw.to_vec(), 0) };
        let header = Header {
            version: FORMAT_VERSION,
            abi: u16::try_from(ABI_VERSION).unwrap_or(u16::MAX),
            kind: kind as u16,
            flags,
            stored_len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            raw_len,
            items: span.items,
            payload_crc: crc32fast::hash(&payload),
            seq: 0,
            first_ns: span.first_ns,
            last_ns: span.last_ns,
            records_before: span.records_before,
            lost: span.lost,
        };
        Ok(Block { header, payload })
    }
}

/// Decompresses payloads, reusing its memory.
pub struct Unpacker {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    out: Vec<u8>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Default for Unpacker {
    fn default() -> Self {
        Self { zstd: zstd::bulk::Decompressor::new().ok(), out: Vec::new() }
    }
}

impl Unpacker {
    /// The raw payload; `None` where it is not what the header says: a flag that is not known, a frame that does not decompress
    /// to exactly `raw_len` bytes. Never allocates more than `raw_len`, which [`Header::parse`] capped.
    pub fn unpack<'a>(&'a mut self, header: &Header, stored: &'a [u8]) -> Option<&'a [u8]> {
        let raw_len = header.raw_len as usize;
        if header.flags & !FLAG_ZSTD != 0 || raw_len > RAW_MAX {
            return None;
        }
        if header.flags & FLAG_ZSTD == 0 {
            return (stored.len() == raw_len).then_some(stored);
        }
        self.out.clear();
        self.out.reserve(raw_len);
        let n = self.zstd.as_mut()?.decompress_to_buffer(stored, &mut self.out).ok()?;
        (n == raw_len).then_some(self.out.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(raw: &[u8]) -> Block {
        Packer::new(3).unwrap().pack(BlockType::Records, raw, Span { items: 3, ..Span::default() }).unwrap()
    }

    #[test]
    fn a_header_survives_its_bytes() {
        let header = Header { seq: 7, first_ns: 1, last_ns: u64::MAX, ..block(b"abc").header };
        assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_found() {
        let bytes = block(b"abc").header.to_bytes();
        for bit in 0..HEADER_LEN * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_beyond_its_cap_is_refused_although_the_checksum_matches() {
        let header = Header { stored_len: u32::MAX, ..block(b"abc").header };
        assert_eq!(Header::parse(&header.to_bytes()), Err(HeaderError::Length));
    }

    #[test]
    fn a_frame_that_holds_more_than_the_header_says_is_refused() {
        let mut bomb = block(&vec![0; 1 << 20]);
        assert!(bomb.payload.len() < 200, "compresses well");
        bomb.header.raw_len = 100;
        assert_eq!(Unpacker::default().unpack(&bomb.header, &bomb.payload), None);
    }

    #[test]
    fn what_does_not_compress_is_stored_as_it_is() {
        let b = block(b"abc");
        assert_eq!((b.header.flags, b.payload.as_slice()), (0, b"abc".as_slice()));
        assert_eq!(Unpacker::default().unpack(&b.header, &b.payload), Some(b"abc".as_slice()));
    }
}
