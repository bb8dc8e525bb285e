//! All that the screen shows: lines and keys in, effects out. No I/O, no clock.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use crate::diagnose::took_ns;
use crate::model::{Client, Connection, Line};
use crate::render::text::{Text, outcome_word};

use super::beginnings::Beginnings;
use super::filter::Filter;
use super::judged::Judged;
use super::keys::{Action, Key, Way, action};
use super::log::{Log, Room, Told};
use super::view::View;

/// How far what is held back reads ahead: a step of time is there at once.
const AHEAD: SignedDuration = SignedDuration::from_secs(5);

/// Those that one waited behind were told shortly before it, or not at all: so many entries are looked through for them.
const BEFORE: usize = 20_000;

/// What stands in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Connections,
    Detail,
    Findings,
    WhatIf,
    Nameservers,
    Rules,
    Servers,
    Threads,
    Notes,
}

/// By what connections are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Time,
    Wait,
    Queue,
    Check,
    Client,
    Outcome,
    Nameserver,
}

impl Sort {
    pub(super) const ALL: [Self; 7] =
        [Self::Time, Self::Wait, Self::Queue, Self::Check, Self::Client, Self::Outcome, Self::Nameserver];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Time => "newest first",
            Self::Wait => "longest wait first",
            Self::Queue => "longest queued first",
            Self::Check => "longest check first",
            Self::Client => "by client",
            Self::Outcome => "by outcome",
            Self::Nameserver => "by nameserver",
        }
    }
}

/// Where the lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Live,
    Trace,
}

/// What a key asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Quit { keep: bool },
    Suspend,
    Copy(String),
}

/// The state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) source: Source,
    log: Log,
    /// What is no longer in the log.
    gone: View,
    pub(super) view: View,
    /// What a panel shows that somebody looks at.
    pub(super) judged: Option<Judged>,
    stalls: Beginnings,
    /// The first moment that is known, and the last.
    from: Option<Timestamp>,
    now: Timestamp,
    /// What is told now is of this moment: before the last one while a trace is told again.
    told_to: Timestamp,
    /// A trace is told again, to the moment that is shown.
    again: bool,
    /// Which of the recording's files is told first.
    file: Option<u64>,
    /// The screen shows this moment; none: the newest.
    held: Option<Timestamp>,
    /// Numbers of the connections that fit, in the order of the log.
    fitting: Vec<u64>,
    /// Up to here the log was looked through.
    looked: u64,
    /// `fitting` as it is sorted, the first row first.
    rows: Vec<u64>,
    sorted_at: Option<(Timestamp, u64)>,
    pub(super) selected: Option<u64>,
    pub(super) sort: Sort,
    filter: Filter,
    pub(super) filter_text: String,
    pub(super) typing: bool,
    pub(super) panel: Panel,
    /// The panel's first row on the screen, where it is no list of connections.
    pub(super) scrolled: usize,
    /// The help is on the screen, from this row on.
    pub(super) help: Option<usize>,
    /// Rows of a page, as last drawn.
    pub(super) page: usize,
    /// Servers that are traced.
    pub(super) servers: Vec<String>,
    /// All there is of a trace that may grow has been told.
    pub(super) follows: bool,
    /// Times of day are local.
    pub(super) local: bool,
    /// Why nothing more comes.
    pub(super) ended: Option<String>,
}

impl State {
    pub(super) fn new(source: Source) -> Self {
        Self::with(source, Room::MOST)
    }

    /// With room for so much.
    pub(super) fn with(source: Source, most: Room) -> Self {
        Self {
            source,
            log: Log::new(most),
            gone: View::default(),
            view: View::default(),
            judged: None,
            stalls: Beginnings::default(),
            from: None,
            now: Timestamp::UNIX_EPOCH,
            told_to: Timestamp::UNIX_EPOCH,
            again: false,
            file: None,
            held: None,
            fitting: Vec::new(),
            looked: 0,
            rows: Vec::new(),
            sorted_at: None,
            selected: None,
            sort: Sort::Time,
            filter: Filter::default(),
            filter_text: String::new(),
            typing: false,
            panel: Panel::Connections,
            scrolled: 0,
            help: None,
            page: 1,
            servers: Vec::new(),
            follows: false,
            local: false,
            ended: None,
        }
    }

    /// Something was told.
    pub(super) fn told(&mut self, told: Told) {
        let gone = &mut self.gone;
        let at = self.log.push(told, self.told_to, |entry| gone.take(entry.at, &entry.told));
        if let Some(Line::Stall(stall)) = self.log.end().checked_sub(1).and_then(|last| self.line(last)) {
            let stall = stall.clone();
            self.stalls.take(&stall, at);
        }
        // What is told before a trace has begun has no time.
        self.from = self.from.or(Some(at).filter(|at| *at > Timestamp::UNIX_EPOCH));
        self.passed(at);
    }

    /// This file of a recording is told. Where it is not the one that was told first, that one is gone, and with it what was held.
    pub(super) fn file(&mut self, number: u64) {
        let first = *self.file.get_or_insert(number);
        if self.again && self.log.end() == 0 && number != first {
            (self.again, self.held) = (false, None);
        }
    }

    /// A trace has what this does not keep and would show.
    pub(super) fn wants_again(&self) -> bool {
        let is_gone = |at| self.log.oldest().is_some_and(|oldest| at < oldest);
        self.source == Source::Trace && self.log.first() > 0 && self.held.is_some_and(is_gone)
    }

    /// A trace is told again from its beginning.
    pub(super) fn begin_again(&mut self) {
        self.log = Log::new(self.log.most());
        (self.gone, self.view, self.judged) = (View::default(), View::default(), None);
        self.stalls.again();
        self.told_to = Timestamp::UNIX_EPOCH;
        self.again = true;
        self.ended = None;
        self.selected = None;
        self.look_again();
    }

    /// What is told again has come to where somebody looks; the rest can wait.
    pub(super) fn has_enough(&self) -> bool {
        self.again
            && self.held.is_some_and(|at| {
                self.told_to.duration_since(at) > AHEAD || self.log.is_taken_by_what_follows(at)
            })
    }

    /// What is shown was not told yet.
    pub(super) fn is_reading(&self) -> bool {
        self.again && self.ended.is_none() && self.told_to < self.at()
    }

    /// This server is traced.
    pub(super) fn traced(&mut self, name: String) {
        if !self.servers.contains(&name) {
            self.servers.push(name);
        }
    }

    /// It is at least so late.
    pub(super) fn passed(&mut self, now: Timestamp) {
        self.told_to = self.told_to.max(now);
        self.now = self.now.max(now);
    }

    /// Shows this moment.
    #[cfg(test)]
    pub(super) const fn hold_at(&mut self, at: Timestamp) {
        self.held = Some(at);
    }

    /// The moment that the screen shows.
    pub(super) fn at(&self) -> Timestamp {
        self.held.unwrap_or(self.now)
    }

    pub(super) const fn held(&self) -> bool {
        self.held.is_some()
    }

    /// From the beginning to the newest, and where in it the screen is, from 0 to 1.
    pub(super) fn place(&self) -> Option<(Timestamp, Timestamp, f64)> {
        let from = self.first_moment()?;
        let (all, passed) = (self.now.duration_since(from), self.at().duration_since(from));
        let share = if all.is_zero() { 1.0 } else { passed.as_secs_f64() / all.as_secs_f64() };
        Some((from, self.now, share.clamp(0.0, 1.0)))
    }

    /// The first moment that can be shown: of a trace all of it.
    fn first_moment(&self) -> Option<Timestamp> {
        if self.source == Source::Trace { self.from } else { self.log.oldest() }
    }

    /// Lines that are nowhere any more, of somebody who has gone back.
    pub(super) fn not_kept(&self) -> u64 {
        if self.held() && self.source == Source::Live { self.log.first() } else { 0 }
    }

    /// The end of what is shown.
    pub(super) fn end(&self) -> u64 {
        self.held.map_or(self.log.end(), |at| self.log.by(at))
    }

    /// Brings rows and sums to the moment that is shown; before each drawing.
    pub(super) fn refresh(&mut self) {
        if self.source == Source::Live {
            // Before this there is nothing any more.
            self.held = self.held.map(|at| at.max(self.log.oldest().unwrap_or(at)));
        }
        let end = self.end();
        self.view.go_to(&self.log, &self.gone, end);
        if matches!(self.panel, Panel::Findings | Panel::WhatIf) {
            Judged::go_to(
                &mut self.judged,
                (&self.log, &self.gone.known),
                end,
                self.held.unwrap_or(self.now),
                self.held.is_some(),
            );
        } else {
            self.judged = None;
        }
        if end < self.looked {
            self.look_again();
        }
        let first = self.log.first();
        let gone = self.fitting.partition_point(|&number| number < first);
        self.fitting.drain(..gone);
        if gone > 0 {
            self.rows.retain(|&number| number >= first);
        }
        let before = self.fitting.len();
        for number in self.looked.max(first)..end {
            if self.connection(number).is_some_and(|connection| self.filter.fits(connection)) {
                self.fitting.push(number);
            }
        }
        self.looked = end;
        let changed = gone > 0 || self.fitting.len() > before;
        self.order(changed, end);
        if self.selected.is_some_and(|number| number < first || number >= end) {
            self.selected = None;
        }
    }

    /// By time at once; otherwise what goes on is sorted once a second.
    fn order(&mut self, changed: bool, end: u64) {
        let at = self.at();
        let fresh = self.sorted_at.is_some_and(|(sorted, upto)| {
            upto == end && !changed
                || self.sort != Sort::Time && self.held.is_none() && sorted.as_second() == at.as_second()
        });
        if fresh {
            return;
        }
        let mut rows: Vec<u64> = self.fitting.iter().rev().copied().collect();
        let of = |number: u64| self.connection(number);
        match self.sort {
            Sort::Time => {}
            Sort::Wait => rows.sort_by_cached_key(|&n| Reverse(of(n).map(took_ns))),
            Sort::Queue => rows.sort_by_cached_key(|&n| Reverse(of(n).and_then(|c| c.queued_ns))),
            Sort::Check => rows.sort_by_cached_key(|&n| Reverse(of(n).map(|c| c.wrapper_ns))),
            Sort::Client => rows.sort_by_cached_key(|&n| of(n).and_then(|c| c.peer.and_then(Client::addr))),
            Sort::Outcome => rows.sort_by_cached_key(|&n| of(n).map(outcome_word)),
            Sort::Nameserver => rows.sort_by_cached_key(|&n| of(n).map(nameserver)),
        }
        self.rows = rows;
        self.sorted_at = Some((at, end));
    }

    fn look_again(&mut self) {
        self.fitting.clear();
        self.looked = 0;
        self.sorted_at = None;
    }

    /// The rows, first one first.
    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    fn line(&self, number: u64) -> Option<&Line> {
        match &self.log.get(number)?.told {
            Told::Line(line) => Some(line),
            Told::Fact(_) => None,
        }
    }

    pub(super) fn connection(&self, number: u64) -> Option<&Connection> {
        match self.line(number)? {
            Line::Connection(connection) | Line::Request(connection) => Some(connection),
            _ => None,
        }
    }

    /// The selected connection, or the first row's.
    pub(super) fn current(&self) -> Option<&Connection> {
        self.connection(self.selected.or_else(|| self.rows.first().copied())?)
    }

    /// Those that it waited behind, longest first, as far as they are kept.
    pub(super) fn held_its_thread(&self, current: &Connection) -> Vec<&Connection> {
        if current.queued_behind.is_empty() {
            return Vec::new();
        }
        let shown = self.selected.or_else(|| self.rows.first().copied()).unwrap_or(self.end());
        let before =
            (self.log.first()..shown).rev().take(BEFORE).filter_map(|number| self.connection(number));
        let place = |other: &Connection| current.queued_behind.iter().position(|conn| *conn == other.conn);
        let found = before.filter(|other| other.pid == current.pid && place(other).is_some());
        let mut found: Vec<_> = found.take(current.queued_behind.len()).collect();
        found.sort_by_key(|other| place(other));
        found
    }

    /// Takes a key.
    pub(super) fn key(&mut self, key: Key) -> Effect {
        if self.typing && !matches!(key, Key::CtrlC | Key::CtrlZ) {
            self.type_filter(key);
            return Effect::None;
        }
        let Some(action) = action(key) else { return Effect::None };
        match action {
            Action::Quit => return Effect::Quit { keep: false },
            Action::QuitAndKeep => return Effect::Quit { keep: true },
            Action::Suspend => return Effect::Suspend,
            Action::Copy => {
                let text = self
                    .current()
                    .map(|connection| Text { slow_ns: 0, ..Text::PLAIN }.connection(connection));
                return text.map_or(Effect::None, Effect::Copy);
            }
            Action::Help => self.help = if self.help.is_some() { None } else { Some(0) },
            Action::Back if self.help.is_some() => self.help = None,
            Action::Back if self.panel != Panel::Connections => self.show(Panel::Connections),
            Action::Back => self.set_filter(String::new()),
            Action::Filter => self.typing = true,
            Action::Sort => self.sort_otherwise(),
            Action::Detail => self.show(Panel::Detail),
            Action::Findings => self.show(Panel::Findings),
            Action::WhatIf => self.show(Panel::WhatIf),
            Action::Servers => self.show(Panel::Servers),
            Action::Nameservers => self.show(Panel::Nameservers),
            Action::Rules => self.show(Panel::Rules),
            Action::Threads => self.show(Panel::Threads),
            Action::Notes => self.show(Panel::Notes),
            Action::Pause => self.held = if self.held.is_some() { None } else { Some(self.now) },
            Action::Live => (self.held, self.selected) = (None, None),
            Action::Oldest => self.held = self.first_moment().or(self.held),
            Action::Stall(way) => self.hold_at_stall(way),
            Action::Seconds(way, seconds) => self.by_seconds(way, seconds),
            Action::Zone => self.local = !self.local,
            Action::Move(way) => self.step(way, 1),
            Action::Page(way) => self.page(way),
            Action::Behind(which) => self.behind(which),
        }
        Effect::None
    }

    /// Once more takes it away again.
    fn show(&mut self, panel: Panel) {
        self.help = None;
        self.scrolled = 0;
        self.panel = if self.panel == panel { Panel::Connections } else { panel };
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Enter => self.typing = false,
            Key::Esc => {
                self.typing = false;
                self.set_filter(String::new());
            }
            Key::Backspace => {
                let mut text = self.filter_text.clone();
                text.pop();
                self.set_filter(text);
            }
            Key::Char(c) => self.set_filter(format!("{}{c}", self.filter_text)),
            _ => {}
        }
    }

    fn set_filter(&mut self, text: String) {
        self.filter = Filter::parse(&text);
        self.filter_text = text;
        self.look_again();
    }

    fn sort_otherwise(&mut self) {
        let at = Sort::ALL.iter().position(|&sort| sort == self.sort).unwrap_or(0);
        self.sort = Sort::ALL[(at + 1) % Sort::ALL.len()];
        self.sorted_at = None;
    }

    /// One by one the connections, by pages also what is said of the one.
    fn page(&mut self, way: Way) {
        let by = self.page.max(1);
        if self.panel == Panel::Detail && self.help.is_none() {
            scroll(&mut self.scrolled, way, by);
        } else {
            self.step(way, by);
        }
    }

    fn step(&mut self, way: Way, by: usize) {
        let text = match self.panel {
            Panel::Connections | Panel::Detail => None,
            _ => Some(&mut self.scrolled),
        };
        if let Some(from) = self.help.as_mut().or(text) {
            return scroll(from, way, by);
        }
        self.scrolled = 0;
        let Some(last) = self.rows.len().checked_sub(1) else { return };
        let at = self.selected.and_then(|number| self.rows.iter().position(|&row| row == number));
        let to = match (at, way) {
            (None, _) => 0,
            (Some(at), Way::Before) => at.saturating_sub(by),
            (Some(at), Way::After) => at.saturating_add(by).min(last),
        };
        self.selected = self.rows.get(to).copied();
    }

    fn hold_at_stall(&mut self, way: Way) {
        let found = match way {
            Way::Before => self.stalls.before(self.at()),
            Way::After => self.stalls.after(self.at()),
        };
        self.held = found.or(self.held);
    }

    fn by_seconds(&mut self, way: Way, seconds: i64) {
        let Some(oldest) = self.first_moment() else { return };
        let by = SignedDuration::from_secs(if way == Way::Before { -seconds } else { seconds });
        let to = self.at().checked_add(by).unwrap_or(self.now);
        self.held = Some(to.clamp(oldest, self.now.max(oldest)));
    }

    /// To one of those that held the thread; a filter that hides it is taken away.
    fn behind(&mut self, which: usize) {
        let Some(current) = self.current() else { return };
        let Some(&behind) = current.queued_behind.get(which) else { return };
        let pid = current.pid;
        let is_it = |number: &u64| {
            self.connection(*number).is_some_and(|other| other.conn == behind && other.pid == pid)
        };
        let Some(found) = (self.log.first()..self.end()).rev().find(is_it) else { return };
        if !self.rows.contains(&found) {
            self.set_filter(String::new());
        }
        (self.selected, self.scrolled) = (Some(found), 0);
    }
}

fn scroll(from: &mut usize, way: Way, by: usize) {
    *from = if way == Way::Before { from.saturating_sub(by) } else { from.saturating_add(by) };
}

/// The nameserver that it waited longest for.
pub(super) fn nameserver(connection: &Connection) -> Option<std::sync::Arc<str>> {
    let blame = connection.blame.iter().filter(|blame| blame.server.is_some());
    blame.max_by_key(|blame| blame.own_ns.saturating_add(blame.queued_ns))?.server.clone()
}
