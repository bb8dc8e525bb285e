//! The same work again and again, for whoever counts instructions or profiles it: `cargo xtask counts`.
//!
//! `wrapwatch-count WHAT TIMES`, where WHAT is one of
//! - `correlate`: the records of 500 made-up connections with two lookups each, decoded and correlated;
//! - `live`: the same, and each connection as a line of text;
//! - `json`: the same, and each connection as a line of JSON;
//! - `story`: the committed trace read and told.
//!
//! Prints how many records one time is. Once more than another takes so many instructions more: what comes before and after does not count.
//!
//! `wrapwatch-count programs` lists the kernel side's programs with their instructions, as compiled.

use std::{
    io::{Write as _, sink, stdout},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use wrapwatch::{
    correlate::{Config, Correlator},
    decode,
    model::{ClockPair, KtimeNs, Line},
    render::{json, text::Text},
    replay::{Options, Replay},
    trace::synth::Synth,
};

/// Connections of one time.
const CONNECTIONS: u64 = 500;
/// The committed trace.
const TRACE: &[u8] = include_bytes!("../../data/traces/format-1-abi-1.wwt");

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wrapwatch-count: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().context("what?")?;
    if what == "programs" {
        return programs();
    }
    let times: u32 = args.next().context("how often?")?.parse()?;
    let records = made_up();
    let mut count = 0;
    for _ in 0..times {
        count = match what.as_str() {
            "correlate" => correlate(&records, |_| Ok(()))?,
            "live" => correlate(&records, |line| Ok(sink().write_all(Text::PLAIN.line(line).as_bytes())?))?,
            "json" => correlate(&records, |line| Ok(json::write_line(&mut sink(), line)?))?,
            "story" => story()?,
            other => bail!("{other}: correlate, live, json or story"),
        };
    }
    writeln!(stdout(), "{count}")?;
    Ok(())
}

/// The kernel side's programs, a line each. What they share (`.text`) is nobody's alone.
fn programs() -> Result<()> {
    /// Bytes of an instruction; one that loads 8 bytes takes two.
    const INSTRUCTION: u64 = 8;
    let file = object::File::parse(wrapwatch::probe::OBJECT)?;
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let Some(section) = symbol.section_index() else { continue };
        if file.section_by_index(section)?.name()? != ".text" {
            writeln!(stdout(), "{} = {}", symbol.name()?, symbol.size() / INSTRUCTION)?;
        }
    }
    Ok(())
}

/// Records one after another, each with its length.
fn made_up() -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut synth = Synth::new(1, 1_000_000_000, 1_000);
    for _ in 0..CONNECTIONS {
        synth.connection(&mut |record| records.push(record.to_vec()));
    }
    records
}

fn correlate(records: &[Vec<u8>], mut tell: impl FnMut(&Line) -> Result<()>) -> Result<usize> {
    let clock = ClockPair { ktime: KtimeNs(0), wall_ns: 1_700_000_000_000_000_000 };
    let mut correlator = Correlator::new(Config::new(clock));
    let mut told = 0;
    let mut end = KtimeNs(0);
    for record in records {
        let event = decode::decode(record)?;
        end = KtimeNs(event.header().ts_ns);
        correlator.push(&event);
        while let Some(connection) = correlator.pop() {
            told += 1;
            tell(&Line::Connection(connection))?;
        }
    }
    correlator.finish(end);
    while correlator.pop().is_some() {
        told += 1;
    }
    anyhow::ensure!(told == CONNECTIONS, "{told} connections of {CONNECTIONS}");
    Ok(records.len())
}

fn story() -> Result<usize> {
    let mut story = Replay::new(TRACE, Options::default());
    while story.next_line()?.is_some() {}
    Ok(usize::try_from(story.progress().events)?)
}
