//! One connection in one line.
//!
//! ```text
//! 05:43:09.123 #12    10.77.0.1:36061       greeted  2.01 s ░███████ dns 2.00 s
//! ```

use anstyle::Style;

use crate::diagnose::took_ns;
use crate::model::{Connection, Nanos, Outcome, Stage};

use super::{DIM, GREEN, MAGENTA, RED, Text, YELLOW, fit};

/// Columns: time, number, client at 80 columns and at most, outcome, total, bar, and what of the phases at least.
const TIME: usize = 12;
const CONN: usize = 6;
const PEER: usize = 21;
const PEER_MOST: usize = 47;
const OUTCOME: usize = 8;
const TOTAL: usize = 7;
const BAR: usize = 6;
const PHASES: usize = 14;
/// All of these at the usual width, and the blanks between them.
const USUAL: usize = TIME + CONN + PEER + OUTCOME + TOTAL + BAR + PHASES + 6;
/// A phase below this share, in percent, is not worth its columns.
const WORTH_PERCENT: u128 = 5;

/// A phase of a connection as the bar shows it.
struct Phase {
    name: &'static str,
    ns: u64,
    glyph: char,
    ascii: char,
    style: Style,
}

/// Phases of a bar.
const PHASES_OF_BAR: usize = 6;

const PHASE_LOOKS: [(&str, char, char, Style); PHASES_OF_BAR] = [
    ("queue", '░', 'q', YELLOW),
    ("dns", '█', 'D', RED),
    ("check", '▓', 'w', MAGENTA),
    ("own dns", '▒', 'd', RED),
    ("unknown", '?', '?', YELLOW),
    ("server", '·', '.', DIM),
];

fn phases(connection: &Connection) -> [Phase; PHASES_OF_BAR] {
    let queued = connection.queued_ns.unwrap_or(0);
    let told = queued.saturating_add(connection.wrapper_ns);
    let known = |ns: u64, stage| ns.saturating_sub(connection.unknown_in(stage));
    let dns = connection.parts.dns_ns.min(known(connection.wrapper_ns, Stage::Check));
    let check = known(connection.wrapper_ns, Stage::Check) - dns;
    let after = known(took_ns(connection).saturating_sub(told), Stage::Thread);
    let own = connection.resolve_ns.min(after);
    let ns = [known(queued, Stage::Queue), dns, check, own, connection.unknown_ns, after - own];
    std::array::from_fn(|i| {
        let (name, glyph, ascii, style) = PHASE_LOOKS[i];
        Phase { name, ns: ns[i], glyph, ascii, style }
    })
}

impl Text {
    /// The connection's line; under it, where it was slow or not seen whole, why.
    pub fn connection(&self, connection: &Connection) -> String {
        let mut text = String::new();
        self.put_connection(connection, &mut text);
        text
    }

    /// The same behind what is there.
    pub(super) fn put_connection(&self, connection: &Connection, text: &mut String) {
        self.put_headline(connection, text);
        text.push('\n');
        self.details(connection, text);
    }

    /// What the bar's glyphs mean, one line: time in the accept queue, waiting for nameservers in the check, in the rest of the check, waiting for
    /// nameservers in the server's own lookups, in what nobody knows, and in the server until its first packet.
    pub fn legend(&self) -> String {
        let glyph = |ascii, unicode| if self.unicode { unicode } else { ascii };
        let part = |&(name, unicode, ascii, style): &(&str, char, char, Style)| {
            format!("{} {name}", self.paint(style, &glyph(ascii, unicode).to_string()))
        };
        format!("bar: {}\n", PHASE_LOOKS.iter().map(part).collect::<Vec<_>>().join("  "))
    }

    /// The connection's line alone.
    pub fn headline(&self, connection: &Connection) -> String {
        let mut text = String::new();
        self.put_headline(connection, &mut text);
        text
    }

    /// There is one for each connection, so it is written where it belongs, part by part.
    fn put_headline(&self, connection: &Connection, text: &mut String) {
        let phases = phases(connection);
        self.painted(text, DIM, |text| {
            self.put_time(connection.established.unwrap_or(connection.accepted), text);
        });
        text.push(' ');
        let number = text.len();
        text.push('#');
        text.push_str(itoa::Buffer::new().format(connection.conn));
        fit::fill(text, number, CONN);
        // What a narrow terminal has no room for goes from the right.
        let shows_bar = self.width() >= USUAL - PHASES;
        let fixed = TIME + text.len() - number + OUTCOME + TOTAL + if shows_bar { BAR + 5 } else { 4 };
        let room = self.width().saturating_sub(fixed);
        let peer_columns = (PEER + self.width().saturating_sub(USUAL) / 2).min(PEER_MOST).min(room);
        text.push(' ');
        let peer = text.len();
        match connection.peer {
            Some(client) => client.append_to(text),
            None => text.push('?'),
        }
        fit::cut(text, peer, peer_columns, self.mark());
        fit::fill(text, peer, peer_columns);
        text.push(' ');
        self.put_outcome(connection, text);
        text.push(' ');
        self.put_total(connection.total_ns, text);
        text.push(' ');
        if shows_bar {
            self.put_bar(&phases, BAR, text);
            text.push(' ');
            self.put_longest(phases, room.saturating_sub(peer_columns + 1), text);
        }
        text.truncate(text.trim_end().len());
    }

    fn put_outcome(&self, connection: &Connection, text: &mut String) {
        let (word, code, style) = outcome(connection);
        self.painted(text, style, |text| {
            let from = text.len();
            put_word(word, code, text);
            fit::cut(text, from, OUTCOME, "");
            fit::fill(text, from, OUTCOME);
        });
    }

    fn put_total(&self, total_ns: Option<u64>, text: &mut String) {
        let from = text.len();
        match total_ns {
            Some(ns) => Nanos(ns).append_to(text),
            None => text.push('-'),
        }
        self.make_own(text, from);
        fit::cut(text, from, TOTAL, "");
        fit::shift(text, from, TOTAL);
    }

    /// The phases that took longest, as many as fit.
    fn put_longest(&self, mut phases: [Phase; PHASES_OF_BAR], columns: usize, text: &mut String) {
        let total: u128 = phases.iter().map(|phase| u128::from(phase.ns)).sum();
        let is_worth = |phase: &&Phase| phase.ns > 0 && u128::from(phase.ns) * 100 >= total * WORTH_PERCENT;
        phases.sort_by_key(|phase| std::cmp::Reverse(phase.ns));
        let from = text.len();
        for phase in phases.iter().take_while(is_worth) {
            let before = text.len();
            text.push_str(if before > from { ", " } else { "" });
            // The mark alone, where the word has no room.
            text.push_str(if phase.name == "unknown" { "?" } else { phase.name });
            text.push(' ');
            Nanos(phase.ns).append_to(text);
            self.make_own(text, before);
            if fit::width(&text[from..]) > columns {
                text.truncate(before);
                break;
            }
        }
    }

    /// The connection's wait in so many cells, in proportion.
    pub fn timeline(&self, connection: &Connection, cells: usize) -> String {
        let mut bar = String::new();
        self.put_bar(&phases(connection), cells, &mut bar);
        bar
    }

    /// Phases in proportion.
    fn put_bar(&self, phases: &[Phase; PHASES_OF_BAR], columns: usize, text: &mut String) {
        let total: u128 = phases.iter().map(|phase| u128::from(phase.ns)).sum();
        if total == 0 {
            return text.extend(std::iter::repeat_n(' ', columns));
        }
        let mut sum = 0_u128;
        let mut drawn = 0;
        for phase in phases.iter().filter(|phase| phase.ns > 0) {
            sum += u128::from(phase.ns);
            let end = (sum * columns as u128 + total / 2) / total;
            let end = usize::try_from(end).unwrap_or(columns).min(columns);
            if end == drawn {
                continue;
            }
            let glyph = if self.unicode { phase.glyph } else { phase.ascii };
            self.painted(text, phase.style, |text| (drawn..end).for_each(|_| text.push(glyph)));
            drawn = end;
        }
    }
}

/// The outcome as it is shown.
pub fn outcome_word(connection: &Connection) -> String {
    let (word, code, _) = outcome(connection);
    let mut text = String::new();
    put_word(word, code, &mut text);
    text
}

fn put_word(word: &str, code: Option<u16>, text: &mut String) {
    text.push_str(word);
    if let Some(code) = code {
        put!(text, " {code}");
    }
}

/// A word, the error's number behind it, and how it looks.
const fn outcome(connection: &Connection) -> (&'static str, Option<u16>, Style) {
    match (connection.outcome, connection.error_code) {
        (Outcome::Greeted, _) => ("greeted", None, GREEN),
        (Outcome::ServerError, Some(code)) => ("err", Some(code), RED),
        (Outcome::ServerError, None) => ("error", None, RED),
        (Outcome::Refused, _) => ("refused", None, RED),
        (Outcome::Unfinished, _) => ("no end", None, YELLOW),
        (Outcome::HandedOver, _) => ("handed over", None, YELLOW),
        (Outcome::Dropped, _) => ("dropped", None, YELLOW),
        (Outcome::Admitted, _) => ("admitted", None, GREEN),
        (Outcome::LookedUp, _) => ("lookup", None, GREEN),
        (Outcome::LoggedIn, _) => ("login", None, GREEN),
        (Outcome::Encrypted, _) => ("tls", None, GREEN),
        (Outcome::Aborted, _) => ("aborted", None, YELLOW),
    }
}
