//! Records and everything else → blocks.

use serde::Serialize;

use super::block::{BlockType, Packer, RAW_MAX, Span};
use super::columns::Columns;
use super::error::WriteError;
use super::head::{End, Head, Snapshot};
use super::input::Input;
use super::sink::BlockSink;
use super::time_mark;
use crate::model::KtimeNs;

/// How a [`Writer`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// zstd's level.
    pub level: i32,
    /// A block of records is written once it has this many bytes before compression.
    pub block_bytes: usize,
    /// … or once its first record is this old, by [`Writer::tick`] or a later record. `None`: never for its age.
    pub flush_after_ns: Option<u64>,
    /// A sync to the disk is begun this often, by [`Writer::tick`]. `None`: only at the end.
    pub sync_every_ns: Option<u64>,
}

impl Default for WriterOptions {
    /// For a live recording that calls [`Writer::tick`] five times a second or more: at most the last second is lost.
    fn default() -> Self {
        Self {
            level: 3,
            block_bytes: 1 << 20,
            flush_after_ns: Some(800_000_000),
            sync_every_ns: Some(10_000_000_000),
        }
    }
}

impl WriterOptions {
    /// For what is made at once from something that is there already: blocks are cut by size only.
    pub fn offline() -> Self {
        Self { flush_after_ns: None, sync_every_ns: None, ..Self::default() }
    }
}

/// Writes a trace. Reads no clock: [`Self::tick`] says what time it is.
#[derive(Debug)]
pub struct Writer<B> {
    out: B,
    options: WriterOptions,
    packer: Packer,
    columns: Columns,
    raw: Vec<u8>,
    /// Records taken in, those in `columns` included.
    records: u64,
    dropped: u64,
    lost: u64,
    now: KtimeNs,
    synced: Option<KtimeNs>,
}

impl<B: BlockSink> Writer<B> {
    /// Writes the head and begins to bring it to the disk.
    pub fn new(out: B, head: &Head, options: WriterOptions) -> Result<Self, WriteError> {
        // A block grows past its target by less than one record.
        let block_bytes = options.block_bytes.min(RAW_MAX - usize::from(u16::MAX));
        let options = WriterOptions { block_bytes, ..options };
        let mut writer = Self {
            out,
            options,
            packer: Packer::new(options.level)?,
            columns: Columns::default(),
            raw: Vec::new(),
            records: 0,
            dropped: 0,
            lost: 0,
            now: head.clock.ktime,
            synced: None,
        };
        writer.json(BlockType::Head, head, head.clock.ktime)?;
        if options.sync_every_ns.is_some() {
            writer.out.sync()?;
        }
        Ok(writer)
    }

    /// Takes a record, as the kernel side wrote it; bytes behind its stated length are left out. Writes a block when there is
    /// enough for one.
    pub fn record(&mut self, record: &[u8]) -> Result<(), WriteError> {
        // A block holds no more than it may, unless one record alone is larger.
        let full = self.columns.raw_len().saturating_add(record.len()) > self.options.block_bytes;
        let flushed = if full { self.flush_block() } else { Ok(()) };
        if !self.columns.push(record) {
            return flushed.and(Err(WriteError::NotARecord { have: record.len() }));
        }
        self.records += 1;
        flushed?;
        let (first, last) = self.columns.span_ns();
        // A recorder that lags behind gets more than a block's time between two ticks.
        let old = self.options.flush_after_ns.is_some_and(|after| last.saturating_sub(first) >= after);
        if old || self.columns.raw_len() >= self.options.block_bytes { self.flush_block() } else { Ok(()) }
    }

    /// Says what time it is: writes the block that has waited long enough, and begins a sync when one is due.
    pub fn tick(&mut self, now: KtimeNs) -> Result<(), WriteError> {
        self.now = now;
        let first = KtimeNs(self.columns.span_ns().0);
        if self.options.flush_after_ns.is_some_and(|after| now.since(first) >= after) {
            self.flush_block()?;
        }
        if let Some(every) = self.options.sync_every_ns {
            match self.synced {
                Some(at) if now.since(at) < every => {}
                Some(_) => {
                    self.synced = Some(now);
                    self.out.sync()?;
                }
                None => self.synced = Some(now),
            }
        }
        Ok(())
    }

    /// Writes what is held as a block now.
    pub fn flush_block(&mut self) -> Result<(), WriteError> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let items = self.columns.len() as u64;
        let (first_ns, last_ns) = self.columns.span_ns();
        let span = Span {
            items: u32::try_from(items).unwrap_or(u32::MAX),
            first_ns,
            last_ns,
            records_before: self.records - items,
            lost: self.lost,
        };
        self.raw.clear();
        self.columns.lay_out(&mut self.raw);
        let packed = self.packer.pack(BlockType::Records, &self.raw, span).map_err(WriteError::from);
        let written = packed.and_then(|block| self.out.put(&block));
        if written.is_err() {
            self.dropped += items;
        }
        written
    }

    /// Takes an input. Damage is no part of what a writer makes, and the end is [`Self::finish`]'s: these are passed over.
    pub fn write(&mut self, input: &Input<'_>) -> Result<(), WriteError> {
        match input {
            Input::Record(record) => self.record(record),
            Input::Head(head) => self.json(BlockType::Head, head, head.clock.ktime),
            Input::Target(target) => self.json(BlockType::Target, target, self.now),
            Input::File(file) => self.file(file),
            Input::Clock(pair) => self.json(BlockType::Clock, pair, pair.ktime),
            Input::Sample(sample) => self.json(BlockType::Sample, sample, sample.at),
            Input::Loss(lost) => {
                self.lost = self.lost.saturating_add(lost.events);
                self.json(BlockType::Lost, lost, self.now)
            }
            Input::Degradation(degradation) => self.json(BlockType::Degradation, degradation, self.now),
            Input::Time(at) => self.record(&time_mark::record(*at)),
            Input::Damage(_) | Input::End(_) => Ok(()),
        }
    }

    fn file(&mut self, file: &Snapshot) -> Result<(), WriteError> {
        let mut payload = serde_json::to_vec(&file.meta)?;
        payload.push(b'\n');
        payload.extend_from_slice(&file.bytes);
        self.other(BlockType::Snapshot, &payload, file.meta.at)
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.out.size()
    }

    /// Records taken in so far.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Records dropped because their block could not be written.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Where the blocks go.
    pub const fn out(&self) -> &B {
        &self.out
    }

    /// Where the blocks go, to drive it: [`super::FlightRing::save`] and the like.
    pub const fn out_mut(&mut self) -> &mut B {
        &mut self.out
    }

    /// Writes what is held and the end, and brings everything to the disk. What the blocks went into comes back also after an error.
    pub fn finish(mut self, end: End) -> (B, Result<(), WriteError>) {
        let result = self.end(end);
        (self.out, result)
    }

    fn end(&mut self, end: End) -> Result<(), WriteError> {
        let flushed = self.flush_block();
        let end = End { records: self.records, dropped: self.dropped, ..end };
        let at = end.at;
        let ended = self.json(BlockType::End, &end, at);
        flushed.and(ended).and(self.out.finish())
    }

    fn json<T: Serialize>(&mut self, kind: BlockType, value: &T, at: KtimeNs) -> Result<(), WriteError> {
        let payload = serde_json::to_vec(value)?;
        self.other(kind, &payload, at)
    }

    /// Writes a block that is not records, behind the records that came before it.
    fn other(&mut self, kind: BlockType, payload: &[u8], at: KtimeNs) -> Result<(), WriteError> {
        let flushed = self.flush_block();
        let span =
            Span { items: 1, first_ns: at.0, last_ns: at.0, records_before: self.records, lost: self.lost };
        let block = self.packer.pack(kind, payload, span)?;
        flushed.and(self.out.put(&block))
    }
}
