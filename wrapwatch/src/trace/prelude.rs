//! What every file of a recording in several files begins with, so that each is readable alone: the head, targets, degradations,
//! the last clock pair, and every file of the targets as it is in force.

use super::block::{Block, BlockType, PackError, Packer, Span, Unpacker};
use super::head::{Head, SnapshotMeta};

/// Most blocks of one kind kept; more targets or snapshots than this are not a server's.
const KEPT_MAX: usize = 1024;

/// Remembers what later files have to repeat.
#[derive(Debug)]
pub(super) struct Prelude {
    head: Option<Head>,
    targets: Vec<Block>,
    degradations: Vec<Block>,
    clock: Option<Block>,
    snapshots: Vec<((Option<u32>, String), Block)>,
    packer: Packer,
    unpacker: Unpacker,
}

impl Prelude {
    pub(super) fn new() -> Result<Self, PackError> {
        Ok(Self {
            head: None,
            targets: Vec::new(),
            degradations: Vec::new(),
            clock: None,
            snapshots: Vec::new(),
            packer: Packer::new(3)?,
            unpacker: Unpacker::default(),
        })
    }

    /// Looks at a block on its way into a file.
    pub(super) fn see(&mut self, block: &Block) {
        match BlockType::from_raw(block.header.kind) {
            Some(BlockType::Head) => {
                if let Some(raw) = self.unpacker.unpack(&block.header, &block.payload) {
                    self.head = serde_json::from_slice(raw).ok();
                }
            }
            Some(BlockType::Target) => keep(&mut self.targets, block),
            Some(BlockType::Degradation) => keep(&mut self.degradations, block),
            Some(BlockType::Clock) => self.clock = Some(block.clone()),
            Some(BlockType::Snapshot) => self.snapshot(block),
            _ => {}
        }
    }

    fn snapshot(&mut self, block: &Block) {
        let Some(raw) = self.unpacker.unpack(&block.header, &block.payload) else { return };
        let line = raw.split(|&b| b == b'\n').next().unwrap_or_default();
        let Ok(meta) = serde_json::from_slice::<SnapshotMeta>(line) else { return };
        let key = (meta.pid, meta.path);
        if let Some((_, known)) = self.snapshots.iter_mut().find(|(known, _)| *known == key) {
            known.clone_from(block);
        } else if self.snapshots.len() < KEPT_MAX {
            self.snapshots.push((key, block.clone()));
        }
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
        let rest = self.targets.iter().chain(&self.degradations).chain(&self.clock);
        for block in rest.chain(self.snapshots.iter().map(|(_, block)| block)) {
            let mut block = block.clone();
            block.header.records_before = counts.records_before;
            block.header.lost = counts.lost;
            blocks.push(block);
        }
        Ok(blocks)
    }
}

fn keep(blocks: &mut Vec<Block>, block: &Block) {
    if blocks.len() < KEPT_MAX {
        blocks.push(block.clone());
    }
}
