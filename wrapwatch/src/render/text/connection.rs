//! One connection in one line.
//!
//! ```text
//! 05:43:09.123 #12    10.77.0.1:36061       greeted  2.01 s ░███████ dns 2.00 s
//! ```

use anstyle::Style;

use crate::diagnose::took_ns;
use crate::model::{Connection, Nanos, Outcome, Stage};

use super::{DIM, GREEN, MAGENTA, RED, Text, YELLOW, client, fit};

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
        let mut text = self.headline(connection);
        text.push('\n');
        self.details(connection, &mut text);
        text
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
        let number = format!("{:CONN$}", format!("#{}", connection.conn));
        let phases = phases(connection);
        let (outcome, style) = outcome(connection);
        let total = connection.total_ns.map_or_else(|| "-".to_owned(), |ns| Nanos(ns).to_string());
        // What a narrow terminal has no room for goes from the right.
        let shows_bar = self.width() >= USUAL - PHASES;
        let bar = if shows_bar { self.bar(&phases, BAR) } else { String::new() };
        let fixed = TIME + fit::width(&number) + OUTCOME + TOTAL + if shows_bar { BAR + 5 } else { 4 };
        let room = self.width().saturating_sub(fixed);
        let peer_columns = (PEER + self.width().saturating_sub(USUAL) / 2).min(PEER_MOST).min(room);
        let peer = self.outside(&client(connection.peer), peer_columns);
        let said = if shows_bar {
            self.longest(&phases, room.saturating_sub(peer_columns + 1))
        } else {
            bar.clone()
        };
        format!(
            "{} {number} {} {} {} {bar} {said}",
            self.paint(DIM, &self.time(connection.established.unwrap_or(connection.accepted))),
            fit::left(&peer, peer_columns, self.mark()),
            self.paint(style, &fit::left(&outcome, OUTCOME, "")),
            fit::right(&self.own(&total), TOTAL, ""),
        )
        .trim_end()
        .to_owned()
    }

    /// The phases that took longest, as many as fit.
    fn longest(&self, phases: &[Phase; PHASES_OF_BAR], columns: usize) -> String {
        let total: u128 = phases.iter().map(|phase| u128::from(phase.ns)).sum();
        let mut order: Vec<&Phase> = phases
            .iter()
            .filter(|phase| phase.ns > 0 && u128::from(phase.ns) * 100 >= total * WORTH_PERCENT)
            .collect();
        order.sort_by_key(|phase| std::cmp::Reverse(phase.ns));
        let mut text = String::new();
        for phase in order {
            let comma = if text.is_empty() { "" } else { ", " };
            // The mark alone, where the word has no room.
            let name = if phase.name == "unknown" { "?" } else { phase.name };
            let said = self.own(&format!("{comma}{name} {}", Nanos(phase.ns)));
            if fit::width(&text) + fit::width(&said) > columns {
                break;
            }
            text += &said;
        }
        text
    }

    /// The connection's wait in so many cells, in proportion.
    pub fn timeline(&self, connection: &Connection, cells: usize) -> String {
        self.bar(&phases(connection), cells)
    }

    /// Phases in proportion.
    fn bar(&self, phases: &[Phase; PHASES_OF_BAR], columns: usize) -> String {
        let total: u128 = phases.iter().map(|phase| u128::from(phase.ns)).sum();
        if total == 0 {
            return " ".repeat(columns);
        }
        let mut bar = String::new();
        let mut sum = 0_u128;
        let mut drawn = 0;
        for phase in phases {
            sum += u128::from(phase.ns);
            let end = (sum * columns as u128 + total / 2) / total;
            let end = usize::try_from(end).unwrap_or(columns).min(columns);
            let glyph = if self.unicode { phase.glyph } else { phase.ascii };
            let cells: String = std::iter::repeat_n(glyph, end - drawn).collect();
            bar.push_str(&self.paint(phase.style, &cells));
            drawn = end;
        }
        bar
    }
}

/// The outcome as it is shown.
pub fn outcome_word(connection: &Connection) -> String {
    outcome(connection).0
}

fn outcome(connection: &Connection) -> (String, Style) {
    match (connection.outcome, connection.error_code) {
        (Outcome::Greeted, _) => ("greeted".to_owned(), GREEN),
        (Outcome::ServerError, Some(code)) => (format!("err {code}"), RED),
        (Outcome::ServerError, None) => ("error".to_owned(), RED),
        (Outcome::Refused, _) => ("refused".to_owned(), RED),
        (Outcome::Unfinished, _) => ("no end".to_owned(), YELLOW),
        (Outcome::HandedOver, _) => ("handed over".to_owned(), YELLOW),
        (Outcome::Dropped, _) => ("dropped".to_owned(), YELLOW),
        (Outcome::Admitted, _) => ("admitted".to_owned(), GREEN),
        (Outcome::LookedUp, _) => ("lookup".to_owned(), GREEN),
        (Outcome::LoggedIn, _) => ("login".to_owned(), GREEN),
        (Outcome::Encrypted, _) => ("tls".to_owned(), GREEN),
        (Outcome::Aborted, _) => ("aborted".to_owned(), YELLOW),
    }
}
