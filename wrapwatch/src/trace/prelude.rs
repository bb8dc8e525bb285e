//! What every file of a recording in several files begins with, so that each is readable alone: the head, targets, degradations,
//! the last clock pair, and every file of the targets as it is in force.
//!
//! All of it is kept within a budget of bytes, however often a target is described anew and however large its files are: of a process only the newest description
//! stays, of its files only the newest for each role, and where that is still too much, of the oldest of them only that there was no room ([`NO_ROOM`]).

use super::block::{Block, BlockType, PackError, Packer, Span, Unpacker};
use super::head::{Head, SnapshotMeta, SnapshotRole};
use super::not_kept::NO_ROOM;

/// Most bytes of all of it, however large the files are: it is held in memory.
const BYTES_MAX: u64 = 16 << 20;

/// A file of a target: whose, what it is, and for those that rules name, where.
type FileKey = (Option<u32>, SnapshotRole, Option<String>);

/// A target's file.
#[derive(Debug)]
struct KeptFile {
    key: FileKey,
    meta: SnapshotMeta,
    /// With the file's bytes, which [`Prelude::fit`] may leave out.
    whole: bool,
    block: Block,
}

/// Remembers what later files have to repeat.
#[derive(Debug)]
pub(super) struct Prelude {
    budget_bytes: u64,
    head: Option<Head>,
    head_bytes: u64,
    /// By process, oldest description first.
    targets: Vec<(u32, Block)>,
    degradations: Vec<Block>,
    clock: Option<Block>,
    /// Oldest first.
    files: Vec<KeptFile>,
    packer: Packer,
    unpacker: Unpacker,
}

impl Prelude {
    /// Keeps no more than `budget_bytes` of blocks beside the head.
    pub(super) fn new(budget_bytes: u64) -> Result<Self, PackError> {
        Ok(Self {
            budget_bytes: budget_bytes.min(BYTES_MAX),
            head: None,
            head_bytes: 0,
            targets: Vec::new(),
            degradations: Vec::new(),
            clock: None,
            files: Vec::new(),
            packer: Packer::new(3)?,
            unpacker: Unpacker::default(),
        })
    }

    /// Looks at a block on its way into a file.
    pub(super) fn see(&mut self, block: &Block) -> Result<(), PackError> {
        match BlockType::from_raw(block.header.kind) {
            Some(BlockType::Head) => self.see_head(block),
            Some(BlockType::Target) => self.see_target(block),
            Some(BlockType::Degradation) => {
                if !self.degradations.iter().any(|kept| kept.payload == block.payload) {
                    self.degradations.push(block.clone());
                }
            }
            Some(BlockType::Clock) => self.clock = Some(block.clone()),
            Some(BlockType::Snapshot) => self.see_file(block),
            _ => return Ok(()),
        }
        self.fit()
    }

    fn see_head(&mut self, block: &Block) {
        self.head_bytes = block.header.block_len() as u64;
        if let Some(raw) = self.unpacker.unpack(&block.header, &block.payload) {
            self.head = serde_json::from_slice(raw).ok();
        }
    }

    fn see_target(&mut self, block: &Block) {
        #[derive(serde::Deserialize)]
        struct Pid {
            pid: u32,
        }
        let Some(raw) = self.unpacker.unpack(&block.header, &block.payload) else { return };
        let Ok(Pid { pid }) = serde_json::from_slice(raw) else { return };
        self.targets.retain(|(known, _)| *known != pid);
        self.targets.push((pid, block.clone()));
    }

    fn see_file(&mut self, block: &Block) {
        let Some(raw) = self.unpacker.unpack(&block.header, &block.payload) else { return };
        let line = raw.split(|&b| b == b'\n').next().unwrap_or_default();
        let Ok(meta) = serde_json::from_slice::<SnapshotMeta>(line) else { return };
        let named = (meta.role == SnapshotRole::Other).then(|| meta.path.clone());
        let key = (meta.pid, meta.role, named);
        self.files.retain(|file| file.key != key);
        self.files.push(KeptFile { key, meta, whole: true, block: block.clone() });
    }

    /// Bytes of what is kept.
    pub(super) fn bytes(&self) -> u64 {
        // The number of the file may take some digits more than in the head that was seen.
        let head = if self.head.is_some() { self.head_bytes + 32 } else { 0 };
        head + self.kept().map(|block| block.header.block_len() as u64).sum::<u64>()
    }

    /// Everything but the head, in the order of a file.
    fn kept(&self) -> impl Iterator<Item = &Block> {
        let targets = self.targets.iter().map(|(_, block)| block);
        let files = self.files.iter().map(|file| &file.block);
        targets.chain(&self.degradations).chain(&self.clock).chain(files)
    }

    /// Whether the budget allows for what cannot be left out.
    pub(super) fn fits(&self) -> bool {
        self.bytes() <= self.budget_bytes
    }

    /// Brings what is kept within the budget: first the oldest files lose their bytes, then they go altogether, then the oldest targets and degradations.
    fn fit(&mut self) -> Result<(), PackError> {
        while !self.fits() {
            if let Some(file) = self.files.iter_mut().find(|file| file.whole) {
                file.whole = false;
                file.block = without_bytes(&mut self.packer, &file.meta, &file.block)?;
            } else if !self.files.is_empty() {
                self.files.remove(0);
            } else if self.targets.len() > 1 {
                self.targets.remove(0);
            } else if !self.degradations.is_empty() {
                self.degradations.remove(0);
            } else if self.targets.pop().is_none() {
                break;
            }
        }
        Ok(())
    }

    /// In the place of a snapshot that no file has room for: that there was one.
    pub(super) fn without_bytes(&mut self, block: &Block) -> Result<Option<Block>, PackError> {
        let Some(raw) = self.unpacker.unpack(&block.header, &block.payload) else { return Ok(None) };
        let line = raw.split(|&b| b == b'\n').next().unwrap_or_default();
        let Ok(meta) = serde_json::from_slice::<SnapshotMeta>(line) else { return Ok(None) };
        without_bytes(&mut self.packer, &meta, block).map(Some)
    }

    /// The blocks for the beginning of file number `file`, with the counts that hold there.
    pub(super) fn blocks(&mut self, file: u64, counts: Span) -> Result<Vec<Block>, PackError> {
        let mut blocks = Vec::new();
        if let Some(head) = &self.head {
            let head = Head { file, ..head.clone() };
            let at = head.clock.ktime.0;
            // serde_json fails on maps with keys that are no strings only; the head has none.
            let raw = serde_json::to_vec(&head).unwrap_or_default();
            let span = Span { items: 1, first_ns: at, last_ns: at, ..counts };
            blocks.push(self.packer.pack(BlockType::Head, &raw, span)?);
        }
        blocks.extend(self.kept().cloned().map(|mut block| {
            block.header.records_before = counts.records_before;
            block.header.lost = counts.lost;
            block
        }));
        Ok(blocks)
    }
}

fn without_bytes(packer: &mut Packer, meta: &SnapshotMeta, block: &Block) -> Result<Block, PackError> {
    let meta = SnapshotMeta { error: Some(NO_ROOM.to_owned()), truncated: false, ..meta.clone() };
    let mut raw = serde_json::to_vec(&meta).unwrap_or_default();
    raw.push(b'\n');
    let header = &block.header;
    let span = Span {
        items: 1,
        first_ns: header.first_ns,
        last_ns: header.last_ns,
        records_before: header.records_before,
        lost: header.lost,
    };
    packer.pack(BlockType::Snapshot, &raw, span)
}
