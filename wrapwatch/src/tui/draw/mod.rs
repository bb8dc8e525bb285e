//! The state put into a buffer of cells. Words or marks say what colours say.

mod detail;
mod judged;
mod panels;
mod text;
mod top;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line as Row, Span},
    widgets::{Clear, Paragraph, Widget as _, Wrap},
};

use super::keys::KEYS;
use super::look::Look;
use super::state::{Panel, Sort, State};
use text::{rows_of, styled};

/// The selected connection beside the others: its columns, and from how many on there is room for both.
const DETAIL: u16 = 62;
const BESIDE: u16 = 136;
/// The narrowest screen, and the lowest.
const LEAST: (u16, u16) = (60, 16);

/// Draws everything.
pub(super) fn draw(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    state.refresh();
    let look = Look { zone: look.zone.filter(|_| state.local), ..look };
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let said = format!("wrapwatch needs {} columns and {} rows", LEAST.0, LEAST.1);
        Paragraph::new(said).wrap(Wrap { trim: true }).render(area, buffer);
        return;
    }
    let mut head = top::rows(state, look, usize::from(area.width));
    if area.height >= 24 {
        head.push(Row::default());
    }
    let top_rows = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let [top, middle, footer] =
        Layout::vertical([Constraint::Length(top_rows), Constraint::Min(1), Constraint::Length(1)])
            .areas(area);
    Paragraph::new(head).render(top, buffer);
    draw_middle(state, look, middle, buffer);
    Paragraph::new(footer_text(state, usize::from(footer.width))).render(footer, buffer);
    if let Some(from) = &mut state.help {
        help(from, area, buffer);
    }
}

fn draw_middle(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    match state.panel {
        Panel::Connections if area.width >= BESIDE => {
            let [left, right] =
                Layout::horizontal([Constraint::Min(1), Constraint::Length(DETAIL)]).spacing(2).areas(area);
            connections(state, look, left, buffer);
            detail::draw_beside(state, look, right, buffer);
        }
        Panel::Connections => connections(state, look, area, buffer),
        Panel::Detail => detail::draw(state, look, area, buffer),
        Panel::Findings => judged::findings(state, look, area, buffer),
        Panel::WhatIf => judged::what_if(state, look, area, buffer),
        Panel::Servers => panels::servers(state, look, area, buffer),
        Panel::Nameservers => panels::nameservers(state, look, area, buffer),
        Panel::Rules => panels::rules(state, look, area, buffer),
        Panel::Threads => panels::threads(state, look, area, buffer),
        Panel::Notes => panels::notes(state, look, area, buffer),
    }
    if state.panel != Panel::Connections {
        state.page = usize::from(area.height.saturating_sub(1));
    }
}

/// Rows from the one that the panel is scrolled to; what stands before and behind them is said in the last one.
fn scrolled(from: &mut usize, rows: Vec<Row<'_>>, area: Rect, buffer: &mut Buffer) {
    rows_from(from, rows, "PgUp and PgDn", area, buffer);
}

/// The same, with how to come to the others.
fn rows_from(from: &mut usize, rows: Vec<Row<'_>>, way: &str, area: Rect, buffer: &mut Buffer) {
    let height = usize::from(area.height);
    if rows.len() <= height {
        *from = 0;
        Paragraph::new(rows).render(area, buffer);
        return;
    }
    let room = height.saturating_sub(1);
    *from = (*from).min(rows.len().saturating_sub(room));
    let said = format!("rows {} to {} of {}; {way}", *from + 1, *from + room, rows.len());
    let shown = rows.into_iter().skip(*from).take(room).chain([Row::raw(said)]);
    Paragraph::new(shown.collect::<Vec<_>>()).render(area, buffer);
}

/// The connections, as many as there is room for, the selected one among them.
fn connections(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    let [head, list] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let text = look.text(usize::from(area.width.saturating_sub(2)));
    list_head(state, text).render(head, buffer);
    let page = usize::from(list.height);
    state.page = page;
    let rows = state.rows();
    let at = state.selected.and_then(|number| rows.iter().position(|&row| row == number));
    // The selected row stays in sight, the newest ones too while there is room.
    let from = at.map_or(0, |at| at.saturating_sub(page.saturating_sub(1)));
    if rows.is_empty() {
        let why = if state.filter_text.is_empty() { "no connection yet" } else { "no connection matches" };
        Paragraph::new(why).render(list, buffer);
    }
    for (line, (i, &number)) in list.rows().zip(rows.iter().enumerate().skip(from)) {
        let Some(connection) = state.connection(number) else { continue };
        let selected = at == Some(i);
        let mut row = styled(&text.headline(connection));
        row.spans.insert(0, Span::raw(if selected { "> " } else { "  " }));
        if selected {
            row.spans.iter_mut().for_each(reverse);
        }
        row.render(line, buffer);
    }
}

/// Of the selected row. A bar stays: reversed, what is full would look empty. Other colours, and what is dim, could hardly be read.
fn reverse(span: &mut Span<'_>) {
    const BAR: &str = "░█▓▒?·";
    if span.content.is_empty() || !span.content.chars().all(|c| BAR.contains(c)) {
        span.style = Style::new().add_modifier(Modifier::REVERSED);
    }
}

/// What the bars mean, or how the list is not the usual one.
fn list_head(state: &State, text: crate::render::text::Text) -> Row<'static> {
    if state.sort == Sort::Time && state.filter_text.is_empty() {
        return styled(text.legend().trim_end());
    }
    let filter =
        if state.filter_text.is_empty() { String::new() } else { format!("; filter: {}", state.filter_text) };
    Row::raw(format!("{} connections, {}{filter}", state.rows().len(), state.sort.name()))
}

/// Keys by priority, as many as fit, behind a filter that is on; while one is typed, that.
fn footer_text(state: &State, columns: usize) -> String {
    if state.typing {
        return format!("/{}_   Enter keeps it, Esc removes it", state.filter_text);
    }
    let mut said = String::new();
    if !state.filter_text.is_empty() {
        said.extend(format!("filter: {}", state.filter_text).chars().take(columns / 2));
    }
    for binding in KEYS.iter().filter(|binding| !binding.short.is_empty()) {
        let next = format!("{} {}", binding.label, binding.short);
        if said.chars().count() + next.chars().count() + 2 > columns {
            continue;
        }
        if !said.is_empty() {
            said.push_str("  ");
        }
        said.push_str(&next);
    }
    said
}

/// All keys, from this row on; what has no room is reached as the rows of the list are.
fn help(from: &mut usize, area: Rect, buffer: &mut Buffer) {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let width = area.width.min(80);
    for binding in KEYS {
        let text = format!("{:7}{}", binding.label, binding.help);
        rows.extend(rows_of(&text, usize::from(width.saturating_sub(2)), 7).into_iter().map(Row::raw));
    }
    let room = area.height.saturating_sub(1);
    let height = u16::try_from(rows.len()).unwrap_or(u16::MAX).min(room);
    let place = Rect { width, height, ..area };
    Clear.render(place, buffer);
    scrolled(from, rows, Rect { x: place.x + 1, width: width.saturating_sub(2), ..place }, buffer);
}
