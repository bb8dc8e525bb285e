//! The live view without a terminal: snapshots at several sizes, and keys in any order.

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::draw;
use super::filter::Filter;
use super::keys::{Action, KEYS, Key, action};
use super::log::{Room, Told};
use super::state::{Effect, Sort, Source, State, nameserver};
use super::{Look, Offscreen};
use crate::context::Fact;
use crate::diagnose::{Report, took_ns};
use crate::engine::{Engine, Options};
use crate::import::strace::{Dates, Importer, Log, import, survey};
use crate::model::{Connection, Line};
use crate::observe::Observer as _;
use crate::render::report::tests::trace;
use crate::render::text::outcome_word;
use crate::replay::{Replay, TraceReport, Wanted};

const E2: &str = include_str!("../../../tests/data/captures/mysqld-5.5.62/e2-20conc-delay300.ttt.log");
const C_TIMEOUT: &str = include_str!("../../../tests/data/captures/mysqld-5.5.62/c-timeout.ttt.log");

const SIZES: [(u16, u16); 4] = [(60, 16), (80, 24), (120, 40), (200, 60)];
const PLAIN: Look = Look { color: false, unicode: true, zone: None, local: false };
const COLOURED: Look = Look { color: true, ..PLAIN };

/// Those of E2.
static LINES: LazyLock<Vec<Line>> = LazyLock::new(|| lines(E2));

/// The lines of a log.
fn lines(log: &str) -> Vec<Line> {
    let lines = told_of(log).into_iter().filter_map(|told| match told {
        Told::Line(line) => Some(*line),
        Told::Fact(_) => None,
    });
    lines.collect()
}

/// What a log tells: of each input what it says, then the lines that come of it.
fn told_of(log: &str) -> Vec<Told> {
    let logs = || vec![Log { tid: None, source: log.as_bytes() }];
    let mut importer = Importer::new(None, survey(logs()).unwrap());
    let mut engine = Engine::new(Options { slow_ns: 100_000_000, ..Options::default() });
    let mut lines = Vec::new();
    import(&mut importer, logs(), Dates::default(), &mut |input| {
        engine.feed(&input);
        lines.extend(Fact::of(&input).map(|fact| Told::Fact(Box::new(fact))));
        lines.extend(std::iter::from_fn(|| engine.next_line()).map(|line| tell(&line)));
    })
    .unwrap();
    engine.finish();
    lines.extend(std::iter::from_fn(|| engine.next_line()).map(|line| tell(&line)));
    lines
}

/// Room for so many.
fn room(entries: usize) -> Room {
    Room { entries, ..Room::MOST }
}

/// The whole log told.
fn told(log: &str) -> State {
    let mut state = State::new(Source::Trace);
    state.servers.push("mysqld (812)".to_owned());
    told_of(log).into_iter().for_each(|told| state.told(told));
    state
}

fn tell(line: &Line) -> Told {
    Told::Line(Box::new(line.clone()))
}

fn buffer(state: &mut State, look: Look, (width, height): (u16, u16)) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw(state, look, area, &mut buffer);
    buffer
}

fn shown(state: &mut State, size: (u16, u16)) -> String {
    let buffer = buffer(state, PLAIN, size);
    let row = |row: Rect| {
        let cells = row.columns().map(|cell| buffer[cell.as_position()].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    buffer.area.rows().map(row).collect::<Vec<_>>().join("\n")
}

fn press(state: &mut State, keys: impl IntoIterator<Item = Key>) {
    for key in keys {
        state.refresh();
        state.key(key);
    }
    state.refresh();
}

#[test]
fn every_panel_at_every_size() {
    let panels = [
        ("connections", None),
        ("detail", Some(Key::Enter)),
        ("findings", Some(Key::Char('f'))),
        ("what-if", Some(Key::Char('w'))),
        ("servers", Some(Key::Char('v'))),
        ("nameservers", Some(Key::Char('n'))),
        ("rules", Some(Key::Char('r'))),
        ("threads", Some(Key::Char('t'))),
        ("notes", Some(Key::Char('m'))),
        ("help", Some(Key::Char('h'))),
    ];
    for (name, key) in panels {
        for size in SIZES {
            let mut state = told(E2);
            press(&mut state, key);
            insta::assert_snapshot!(format!("{name}-{}x{}", size.0, size.1), shown(&mut state, size));
        }
    }
}

/// What is told of the log recorded and replayed.
fn told_of_trace(log: &str) -> Vec<Told> {
    let trace = trace(log);
    let mut replay = Replay::new(trace.as_slice(), Options { slow_ns: 100_000_000, ..Options::default() });
    let mut all = Vec::new();
    let mut facts = Vec::new();
    let mut next = || {
        let line = replay.next_line_of(|input| {
            facts.extend(Fact::of(input).map(|fact| Told::Fact(Box::new(fact))));
            Ok::<_, crate::trace::ReadError>(())
        });
        let line = line.unwrap();
        all.append(&mut facts);
        all.extend(line.as_ref().map(tell));
        line
    };
    while next().is_some() {}
    all
}

/// The screen without what says that time is held, and where.
fn without_mode(screen: &str) -> String {
    let rows = screen.lines().filter(|row| !row.contains('●'));
    rows.collect::<Vec<_>>().join("\n").replacen(" TRACE", "  HELD", 1)
}

#[test]
fn a_trace_shows_the_screen_that_was_there_at_that_time() {
    for log in [E2, C_TIMEOUT] {
        let mut recorded = State::new(Source::Trace);
        recorded.servers.push("mysqld (812)".to_owned());
        told_of_trace(log).into_iter().for_each(|told| recorded.told(told));
        let mut live = State::new(Source::Trace);
        live.servers.push("mysqld (812)".to_owned());
        let mut screens = Vec::<(jiff::Timestamp, [String; 2])>::new();
        for told in told_of(log) {
            live.told(told);
            let then = [(80, 24), (200, 60)].map(|size| without_mode(&shown(&mut live, size)));
            // What comes at the same time makes one screen.
            screens.pop_if(|(at, _)| *at == live.at());
            screens.push((live.at(), then));
        }
        assert!(screens.len() >= 10, "{}", screens.len());
        // Back in time as well.
        let end = screens.len() - 1;
        for (at, then) in screens.into_iter().take(end).rev().filter(|(at, _)| at.as_second() > 0) {
            recorded.hold_at(at);
            let now = [(80, 24), (200, 60)].map(|size| without_mode(&shown(&mut recorded, size)));
            assert_eq!(now, then, "{at}");
        }
    }
}

/// What the report has of it.
fn report(log: &str) -> Report {
    TraceReport::read(trace(log).as_slice(), &Wanted::default(), |_| ()).unwrap().report
}

#[test]
fn findings_and_what_if_are_those_of_the_report() {
    for log in [E2, C_TIMEOUT] {
        let report = report(log);
        assert!(!report.findings.is_empty() && !report.what_if.is_empty());
        let mut state = told(log);
        press(&mut state, [Key::Char('w')]);
        let (_, shown) = state.judged.as_ref().unwrap().report().unwrap();
        assert_eq!(shown.findings, report.findings);
        assert_eq!(shown.what_if, report.what_if);
        assert_eq!(shown.what_if_caveats, report.what_if_caveats);
    }
}

#[test]
fn requests_are_judged_as_the_report_judges_them() {
    let mut state = told(E2);
    let last = LINES.iter().rev().find_map(connection).unwrap();
    let request = Connection { conn: 9_001, outcome: crate::model::Outcome::Admitted, ..last.clone() };
    state.told(tell(&Line::Request(Box::new(request))));
    press(&mut state, [Key::Char('w')]);
    let (_, shown) = state.judged.as_ref().unwrap().report().unwrap();
    assert_eq!(shown.summary.requests.count, 1);
}

#[test]
fn findings_are_of_the_moment_that_is_shown() {
    let mut state = told(C_TIMEOUT);
    press(&mut state, [Key::Char('f'), Key::Home]);
    let first = shown(&mut state, (80, 24));
    assert!(first.contains("of the 0 connections") && first.contains("nothing so far"), "{first}");
    press(&mut state, [Key::End]);
    let all = shown(&mut state, (80, 24));
    assert!(all.contains("first-nameserver-dead"), "{all}");
    press(&mut state, [Key::Esc]);
    assert!(state.judged.is_none(), "nobody looks at it");
}

#[test]
fn a_panel_that_is_longer_than_the_screen_is_scrolled_to_its_end() {
    let mut state = told(C_TIMEOUT);
    press(&mut state, [Key::Char('f')]);
    let first = shown(&mut state, (60, 16));
    assert!(first.contains("rows 1 to"), "{first}");
    for _ in 0..50 {
        press(&mut state, [Key::PageDown]);
        shown(&mut state, (60, 16));
    }
    let last = shown(&mut state, (60, 16));
    let said = last.lines().find(|line| line.starts_with("rows ")).unwrap();
    let numbers: Vec<&str> = said.split([' ', ';']).filter(|word| word.parse::<u32>().is_ok()).collect();
    assert_eq!(numbers[1], numbers[2], "{last}");
    press(&mut state, [Key::Up]);
    assert_ne!(shown(&mut state, (60, 16)), last);
}

#[test]
fn a_stall_is_seen_when_time_goes_back_to_it() {
    let mut state = told(C_TIMEOUT);
    assert!(shown(&mut state, (80, 24)).contains("no stall is seen"));
    press(&mut state, [Key::Left]);
    let back = shown(&mut state, (80, 24));
    assert!(back.contains("STALL accept thread blocked") && back.contains("HELD"), "{back}");
    insta::assert_snapshot!("held-at-a-stall", back);
    let then = state.at();
    press(&mut state, [Key::Char('.'), Key::Char(',')]);
    assert_eq!(state.at(), then, "a second on and a second back");
    press(&mut state, [Key::End]);
    assert!(!state.held());
}

/// The pictures of docs/live-view.md: what they are called, what is pressed, and whether on a dark background.
const PICTURES: [(&str, &str, bool); 3] =
    [("stall", "←\n", true), ("findings", "f", true), ("stall-light", "←\n", false)];

/// `cargo xtask docs --picture` sets the variable, and so has them drawn.
#[test]
fn the_pictures_show_what_the_screen_shows() {
    let draws = std::env::var_os("WRAPWATCH_PICTURES").is_some();
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    for (name, keys, dark) in PICTURES {
        let mut screen = Offscreen::new(COLOURED, 100, 28);
        let trace = trace(C_TIMEOUT);
        crate::export::tell(trace.as_slice(), Options::default(), &mut screen).unwrap();
        screen.press(keys);
        let (svg, path) = (screen.svg(dark), dir.join(format!("live-view-{name}.svg")));
        if draws {
            std::fs::write(&path, svg).unwrap();
        } else {
            let stands = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(stands == svg, "{} is stale: cargo xtask docs --picture", path.display());
        }
    }
}

#[test]
fn ten_screens_a_second_are_drawn_at_most() {
    let mut screen = Offscreen::new(PLAIN, 80, 24);
    let connection = LINES.iter().find_map(connection).unwrap();
    for ms in 0..3_000 {
        let at = crate::model::KtimeNs(1_000_000 * ms);
        let clock =
            crate::model::ClockPair { ktime: crate::model::KtimeNs(0), wall_ns: 1_795_326_000_000_000_000 };
        let connection = Connection { conn: ms, accepted: clock.wall(at), ..connection.clone() };
        screen.line(&Line::Connection(Box::new(connection))).unwrap();
    }
    assert!((28..=31).contains(&screen.frames()), "{}", screen.frames());
}

#[test]
fn a_screen_that_is_too_small_says_so() {
    let mut state = told(E2);
    for size in [(59, 16), (60, 15), (1, 1), (0, 0)] {
        let text = shown(&mut state, size);
        assert!(!text.contains("conn/s"), "{text}");
    }
    assert!(shown(&mut state, (40, 10)).contains("needs 60 columns"));
}

#[test]
fn the_selection_stays_with_its_connection() {
    let all = lines(E2);
    let mut state = State::new(Source::Live);
    let (now, later) = all.split_at(all.len() / 2);
    now.iter().for_each(|line| state.told(tell(line)));
    press(&mut state, [Key::Down, Key::Down, Key::Down]);
    let selected = state.current().unwrap().conn;
    later.iter().for_each(|line| state.told(tell(line)));
    press(&mut state, [Key::Char('s')]);
    assert_eq!(state.current().unwrap().conn, selected);
    assert_eq!(state.sort, Sort::Wait);
}

#[test]
fn behind_goes_to_who_held_the_thread() {
    let mut state = told(E2);
    state.refresh();
    let waiting =
        state.rows().iter().copied().find(|&n| !state.connection(n).unwrap().queued_behind.is_empty());
    // strace shows no queue, so that in this capture nobody is known to have waited behind anybody.
    assert!(waiting.is_none());
    let mut all: Vec<Line> = lines(E2);
    let first = all.iter().find_map(connection).unwrap().conn;
    if let Some(Line::Connection(last)) = all.iter_mut().rfind(|line| connection(line).is_some()) {
        last.queued_behind = vec![first];
        last.queued_behind_count = 1;
    }
    let mut state = State::new(Source::Trace);
    all.into_iter().for_each(|line| state.told(tell(&line)));
    press(&mut state, [Key::Down, Key::Char('b')]);
    assert_eq!(state.current().unwrap().conn, first);
}

#[test]
fn who_held_the_thread_is_on_the_timeline() {
    let lines = lines(E2);
    let first = lines.iter().find_map(connection).unwrap();
    let at = |conn: u64, ms: u64| Connection {
        conn,
        accepted: first.clock().wall(first.accepted_ktime.plus(ms * 1_000_000)),
        accepted_ktime: first.accepted_ktime.plus(ms * 1_000_000),
        service_ns: 250_000_000,
        ..first.clone()
    };
    // It waits for half a second behind two others, and takes as long itself.
    let waits = Connection {
        queued_ns: Some(500_000_000),
        queued_behind: vec![1, 2],
        queued_behind_count: 2,
        total_ns: Some(1_000_000_000),
        wrapper_ns: 500_000_000,
        waited_ns: 1_000_000_000,
        ..at(3, 500)
    };
    let mut state = State::new(Source::Trace);
    [at(1, 0), at(2, 250), waits].into_iter().for_each(|c| state.told(tell(&Line::Connection(Box::new(c)))));
    state.refresh();
    let waits = state.rows().iter().copied().find(|&row| state.connection(row).unwrap().conn == 3);
    state.selected = waits;
    press(&mut state, [Key::Enter]);
    let text = shown(&mut state, (127, 60));
    let bar = |who: &str| text.lines().find_map(|row| row.split_once(who)).unwrap().1.trim_start().to_owned();
    assert_eq!(bar("#1 held the thread"), format!("│{}", "━".repeat(25)), "{text}");
    assert_eq!(bar("#2 held the thread"), format!("│{}{}", " ".repeat(25), "━".repeat(25)), "{text}");
    assert!(text.contains("queued behind: #1 #2 (2 in all; b and 2 go there)"), "{text}");
}

fn connection(line: &Line) -> Option<&Connection> {
    match line {
        Line::Connection(connection) => Some(connection),
        _ => None,
    }
}

#[test]
fn what_is_typed_filters_and_esc_takes_it_away() {
    let mut state = told(E2);
    state.refresh();
    let all = state.rows().len();
    let peer = state.current().unwrap().peer.unwrap().to_string();
    let typed =
        |text: &str| [Key::Char('/')].into_iter().chain(text.chars().map(Key::Char)).collect::<Vec<_>>();
    for (text, fitting) in [
        (format!("peer:{peer}"), 1),
        ("outcome:greeted".to_owned(), all),
        ("outcome:refused".to_owned(), 0),
        ("/in-addr.*arpa/".to_owned(), all),
        ("/(/".to_owned(), 0),
        (format!("greeted {peer}"), 1),
        ("pid:0".to_owned(), 0),
    ] {
        press(&mut state, typed(&text));
        assert_eq!(state.rows().len(), fitting, "{text}");
        assert!(shown(&mut state, (80, 24)).contains(&text[..text.len().min(20)]), "it is shown");
        press(&mut state, [Key::Enter, Key::Char('n')]);
        assert!(
            shown(&mut state, (80, 24)).contains(&format!("filter: {text}")),
            "also where there is no list"
        );
        press(&mut state, [Key::Esc, Key::Esc]);
        assert_eq!(state.rows().len(), all);
    }
}

#[test]
fn hostile_names_do_not_steer_the_terminal() {
    let mut all = lines(E2);
    for line in &mut all {
        if let Line::Connection(connection) = line {
            for lookup in &mut connection.lookups {
                lookup.name = Some("\x1b[2J\u{202e}\r\nx".to_owned());
                lookup.queries.iter_mut().for_each(|query| {
                    query.qname = Some("\x1b]0;owned\x07".to_owned());
                    query.server = "\x1b[31m9.9.9.9".into();
                });
            }
        }
    }
    let mut state = State::new(Source::Trace);
    state.servers.push("\x1b[2Jmysqld".to_owned());
    all.into_iter().for_each(|line| state.told(tell(&line)));
    for key in [None, Some(Key::Enter), Some(Key::Char('n')), Some(Key::Char('r'))] {
        press(&mut state, key);
        for look in [PLAIN, Look { unicode: false, ..COLOURED }] {
            let buffer = buffer(&mut state, look, (200, 60));
            let bad = buffer
                .content
                .iter()
                .find(|cell| cell.symbol().chars().any(|c| c.is_control() || c == '\u{202e}'));
            assert!(bad.is_none(), "{bad:?}");
        }
        // The library leaves out what steers, so that alone would not be noticed: it is written out.
        let text = shown(&mut state, (200, 60));
        assert!(text.contains("\\x1b[2Jmysqld"), "{text}");
        assert!(key != Some(Key::Enter) || text.contains("\\x1b]0;owned"), "{text}");
    }
}

#[test]
fn without_colour_there_is_none() {
    let mut state = told(C_TIMEOUT);
    press(&mut state, [Key::Left]);
    let plain = buffer(&mut state, PLAIN, (120, 40));
    assert!(plain.content.iter().all(|cell| cell.fg == ratatui::style::Color::Reset));
    let coloured = buffer(&mut state, COLOURED, (120, 40));
    let red = |cell: &ratatui::buffer::Cell| cell.fg == ratatui::style::Color::Indexed(167);
    assert!(coloured.content.iter().any(red));
}

/// Everything that can stand in the middle.
const PANELS: [&str; 10] = ["", "\n", "f", "w", "n", "r", "v", "t", "m", "h"];

fn typed(text: &str) -> impl Iterator<Item = Key> {
    text.chars().map(|c| if c == '\n' { Key::Enter } else { Key::Char(c) })
}

#[test]
fn the_selected_row_can_be_read_and_its_bar_stays() {
    let mut state = told(C_TIMEOUT);
    let bar = |buffer: &Buffer| {
        let bar = buffer
            .content
            .iter()
            .filter(|cell| cell.symbol() == "█" && cell.fg != ratatui::style::Color::Reset);
        bar.map(|cell| (cell.fg, cell.modifier)).collect::<Vec<_>>()
    };
    let before = bar(&buffer(&mut state, COLOURED, (80, 24)));
    press(&mut state, [Key::Down]);
    let selected = buffer(&mut state, COLOURED, (80, 24));
    assert_eq!(bar(&selected), before);
    let reversed = |cell: &&ratatui::buffer::Cell| cell.modifier.contains(ratatui::style::Modifier::REVERSED);
    let reversed: Vec<_> = selected.content.iter().filter(reversed).collect();
    assert!(reversed.len() > 40, "{}", reversed.len());
    for cell in reversed {
        assert!(
            cell.fg == ratatui::style::Color::Reset && !cell.modifier.contains(ratatui::style::Modifier::DIM)
        );
    }
}

#[test]
fn words_and_marks_say_what_colours_say() {
    for panel in PANELS {
        let mut state = told(C_TIMEOUT);
        press(&mut state, [Key::Left].into_iter().chain(typed(panel)));
        let symbols =
            |buffer: Buffer| -> String { buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect() };
        let plain = symbols(buffer(&mut state, PLAIN, (120, 40)));
        assert_eq!(symbols(buffer(&mut state, COLOURED, (120, 40))), plain, "{panel:?}");
        assert!(panel == "h" || plain.contains("STALL accept thread blocked"), "{plain}");
    }
}

/// A colour of the 6×6×6 cube in linear red, green and blue.
fn linear(index: u8) -> [f64; 3] {
    let index = usize::from(index.checked_sub(16).expect("of the cube: the first 16 are anybody's"));
    let part = |level: usize| {
        let value = f64::from([0_u8, 95, 135, 175, 215, 255][level % 6]) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    [part(index / 36), part(index / 6), part(index)]
}

/// Who sees how: what becomes of red, green and blue for somebody who sees no red, no green, no blue (Machado, Oliveira and Fernandes 2009, severity 1), and the least
/// contrast that is asked for.
const EYES: [(&str, [[f64; 3]; 3], f64); 4] = [
    ("usual", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 3.6),
    (
        "protanopia",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
        3.2,
    ),
    (
        "deuteranopia",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        3.2,
    ),
    (
        "tritanopia",
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
        3.2,
    ),
];

/// The relative luminance of WCAG 2.1.
fn luminance(colour: [f64; 3], eyes: [[f64; 3]; 3]) -> f64 {
    let sum = |weights: [f64; 3], of: [f64; 3]| -> f64 {
        weights.iter().zip(of).map(|(weight, part)| weight * part).sum()
    };
    let seen = eyes.map(|weights| f64::clamp(sum(weights, colour), 0.0, 1.0));
    sum([0.2126, 0.7152, 0.0722], seen)
}

#[test]
fn colours_can_be_read_on_black_and_on_white() {
    let mut seen = std::collections::BTreeSet::new();
    for log in [E2, C_TIMEOUT] {
        for panel in PANELS {
            let mut state = told(log);
            press(&mut state, [Key::Left].into_iter().chain(typed(panel)));
            for cell in buffer(&mut state, COLOURED, (200, 60)).content {
                assert_eq!(cell.bg, ratatui::style::Color::Reset, "the background is the terminal's");
                match cell.fg {
                    ratatui::style::Color::Reset => {}
                    ratatui::style::Color::Indexed(index) => drop(seen.insert(index)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(seen.len() >= 4, "{seen:?}");
    for (index, (who, eyes, least)) in seen.into_iter().flat_map(|index| EYES.map(|eyes| (index, eyes))) {
        let luminance = luminance(linear(index), eyes);
        let (black, white) = ((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05));
        assert!(black >= least && white >= least, "{index}, {who}: {black:.1} on black, {white:.1} on white");
    }
}

#[test]
fn times_of_day_are_local_where_that_is_asked_for() {
    static CET: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
    let look = Look { zone: Some(&CET), ..PLAIN };
    let text = |state: &mut State| {
        let buffer = buffer(state, look, (120, 40));
        buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    let mut state = told(C_TIMEOUT);
    press(&mut state, [Key::Left]);
    let utc = text(&mut state);
    assert!(utc.contains("HELD 05:43:49 UTC") && utc.contains("05:43:49.000 STALL"), "{utc}");
    press(&mut state, [Key::Char('z')]);
    let local = text(&mut state);
    assert!(local.contains("HELD 06:43:49 CET") && local.contains("06:43:49.000 STALL"), "{local}");
    assert!(local.contains("06:43:46.194 #2") && !local.contains("05:43"), "rows and the scrubber: {local}");
    press(&mut state, [Key::Char('z')]);
    assert_eq!(text(&mut state), utc);
}

#[test]
fn the_manual_has_the_keys() {
    let manual = super::manual();
    for key in KEYS {
        assert!(manual.contains(&format!("\\&{}\\fR\n\\&{}\n", key.label, key.help)), "{}", key.label);
    }
}

#[test]
fn memory_is_bounded_and_what_is_gone_is_not_selected() {
    let mut state = State::with(Source::Live, room(10));
    let all = lines(E2);
    all.iter().for_each(|line| state.told(tell(line)));
    press(&mut state, [Key::Down]);
    for line in &all {
        state.told(tell(line));
    }
    state.refresh();
    assert!(state.rows().len() <= 10 && state.selected.is_none());
    assert_eq!(state.view.summary().connections, 40, "the sums go on");

    let gone = all.len() - 10;
    let sum = all.iter().take(gone + 1).filter_map(connection).count();
    let mut state = State::with(Source::Live, room(10));
    all.into_iter().for_each(|line| state.told(tell(&line)));
    press(&mut state, [Key::Home]);
    let text = shown(&mut state, (80, 24));
    assert!(text.contains(&format!("{gone} older lines no longer kept")), "{text}");
    assert!(text.contains(&format!("\n{sum} connections.")), "what is gone is in the sums: {text}");
}

#[test]
fn memory_is_bounded_in_bytes_whatever_lines_hold() {
    let mut state = State::with(Source::Live, Room { bytes: 1 << 20, ..Room::MOST });
    let mut large = LINES.iter().find_map(connection).unwrap().clone();
    large.lookups[0].queries[0].answers = vec!["a".repeat(100_000)];
    for conn in 0..30 {
        state.told(tell(&Line::Connection(Box::new(Connection { conn, ..large.clone() }))));
    }
    state.refresh();
    assert!((8..=10).contains(&state.rows().len()), "{}", state.rows().len());
    assert_eq!(state.view.summary().connections, 30);
    // One that alone has no room is in the sums as well.
    large.lookups[0].name = Some("b".repeat(2 << 20));
    state.told(tell(&Line::Connection(Box::new(large))));
    state.refresh();
    assert!(state.rows().len() <= 1);
    assert_eq!(state.view.summary().connections, 31);
}

/// Tells on as who reads the trace does, until nobody wants more.
fn read_on(state: &mut State, all: &[Told], next: &mut usize) {
    loop {
        if state.wants_again() {
            state.begin_again();
            *next = 0;
        }
        let Some(told) = all.get(*next).filter(|_| !state.has_enough()) else { return };
        state.told(told.clone());
        *next += 1;
    }
}

#[test]
fn what_of_a_trace_is_no_longer_kept_is_shown_as_if_it_were() {
    let all = told_of(E2);
    let (mut whole, mut small, mut next) =
        (State::new(Source::Trace), State::with(Source::Trace, room(16)), 0);
    for state in [&mut whole, &mut small] {
        state.servers.push("mysqld (812)".to_owned());
    }
    all.iter().for_each(|told| whole.told(told.clone()));
    read_on(&mut small, &all, &mut next);
    let char = Key::Char;
    let mut again = 0;
    for key in [
        Key::Home,
        char('.'),
        char('.'),
        Key::Left,
        char('.'),
        Key::Right,
        char(']'),
        char(','),
        Key::Left,
        Key::End,
        Key::Left,
        Key::Home,
        Key::Right,
        Key::End,
    ] {
        press(&mut whole, [key]);
        press(&mut small, [key]);
        again += u32::from(small.wants_again());
        read_on(&mut small, &all, &mut next);
        // As many as there is room for on this screen are kept.
        assert_eq!(shown(&mut small, (60, 16)), shown(&mut whole, (60, 16)), "{key:?}");
    }
    assert!(again >= 2, "what is gone was looked at {again} times");
}

#[test]
fn a_trace_is_read_on_only_as_far_as_somebody_looks() {
    let all = told_of(E2);
    let (mut state, mut next) = (State::with(Source::Trace, room(16)), 0);
    read_on(&mut state, &all, &mut next);
    assert_eq!(next, all.len());
    press(&mut state, [Key::Home]);
    read_on(&mut state, &all, &mut next);
    assert!(next < all.len() && !state.is_reading(), "{next}");
    let text = shown(&mut state, (80, 24));
    assert!(text.contains("HELD") && !text.contains("no longer kept"), "{text}");
    // It was rotated: what is told again begins later, and nothing of what was held is there.
    state.file(0);
    press(&mut state, [Key::End]);
    read_on(&mut state, &all, &mut next);
    press(&mut state, [Key::Home]);
    assert!(state.wants_again());
    state.begin_again();
    state.file(1);
    assert!(!state.held() && !state.wants_again());
}

#[test]
fn each_key_stands_in_the_table_once() {
    for (i, binding) in KEYS.iter().enumerate() {
        assert!(KEYS.iter().skip(i + 1).all(|other| other.key != binding.key), "{}", binding.label);
    }
}

#[test]
fn the_documentation_has_the_keys() {
    let docs = include_str!("../../../docs/live-view.md");
    let rows: String = KEYS.iter().map(|key| format!("| `{}` | {} |\n", key.label, key.help)).collect();
    assert!(docs.contains(&rows), "docs/live-view.md needs:\n{rows}");
}

fn any_key() -> impl Strategy<Value = Key> {
    let of_table = (0..KEYS.len()).prop_map(|i| KEYS[i].key);
    prop_oneof![4 => of_table, 1 => "[ -~]".prop_map(|text| Key::Char(text.chars().next().unwrap())), 1 => Just(Key::Backspace)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is pressed while lines come: no panic, the rows are those that a plain reference has, the selected one is among what was told.
    #[test]
    fn any_keys_in_any_order(
        steps in proptest::collection::vec((any_key(), 0_usize..3), 1..60),
        size in 0_usize..4,
    ) {
        let mut state = State::with(Source::Live, room(30));
        let mut coming = LINES.iter().cloned().cycle();
        for (key, count) in steps {
            coming.by_ref().take(count).for_each(|line| state.told(tell(&line)));
            state.refresh();
            let before = state.selected;
            let effect = state.key(key);
            let quits = matches!(effect, Effect::Quit { .. });
            prop_assert!(!quits || matches!(key, Key::Char('q' | 'Q') | Key::CtrlC));
            buffer(&mut state, PLAIN, SIZES[size]);
            check(&state)?;
            if let Some(selected) = before.filter(|&number| !moves(key) && number < state.end()) {
                let stays = state.connection(selected).map(|_| selected);
                prop_assert_eq!(state.selected, stays, "{:?}", key);
            }
        }
    }
}

/// Whether another connection may be selected by it.
fn moves(key: Key) -> bool {
    matches!(action(key), Some(Action::Move(_) | Action::Page(_) | Action::Behind(_) | Action::Live))
}

fn check(state: &State) -> Result<(), TestCaseError> {
    let rows = state.rows();
    prop_assert!(rows.iter().all(|&row| state.connection(row).is_some()));
    // Otherwise what goes on is sorted once a second.
    if state.held() || state.sort == Sort::Time {
        prop_assert_eq!(rows, plain_rows(state));
    }
    if let Some(selected) = state.selected {
        prop_assert!(state.connection(selected).is_some());
    }
    Ok(())
}

/// The rows as they have to be: looked through and sorted from the beginning.
fn plain_rows(state: &State) -> Vec<u64> {
    let filter = Filter::parse(&state.filter_text);
    let of = |number: u64| state.connection(number).unwrap();
    let shown = (0..state.end()).filter(|&number| state.connection(number).is_some_and(|c| filter.fits(c)));
    let mut rows: Vec<u64> = shown.collect();
    rows.reverse();
    rows.sort_by(|&a, &b| {
        let (a, b) = (of(a), of(b));
        match state.sort {
            Sort::Time => std::cmp::Ordering::Equal,
            Sort::Wait => took_ns(b).cmp(&took_ns(a)),
            Sort::Queue => b.queued_ns.cmp(&a.queued_ns),
            Sort::Check => b.wrapper_ns.cmp(&a.wrapper_ns),
            Sort::Client => {
                let address = |c: &Connection| c.peer.and_then(crate::model::Client::addr);
                address(a).cmp(&address(b))
            }
            Sort::Outcome => outcome_word(a).cmp(&outcome_word(b)),
            Sort::Nameserver => nameserver(a).cmp(&nameserver(b)),
        }
    });
    rows
}
