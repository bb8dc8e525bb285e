//! Tables instead of the connections: nameservers, rules, servers, accept threads, notes.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Rect},
    style::{Modifier, Style},
    text::Line as Row,
    widgets::{self, Table, Widget},
};

use crate::render::text::escape;
use crate::tui::look::Look;
use crate::tui::state::State;

use super::text::{duration, percent, styled};

fn table<const N: usize>(
    head: [&'static str; N],
    columns: [Constraint; N],
    rows: Vec<[String; N]>,
    from: &mut usize,
    area: Rect,
    buffer: &mut Buffer,
) {
    *from = (*from).min((rows.len() + 1).saturating_sub(usize::from(area.height)));
    let head = widgets::Row::new(head).style(Style::new().add_modifier(Modifier::BOLD));
    let rows = rows.into_iter().skip(*from).map(widgets::Row::new);
    Widget::render(Table::new(rows, columns).header(head), area, buffer);
}

pub(super) fn nameservers(state: &mut State, _look: Look, area: Rect, buffer: &mut Buffer) {
    use Constraint::{Length, Min};
    let servers = &state.view.summary().nameservers;
    let rows = servers.iter().map(|server| {
        [
            escape(&server.server),
            server.queries.to_string(),
            server.answered.to_string(),
            server.timeouts.to_string(),
            duration(server.rtt.p50_ns),
            duration(server.rtt.p99_ns),
            duration(server.explained_ns),
        ]
    });
    let head = ["nameserver", "queries", "answered", "timeouts", "p50", "p99", "waited for it"];
    let columns = [Min(15), Length(7), Length(8), Length(9), Length(8), Length(8), Length(13)];
    table(head, columns, rows.collect(), &mut state.scrolled, area, buffer);
}

pub(super) fn rules(state: &mut State, _look: Look, area: Rect, buffer: &mut Buffer) {
    use Constraint::{Length, Min};
    let mut rules: Vec<_> = state.view.rules.iter().collect();
    rules.sort_by_key(|(key, used)| (std::cmp::Reverse(used.dns_ns), (*key).clone()));
    let rows = rules.into_iter().map(|((file, line, text), used)| {
        let place = format!("{}:{line}", escape(file));
        let text = text.as_deref().map_or("(its text is not known)".to_owned(), escape);
        [used.connections.to_string(), duration(used.dns_ns), place, text]
    });
    let head = ["clients", "lookups", "rule", ""];
    table(
        head,
        [Length(8), Length(8), Length(22), Min(10)],
        rows.collect(),
        &mut state.scrolled,
        area,
        buffer,
    );
}

/// Each server on a row; which of several the others wait for shows by its threads' busy share.
pub(super) fn servers(state: &mut State, _look: Look, area: Rect, buffer: &mut Buffer) {
    use Constraint::{Length, Min};
    let threads = state.view.summary().accept_threads.clone();
    let rows = state.view.known.context.targets.iter().map(|target| {
        let own = || threads.iter().filter(|thread| thread.pid == target.pid);
        let busiest = own().max_by_key(|thread| thread.busy_ns);
        let listeners: Vec<String> =
            target.listeners.iter().map(|listener| escape(&listener.address)).collect();
        let ended = if target.ended { " (has ended)" } else { "" };
        [
            target.pid.to_string(),
            format!(
                "{}{ended}",
                if target.comm.is_empty() { "(not known)".to_owned() } else { escape(&target.comm) }
            ),
            own().map(|thread| thread.connections).sum::<u64>().to_string(),
            busiest.map_or("-".to_owned(), |thread| percent(thread.busy_ns, thread.span_ns)),
            listeners.join(" "),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let head = ["pid", "server", "connections", "busy", "listens at"];
    let columns = [Length(8), Length(17), Length(12), Length(6), Min(10)];
    table(head, columns, rows, &mut state.scrolled, area, buffer);
}

pub(super) fn threads(state: &mut State, _look: Look, area: Rect, buffer: &mut Buffer) {
    use Constraint::Length;
    let threads = &state.view.summary().accept_threads;
    let rows = threads.iter().map(|thread| {
        let ceiling = thread.ceiling_per_s.map_or("-".to_owned(), |ceiling| format!("{ceiling:.1}"));
        [
            thread.pid.to_string(),
            thread.tid.to_string(),
            thread.connections.to_string(),
            percent(thread.busy_ns, thread.span_ns),
            ceiling,
        ]
    });
    let head = ["pid", "thread", "connections", "busy", "ceiling, connections/s"];
    table(
        head,
        [Length(8), Length(8), Length(12), Length(6), Length(24)],
        rows.collect(),
        &mut state.scrolled,
        area,
        buffer,
    );
}

pub(super) fn notes(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    let text = look.text(usize::from(area.width));
    let view = &state.view;
    let mut rows: Vec<Row<'_>> = Vec::new();
    for note in &view.notes {
        rows.extend(text.line(note).lines().map(styled));
    }
    if view.more_notes > 0 {
        rows.push(Row::raw(format!("and {} more", view.more_notes)));
    }
    if rows.is_empty() {
        rows.push(Row::raw("nothing was lost, and nothing is known to be missing"));
    }
    super::scrolled(&mut state.scrolled, rows, area, buffer);
}
