//! Damaged traces: whole blocks are read, the rest is told of, nothing panics.

use std::io;

use proptest::prelude::*;

use super::*;
use crate::trace::block::HEADER_LEN;
use crate::trace::synth::SplitMix;
use crate::trace::{Damage, DamageKind, Found, Scanner, Sink, WriteError};

/// Where each block of a whole file begins and ends, and how many items it holds.
fn blocks(bytes: &[u8]) -> Vec<(usize, usize, usize)> {
    let mut scanner = Scanner::new(bytes);
    let mut out = Vec::new();
    while let Some(found) = scanner.next_block().unwrap() {
        let Found::Block(header, _, offset) = found else { panic!("damage in a whole file") };
        let start = usize::try_from(offset).unwrap();
        out.push((start, start + header.block_len(), header.items as usize));
    }
    out
}

fn damages(items: &[Owned]) -> Vec<Damage> {
    items.iter().filter_map(|item| if let Owned::Damage(d) = item { Some(*d) } else { None }).collect()
}

fn without_damage(items: Vec<Owned>) -> Vec<Owned> {
    items.into_iter().filter(|item| !matches!(item, Owned::Damage(_))).collect()
}

#[test]
fn cut_at_every_byte_everything_up_to_the_last_whole_block_is_there() {
    let (bytes, expected) = small();
    let blocks = blocks(&bytes);
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        let whole = blocks.iter().take_while(|block| block.1 <= len).count();
        let n: usize = blocks[..whole].iter().map(|block| block.2).sum();
        let items = match read(cut) {
            Ok(items) => items,
            Err(ReadError::NotATrace(_)) if len == 0 => continue,
            Err(err) => panic!("cut at {len}: {err}"),
        };
        let damages = damages(&items);
        assert_eq!(damages.len(), 1, "cut at {len} is told once");
        let (start, end, _) = blocks[whole];
        let damage = damages[0];
        if len == start {
            assert_eq!(damage.kind, DamageKind::NoEnd);
        } else {
            assert_eq!((damage.kind, damage.offset), (DamageKind::Torn, start as u64));
            assert_eq!(damage.skipped_bytes, (len - start) as u64);
            if len >= start + HEADER_LEN {
                assert_eq!(damage.missing_bytes, Some((end - len) as u64));
            }
        }
        assert_eq!(without_damage(items), expected[..n], "cut at {len}");
    }
}

#[test]
fn a_flipped_bit_costs_one_block_and_is_told() {
    let (bytes, expected) = small();
    let blocks = blocks(&bytes);
    let mut rng = SplitMix(42);
    for round in 0..10_000 {
        let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
        let mut bad = bytes.clone();
        bad[at] ^= 1 << rng.below(8);
        let hit = blocks.iter().position(|block| (block.0..block.1).contains(&at)).unwrap();
        let items = read(&bad).unwrap_or_else(|err| panic!("round {round}, byte {at}: {err}"));
        let before: usize = blocks[..hit].iter().map(|block| block.2).sum();
        let lost = blocks[hit].2;
        let damages = damages(&items);
        assert_eq!(damages.len(), 1, "round {round}, byte {at}");
        assert_eq!(damages[0].offset, blocks[hit].0 as u64);
        if hit + 1 < blocks.len() {
            assert_eq!(damages[0].blocks, Some(1));
            let is_records = matches!(expected[before], Owned::Record(_));
            if hit > 0 {
                assert_eq!(damages[0].records, Some(if is_records { lost as u64 } else { 0 }));
            }
        }
        let mut rest = expected.clone();
        rest.drain(before..before + lost);
        assert_eq!(without_damage(items), rest, "round {round}, byte {at}");
    }
}

#[test]
fn blocks_behind_missing_bytes_are_found() {
    let (bytes, expected) = small();
    let blocks = blocks(&bytes);
    // From the middle of the third block to the middle of the sixth.
    let (from, to) = (blocks[2].0 + 100, blocks[5].0 + 10);
    let bad = [&bytes[..from], &bytes[to..]].concat();
    let items = read(&bad).unwrap();
    let n = |range: std::ops::Range<usize>| blocks[range].iter().map(|block| block.2).sum::<usize>();
    let damages = damages(&items);
    assert_eq!(damages.len(), 1);
    assert_eq!(damages[0].blocks, Some(4));
    let mut rest = expected;
    let gone: Vec<Owned> = rest.drain(n(0..2)..n(0..6)).collect();
    let gone = gone.iter().filter(|item| matches!(item, Owned::Record(_))).count() as u64;
    assert_eq!(damages[0].records, Some(gone));
    assert_eq!(without_damage(items), rest);
}

#[test]
fn two_files_in_one_read_as_one_after_the_other() {
    let (bytes, expected) = small();
    let items = read(&[&bytes[..], &bytes[..]].concat()).unwrap();
    assert_eq!(items, [&expected[..], &expected[..]].concat());
}

#[test]
fn what_is_no_trace_is_said_to_be_none() {
    for bytes in [&b""[..], b"\n", b"hello, world", &vec![0; 100_000], b"\x7fELF"] {
        assert!(matches!(read(bytes), Err(ReadError::NotATrace(_))), "{} bytes", bytes.len());
    }
}

#[test]
fn a_later_version_is_named() {
    let (bytes, _) = small();
    let mut header = super::super::block::Header::parse(bytes.first_chunk().unwrap()).unwrap();
    header.version += 1;
    let later = [&header.to_bytes()[..], &bytes[HEADER_LEN..]].concat();
    assert!(matches!(read(&later), Err(ReadError::TooNew { format: 2, .. })));
}

#[test]
fn a_block_of_a_later_kind_is_skipped() {
    let (bytes, expected) = small();
    let second = blocks(&bytes)[1];
    let mut header = super::super::block::Header::parse(bytes[second.0..].first_chunk().unwrap()).unwrap();
    header.kind = 77;
    let mut later = bytes.clone();
    later[second.0..second.0 + HEADER_LEN].copy_from_slice(&header.to_bytes());
    let mut reader = Reader::new(&later[..]);
    let mut items = Vec::new();
    while let Some(item) = reader.next_input().unwrap() {
        items.push(Owned::from(item));
    }
    let mut rest = expected;
    rest.remove(1);
    assert_eq!((items, reader.unknown_blocks()), (rest, 1));
}

/// A disk that is full between two lengths of what was ever offered to it.
struct Disk {
    bytes: Vec<u8>,
    room: usize,
}

impl Sink for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fits = bytes.len().min(self.room - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.bytes.truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        "disk".to_owned()
    }
}

fn write_all(w: &mut Writer<SingleFile<Disk>>, records: &[Vec<u8>]) {
    for record in records {
        w.record(record).unwrap();
    }
}

#[test]
fn a_full_disk_leaves_whole_blocks_and_the_gap_is_told() {
    let (first, second, third) = (records(1, 2), records(2, 3), records(3, 2));
    let disk = Disk { bytes: Vec::new(), room: 1 << 20 };
    let mut w = Writer::new(SingleFile::new(disk), &head(), WriterOptions::offline()).unwrap();
    write_all(&mut w, &first);
    w.flush_block().unwrap();
    let len = w.size();
    w.out_mut().sink_mut().room = usize::try_from(len).unwrap() + 200;
    write_all(&mut w, &second);
    let full = w.flush_block().unwrap_err();
    assert!(matches!(full, WriteError::Full { len: at, .. } if at == len), "{full}");
    assert_eq!(w.out().sink().bytes.len() as u64, len, "nothing of the block is left");
    let now = w.out().sink().bytes.clone();
    assert_eq!(read(&now).unwrap().len(), 1 + first.len() + 1, "and what is there is readable");
    w.out_mut().sink_mut().room = 1 << 20;
    write_all(&mut w, &third);
    assert_eq!(w.dropped(), second.len() as u64);
    let (out, result) = w.finish(End::default());
    result.unwrap();
    let items = read(&out.into_inner().bytes).unwrap();
    let damages = damages(&items);
    assert_eq!(damages.len(), 1);
    assert_eq!(
        (damages[0].kind, damages[0].blocks, damages[0].records),
        (DamageKind::Dropped, Some(1), Some(second.len() as u64))
    );
    assert_eq!(without_damage(items).len(), 1 + first.len() + third.len() + 1);
}

#[test]
fn damage_is_told_in_words() {
    let (bytes, _) = small();
    let blocks = blocks(&bytes);
    let torn = read(&bytes[..blocks[3].0 + 90]).unwrap();
    let text = damages(&torn)[0].to_string();
    let missing = blocks[3].1 - blocks[3].0 - 90;
    let at = blocks[3].0;
    assert_eq!(
        text,
        format!(
            "the file ends within a block that begins at offset {at} ({missing} of its bytes are missing)"
        )
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _: Result<_, _> = read(&bytes);
    }

    #[test]
    fn arbitrary_bytes_within_a_trace_do_no_harm(
        noise in prop::collection::vec(any::<u8>(), 1..300),
        at in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, expected) = small();
        let at = at.index(bytes.len());
        let blocks = blocks(&bytes);
        let whole = blocks.iter().take_while(|block| block.1 <= at).count();
        let n: usize = blocks[..whole].iter().map(|block| block.2).sum();
        bytes.splice(at..at, noise);
        if let Ok(items) = read(&bytes) {
            prop_assert_eq!(&items[..n], &expected[..n]);
        }
    }
}
