//! One connection: its line, its wait to scale, who was before it, rules, files, queries.

use ratatui::{buffer::Buffer, layout::Rect, text::Line as Row};

use crate::diagnose::took_ns;
use crate::model::{Connection, Nanos, RuleRef, ThreadRole};
use crate::render::text::escape;
use crate::tui::look::Look;
use crate::tui::state::State;

use super::text::{rows_of, styled};

/// Columns of what stands before a bar.
const LABEL: usize = 26;

/// The selected connection alone.
pub(super) fn draw(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    let rows = current(state, look, area);
    super::scrolled(&mut state.scrolled, rows, area, buffer);
}

/// Beside the others: from its first row on.
pub(super) fn draw_beside(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    super::rows_from(&mut 0, current(state, look, area), "Enter for all", area, buffer);
}

fn current(state: &State, look: Look, area: Rect) -> Vec<Row<'static>> {
    let none = || vec![Row::raw("no connection")];
    let columns = usize::from(area.width);
    state
        .current()
        .map_or_else(none, |connection| rows(connection, &state.held_its_thread(connection), look, columns))
}

fn rows(connection: &Connection, held: &[&Connection], look: Look, columns: usize) -> Vec<Row<'static>> {
    let text = look.text(columns);
    let all = crate::render::text::Text { slow_ns: 0, ..text };
    let mut rows: Vec<Row<'static>> = all.connection(connection).lines().map(styled).collect();
    rows.push(Row::default());
    let scale = columns.saturating_sub(LABEL + 1).max(10);
    rows.push(bar(look, "the wait to scale", &text.timeline(connection, scale)));
    rows.extend(held.iter().map(|other| holder(connection, other, look, scale)));
    rows.extend(queries(connection, look, scale));
    rows.push(Row::default());
    let mut say = |label: &str, said: &str| {
        rows.extend(rows_of(&format!("{label}: {said}"), columns, 2).into_iter().map(Row::raw));
    };
    if let Some(rule) = &connection.rule {
        say("asked by", &rule_text(rule));
    }
    if let Some(rule) = &connection.verdict_rule {
        say("decided by", &rule_text(rule));
    }
    if connection.queued_behind_count > 0 {
        let behind: Vec<String> = connection.queued_behind.iter().map(|conn| format!("#{conn}")).collect();
        say(
            "queued behind",
            &format!(
                "{} ({} in all; {})",
                behind.join(" "),
                connection.queued_behind_count,
                way(behind.len())
            ),
        );
    }
    for file in &connection.files {
        let error = file.error.as_ref().map_or(String::new(), |error| format!(", {}", escape(error)));
        say("file", &format!("{} {} in {} reads{error}", escape(&file.path), Nanos(file.dur_ns), file.reads));
    }
    let times = [
        ("queued", connection.queued_ns),
        ("check", Some(connection.wrapper_ns)),
        ("hand-over", connection.handover_ns),
        ("first byte after accept", connection.greeting_ns),
    ];
    for (name, ns) in times {
        say(name, &ns.map_or("not known".to_owned(), |ns| Nanos(ns).to_string()));
    }
    rows
}

/// The keys that go to so many.
fn way(count: usize) -> String {
    match count {
        0 | 1 => "b goes there".to_owned(),
        2 => "b and 2 go there".to_owned(),
        _ => format!("b and 2 to {count} go there"),
    }
}

fn bar(look: Look, label: &str, bar: &str) -> Row<'static> {
    let edge = if look.unicode { "│" } else { "|" };
    let label: String = label.chars().take(LABEL - 1).collect();
    styled(&format!("{label:LABEL$}{edge}{bar}"))
}

/// A row with what was from one moment of the wait to another.
fn during(
    connection: &Connection,
    look: Look,
    scale: usize,
    label: &str,
    (from, until): (u64, u64),
) -> Row<'static> {
    let total = took_ns(connection).max(1);
    let cell = |ns: u64| {
        let at = u128::from(ns.min(total)) * scale as u128 / u128::from(total);
        usize::try_from(at).unwrap_or(0)
    };
    let glyph = if look.unicode { "━" } else { "=" };
    let cells = cell(until).saturating_sub(cell(from)).max(1);
    bar(look, label, &format!("{}{}", " ".repeat(cell(from)), glyph.repeat(cells)))
}

/// When another one held the accept thread that this one waited for.
fn holder(connection: &Connection, other: &Connection, look: Look, scale: usize) -> Row<'static> {
    let began = connection.accepted_ktime.0.saturating_sub(connection.queued_ns.unwrap_or(0));
    let from = other.accepted_ktime.0;
    let until = from.saturating_add(other.service_ns);
    let part = (from.saturating_sub(began), until.saturating_sub(began));
    during(connection, look, scale, &format!("#{} held the thread", other.conn), part)
}

/// Each query where in the wait it was.
fn queries(connection: &Connection, look: Look, scale: usize) -> Vec<Row<'static>> {
    let queued = connection.queued_ns.unwrap_or(0);
    let mut rows = Vec::new();
    for lookup in &connection.lookups {
        let own = if lookup.thread == ThreadRole::Connection { "own " } else { "" };
        for query in &lookup.queries {
            let from = queued.saturating_add(query.at_ns);
            let until = from.saturating_add(query.rtt_ns.unwrap_or(0));
            let what = escape(query.qtype.as_deref().unwrap_or("lookup"));
            let label = format!("{own}{what} {}", escape(&query.server));
            rows.push(during(connection, look, scale, &label, (from, until)));
        }
    }
    rows
}

fn rule_text(rule: &RuleRef) -> String {
    let text = rule.text.as_deref().map_or(String::new(), |text| format!("  {}", escape(text)));
    format!("{}:{}{text}", escape(&rule.file), rule.line)
}
