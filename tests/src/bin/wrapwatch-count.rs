//! The same work again and again, for whoever counts instructions or profiles it: `cargo xtask counts`.
//!
//! `wrapwatch-count WHAT TIMES`, where WHAT is one of
//! - `correlate`: the records of 500 made-up connections with two lookups each, decoded and correlated;
//! - `plain`: records of connections without lookups, each told as a line of text;
//! - `live`: as `correlate`, and each connection as a line of text;
//! - `json`: the same, and each connection as a line of JSON;
//! - `screen`: a second's 5 000 made-up connections taken by the live view, which keeps as many as it ever does and draws ten times in it;
//! - `story`: the committed trace read and told.
//!
//! Prints how many records, or connections, one time is. Once more than another takes so many instructions more: what comes before and after does not count.
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
    model::{ClockPair, Connection, KtimeNs, Line},
    observe::{JsonLines, Observer as _, TextLines},
    render::text::Text,
    replay::{Options, Replay},
    trace::synth::Synth,
    tui::{Look, Offscreen},
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
    let synth = Synth::new(1, 1_000_000_000, 1_000);
    let records = made_up(if what == "plain" { synth.without_lookups() } else { synth });
    let mut screen = OnScreen::new(&records)?;
    if what == "screen" {
        screen.fill()?;
    }
    let (mut text, mut json) = (TextLines::new(sink(), Text::PLAIN), JsonLines::new(sink()));
    let mut count = 0;
    for _ in 0..times {
        count = match what.as_str() {
            "correlate" => correlate(&records, |_| Ok(()))?,
            "live" | "plain" => correlate(&records, |line| Ok(text.line(line)?))?,
            "json" => correlate(&records, |line| Ok(json.line(line)?))?,
            "screen" => screen.second()?,
            "story" => story()?,
            other => bail!("{other}: correlate, plain, live, json, screen or story"),
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
fn made_up(mut synth: Synth) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
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

/// Made-up connections on a screen, as fast as none of them would be by itself.
struct OnScreen {
    connections: Vec<Connection>,
    screen: Offscreen,
    shown: u64,
}

impl OnScreen {
    fn new(records: &[Vec<u8>]) -> Result<Self> {
        let mut connections = Vec::new();
        correlate(records, |line| {
            if let Line::Connection(connection) = line {
                connections.push(connection.as_ref().clone());
            }
            Ok(())
        })?;
        let look = Look { color: true, unicode: true, zone: None, local: false };
        Ok(Self { connections, screen: Offscreen::new(look, 120, 40), shown: 0 })
    }

    /// Until old ones go where new ones come.
    fn fill(&mut self) -> Result<()> {
        while self.shown <= 100_000 {
            self.second()?;
        }
        Ok(())
    }

    fn second(&mut self) -> Result<usize> {
        const A_SECOND: u64 = 5_000;
        let (clock, before) =
            (ClockPair { ktime: KtimeNs(0), wall_ns: 1_700_000_000_000_000_000 }, self.screen.frames());
        for connection in self.connections.iter().cycle().take(usize::try_from(A_SECOND)?) {
            self.shown += 1;
            let at = KtimeNs(self.shown * (1_000_000_000 / A_SECOND));
            let connection = Connection {
                conn: self.shown,
                accepted: clock.wall(at),
                accepted_ktime: at,
                established: None,
                queued_ns: None,
                total_ns: None,
                waited_ns: 0,
                wrapper_ns: 100_000,
                service_ns: 100_000,
                ..connection.clone()
            };
            self.screen.line(&Line::Connection(Box::new(connection)))?;
        }
        let frames = self.screen.frames() - before;
        anyhow::ensure!((9..=11).contains(&frames), "{frames} screens in a second");
        Ok(usize::try_from(A_SECOND)?)
    }
}

fn story() -> Result<usize> {
    let mut story = Replay::new(TRACE, Options::default());
    while story.next_line()?.is_some() {}
    Ok(usize::try_from(story.progress().events)?)
}
