//! Trace files: read, told, reported as text and as a page, and copied with `--redact`.
//!
//! Checksums keep changed bytes out of a reader's inner parts, so an input that does not begin as a file does is taken for blocks still to
//! be given theirs: a byte for the type, one for the number of records (0: as many as fit), two for the length, the payload.

use wrapwatch::diagnose;
use wrapwatch::render::{report::Page, text::Text};
use wrapwatch::replay::{Options, Replay, TraceReport, Wanted};
use wrapwatch::trace::block::{Header, MAGIC};
use wrapwatch::trace::redact::{Key, redact};
use wrapwatch::trace::{FORMAT_VERSION, Input, Reader, SingleFile};
use wrapwatch_common::ABI_VERSION;
use wrapwatch_common::records as abi;

/// A file, or blocks of one.
///
/// # Panics
/// Where a promise is broken.
pub fn run(bytes: &[u8]) {
    if bytes.starts_with(&MAGIC[..2]) { file(bytes) } else { file(&blocks(bytes)) }
}

fn file(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while let Ok(Some(_)) = reader.next_input() {}
    let mut story = Replay::new(bytes, Options { slow_ns: 0, ..Options::default() });
    while let Ok(Some(line)) = story.next_line() {
        super::assert_harmless(&Text::PLAIN.line(&line));
    }
    report(bytes);
    copy(bytes);
}

fn report(bytes: &[u8]) {
    let wanted = Wanted { slowest: 5, file_name: "a.wwt", ..Wanted::default() };
    let Ok(whole) = TraceReport::read(bytes, &wanted, |_| ()) else { return };
    super::assert_harmless(&Text::PLAIN.report(&whole.report));
    let load = whole.diagnosis.load();
    let (waits, waterfall) = (diagnose::waits(load), diagnose::waterfall(load));
    let page = Page {
        report: &whole.report,
        waits: &waits,
        waterfall: &waterfall,
        queue: whole.context.queue.points(),
        clock: whole.clock,
    };
    let html = page.html();
    assert!(!html.contains("<script") && !html.contains("NaN"), "{html}");
}

/// What was copied is whole.
fn copy(bytes: &[u8]) {
    let Ok((copy, _)) = redact(|| Ok(bytes), SingleFile::new(Vec::new()), Key::new([7; 16])) else { return };
    let copy = copy.into_inner();
    let mut reader = Reader::new(copy.as_slice());
    loop {
        match reader.next_input() {
            Ok(None) => break,
            Ok(Some(item)) => assert!(!matches!(item, Input::Damage(_)), "{item:?}"),
            Err(error) => unreachable!("a copy that cannot be read: {error}"),
        }
    }
}

/// The file of such blocks.
fn blocks(mut bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut seq, mut records) = (Vec::new(), 0, 0);
    while let Some((&[kind, items, low, high], rest)) = bytes.split_first_chunk::<4>() {
        let len = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (payload, after) = rest.split_at(len);
        bytes = after;
        let items = if items == 0 { shortest_records(payload) } else { u32::from(items) };
        let header = Header {
            version: FORMAT_VERSION,
            abi: u16::try_from(ABI_VERSION).unwrap_or(u16::MAX),
            kind: u16::from(kind),
            flags: 0,
            stored_len: u32::try_from(len).unwrap_or(0),
            raw_len: u32::try_from(len).unwrap_or(0),
            items,
            payload_crc: crc32fast::hash(payload),
            seq,
            first_ns: seq * 1_000,
            last_ns: seq * 1_000 + 999,
            records_before: records,
            lost: 0,
        };
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(payload);
        seq += 1;
        records += u64::from(items);
    }
    out
}

/// How many records a payload can hold at most.
fn shortest_records(payload: &[u8]) -> u32 {
    u32::try_from(payload.len() / size_of::<abi::Header>()).unwrap_or(u32::MAX)
}

/// A block as a part of an input: for seeds. `None` where it does not fit.
pub fn as_input(kind: u16, items: u32, raw: &[u8]) -> Option<Vec<u8>> {
    let [low, high] = u16::try_from(raw.len()).ok()?.to_le_bytes();
    let mut out = vec![u8::try_from(kind).ok()?, u8::try_from(items).ok()?, low, high];
    out.extend_from_slice(raw);
    Some(out)
}
