//! Makes seeds of traces: `wrapwatch-fuzz-seed CORPUS FILE.wwt…` adds to `CORPUS/record` a connection of each shape (which kinds of records, in
//! which order), to `CORPUS/dns` a message of each length, to `CORPUS/trace` a small trace of the first connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use wrapwatch::decode::{Event, decode};
use wrapwatch::trace::block::Unpacker;
use wrapwatch::trace::{Found, Input, Reader, Scanner};
use wrapwatch_fuzz::trace::as_input;

/// Most bytes of one seed: small ones are mutated to more effect.
const SEED_MAX: usize = 8 << 10;

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let corpus = args.next().context("usage: wrapwatch-fuzz-seed CORPUS FILE.wwt…")?;
    let corpus = Path::new(&corpus);
    let (mut shapes, mut lengths) = (BTreeSet::new(), BTreeSet::new());
    for file in args {
        let file = Path::new(&file);
        let stem = file.file_stem().context("no name")?.to_string_lossy().into_owned();
        let connections = connections(file, |message| {
            if lengths.insert(message.len()) {
                let _ = save(corpus, "dns", &format!("{stem}-{}", message.len()), message);
            }
        })?;
        for (conn, (kinds, records)) in &connections {
            if records.len() <= SEED_MAX && shapes.insert(kinds.clone()) {
                save(corpus, "record", &format!("{stem}-{conn}"), records)?;
            }
        }
        if let Some(input) = small_trace(file)? {
            save(corpus, "trace", &format!("{stem}.blocks"), &input)?;
        }
    }
    ensure!(!shapes.is_empty(), "no connections in these traces");
    Ok(())
}

/// Of each connection, the kinds of its records, and these.
type Connections = BTreeMap<u64, (Vec<u16>, Vec<u8>)>;

/// The records of each connection, and their kinds; the socket's states, which belong to none, go with the one that follows.
fn connections(file: &Path, mut message: impl FnMut(&[u8])) -> Result<Connections> {
    let mut found = Connections::new();
    let mut pending = Vec::new();
    let mut reader =
        Reader::new(File::open(file).with_context(|| format!("cannot open {}", file.display()))?);
    while let Some(item) = reader.next_input()? {
        let Input::Record(record) = item else { continue };
        let Ok(event) = decode(record) else { continue };
        if let Event::Send(_, bytes) | Event::Recv(_, bytes) = &event {
            message(bytes);
        }
        let header = event.header();
        if header.conn == 0 {
            pending = record.to_vec();
            continue;
        }
        let (kinds, records) = found.entry(header.conn).or_default();
        records.append(&mut pending);
        records.extend_from_slice(record);
        kinds.push(header.kind);
    }
    Ok(found)
}

/// The first blocks of a trace that fit, as an input.
fn small_trace(file: &Path) -> Result<Option<Vec<u8>>> {
    let mut scanner = Scanner::new(File::open(file)?);
    let (mut out, mut unpacker) = (Vec::new(), Unpacker::default());
    while let Some(found) = scanner.next_block()? {
        let Found::Block(header, payload, _) = found else { continue };
        let Some(raw) = unpacker.unpack(&header, payload) else { continue };
        if let Some(input) = as_input(header.kind, header.items, raw)
            && out.len() + input.len() <= 4 * SEED_MAX
        {
            out.extend_from_slice(&input);
        }
    }
    Ok((!out.is_empty()).then_some(out))
}

fn save(corpus: &Path, target: &str, name: &str, bytes: &[u8]) -> Result<()> {
    let dir = corpus.join(target);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(name), bytes).with_context(|| format!("cannot write {target}/{name}"))
}
