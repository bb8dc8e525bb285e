//! Blocks → inputs: records one by one, and everything else decoded.

use std::{borrow::Cow, io::Read};

use serde::de::DeserializeOwned;

use super::block::{BlockType, Header, Unpacker};
use super::bounded::{FILE_MAX, JSON_MAX};
use super::columns::{gather, stated_len};
use super::error::ReadError;
use super::head::{Snapshot, SnapshotMeta};
use super::input::Input;
use super::scan::{Damage, DamageKind, Found, Scanner};
use super::{time_mark, versions};
use crate::model::Degradation;

/// Reads a trace from any source of bytes, in one pass, with memory bounded by the largest block.
#[derive(Debug)]
pub struct Reader<R> {
    scanner: Scanner<R>,
    unpacker: Unpacker,
    /// Records of the current block, one after the other.
    records: Vec<u8>,
    pos: usize,
    abi: u32,
    upgraded: [Vec<u8>; 2],
    unknown_blocks: u64,
}

impl<R: Read> Reader<R> {
    /// Reads from where `source` stands. It need not be buffered.
    pub fn new(source: R) -> Self {
        Self {
            scanner: Scanner::new(source),
            unpacker: Unpacker::default(),
            records: Vec::new(),
            pos: 0,
            abi: wrapwatch_common::ABI_VERSION,
            upgraded: [Vec::new(), Vec::new()],
            unknown_blocks: 0,
        }
    }

    /// The next input; `None` at the end. Errors are final (the source fails, is no trace, or is a later version's) but for one of kind `WouldBlock`: the source has
    /// nothing yet, and can be asked again.
    pub fn next_input(&mut self) -> Result<Option<Input<'_>>, ReadError> {
        loop {
            if let Some(len) = self.records.get(self.pos..).and_then(stated_len) {
                let start = self.pos;
                self.pos += len;
                let record = self.records.get(start..self.pos).unwrap_or_default();
                if let Some(at) = time_mark::time(record) {
                    return Ok(Some(Input::Time(at)));
                }
                return Ok(Some(Input::Record(versions::upgrade(self.abi, record, &mut self.upgraded))));
            }
            let (header, stored, offset) = match self.scanner.next_block()? {
                None => return Ok(None),
                Some(Found::Damage(damage)) => return Ok(Some(Input::Damage(damage))),
                Some(Found::Block(header, stored, offset)) => (header, stored, offset),
            };
            let Some(kind) = BlockType::from_raw(header.kind) else {
                self.unknown_blocks += 1;
                continue;
            };
            let content = |records| Ok(Some(Input::Damage(content_damage(&header, offset, records))));
            let Some(raw) = self.unpacker.unpack(&header, stored) else {
                return content(kind == BlockType::Records);
            };
            if kind == BlockType::Degradation && json::<Degradation>(raw).is_none() {
                // Of a kind that came later.
                self.unknown_blocks += 1;
                continue;
            }
            if kind != BlockType::Records {
                return other(kind, raw).map_or_else(|| content(false), |input| Ok(Some(input)));
            }
            self.records.clear();
            self.pos = 0;
            self.abi = u32::from(header.abi);
            if gather(raw, header.items as usize, &mut self.records).is_none() {
                self.records.clear();
                return content(true);
            }
        }
    }

    /// Blocks skipped because a later version wrote them.
    pub const fn unknown_blocks(&self) -> u64 {
        self.unknown_blocks
    }

    /// Bytes of the source consumed so far, for a progress bar.
    pub const fn offset(&self) -> u64 {
        self.scanner.offset()
    }
}

fn content_damage(header: &Header, offset: u64, records: bool) -> Damage {
    Damage {
        kind: DamageKind::Content,
        offset,
        skipped_bytes: header.block_len() as u64,
        missing_bytes: None,
        blocks: Some(1),
        records: records.then_some(u64::from(header.items)),
        from_ns: Some(header.first_ns),
        to_ns: Some(header.last_ns),
    }
}

fn other(kind: BlockType, raw: &[u8]) -> Option<Input<'static>> {
    Some(match kind {
        BlockType::Records => return None,
        BlockType::Head => Input::Head(Cow::Owned(json(raw)?)),
        BlockType::Sample => Input::Sample(Cow::Owned(json(raw)?)),
        BlockType::Snapshot => {
            let line = raw.iter().position(|&b| b == b'\n')?;
            let (meta, bytes) = raw.split_at_checked(line)?;
            let (mut meta, bytes) = (json::<SnapshotMeta>(meta)?, bytes.get(1..)?);
            meta.truncated |= bytes.len() > FILE_MAX;
            Input::from(Snapshot { meta, bytes: bytes.get(..FILE_MAX).unwrap_or(bytes).to_vec() })
        }
        BlockType::Clock => Input::Clock(json(raw)?),
        BlockType::Target => Input::Target(Cow::Owned(json(raw)?)),
        BlockType::Degradation => Input::Degradation(Cow::Owned(json(raw)?)),
        BlockType::Lost => Input::Loss(Cow::Owned(json(raw)?)),
        BlockType::End => Input::End(Cow::Owned(json(raw)?)),
    })
}

/// What a recorder describes is never as large as a block may be.
fn json<T: DeserializeOwned>(raw: &[u8]) -> Option<T> {
    if raw.len() > JSON_MAX {
        return None;
    }
    serde_json::from_slice(raw).ok()
}
