//! The top: the verdict so far, the stall that goes on, the last seconds, nameservers, what is not seen, and where in the trace this is.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use ratatui::{
    style::{Modifier, Style},
    text::{Line as Row, Span},
};

use crate::model::{NameserverStats, VerdictKind};
use crate::render::text::escape;
use crate::tui::look::Look;
use crate::tui::state::{Source, State};
use crate::tui::view::Second;

use super::text::{self, duration, percent, rows_of, sparkline, styled};

/// Rows of the verdict.
const VERDICT_ROWS: usize = 2;

const fn scrubs(state: &State) -> bool {
    state.held() || matches!(state.source, Source::Trace)
}

/// Its rows, in so many columns.
pub(super) fn rows(state: &mut State, look: Look, columns: usize) -> Vec<Row<'static>> {
    let mut rows = vec![title(state, look, columns)];
    rows.extend(verdict(state, look, columns));
    rows.extend(stall(state, look, columns));
    rows.push(Row::raw(seconds(state, look, columns)));
    rows.push(Row::raw(nameservers(state, columns)));
    if let Some(said) = not_seen(state) {
        rows.push(Row::styled(said, Style::new().fg(text::YELLOW)));
    }
    if scrubs(state) {
        rows.push(Row::raw(scrubber(state, look, columns)));
    }
    if !look.color {
        rows.iter_mut().for_each(plain);
    }
    rows
}

/// Without colours; bold and reversed stay.
fn plain(row: &mut Row<'_>) {
    row.style.fg = None;
    row.spans.iter_mut().for_each(|span| span.style.fg = None);
}

/// Time of day.
pub(super) fn clock(at: Timestamp, look: Look) -> String {
    in_zone(at, look).strftime("%H:%M:%S").to_string()
}

/// Time of day and the zone's name.
pub(super) fn clock_and_zone(at: Timestamp, look: Look) -> String {
    in_zone(at, look).strftime("%H:%M:%S %Z").to_string()
}

fn in_zone(at: Timestamp, look: Look) -> Zoned {
    at.to_zoned(look.zone.cloned().unwrap_or(TimeZone::UTC))
}

fn title(state: &State, look: Look, columns: usize) -> Row<'static> {
    let servers =
        if state.servers.is_empty() { "no server".to_owned() } else { escape(&state.servers.join(", ")) };
    let mode = match (state.held(), state.source, &state.ended) {
        _ if state.is_reading() => "READING",
        (true, ..) => "HELD",
        (_, Source::Trace, _) if state.follows => "FOLLOWS",
        (_, Source::Trace, _) => "TRACE",
        (_, Source::Live, Some(_)) => "ENDED",
        (_, Source::Live, None) => "LIVE",
    };
    let right = format!("{mode} {}", clock_and_zone(state.at(), look));
    let room = columns.saturating_sub(right.len() + 1);
    let left: String = format!("wrapwatch  {servers}").chars().take(room).collect();
    let gap = columns.saturating_sub(left.chars().count() + right.len());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    Row::from(vec![Span::styled(left, bold), Span::raw(" ".repeat(gap)), Span::styled(right, bold)])
}

fn verdict(state: &mut State, look: Look, columns: usize) -> Vec<Row<'static>> {
    let summary = state.view.summary();
    let color = match summary.verdict_kind {
        VerdictKind::Wrappers | VerdictKind::ServerLookups | VerdictKind::Queue => text::RED,
        VerdictKind::Elsewhere | VerdictKind::NobodyWaited => text::GREEN,
        VerdictKind::Refusals | VerdictKind::CannotTell => text::YELLOW,
    };
    let said = format!("{} connections. {}", summary.connections, escape(&summary.verdict));
    let mut said = rows_of(&said, columns.saturating_sub(1), 0);
    if said.len() > VERDICT_ROWS {
        said.truncate(VERDICT_ROWS);
        said.iter_mut()
            .skip(VERDICT_ROWS - 1)
            .for_each(|last| last.push_str(if look.unicode { "…" } else { "~" }));
    }
    let bold = Style::new().fg(color).add_modifier(Modifier::BOLD);
    let mut rows: Vec<_> = said.into_iter().map(|row| Row::styled(row, bold)).collect();
    rows.resize(VERDICT_ROWS, Row::default());
    rows
}

/// The stall that goes on, in as many rows as it needs.
fn stall(state: &State, look: Look, columns: usize) -> Vec<Row<'static>> {
    if let Some(stall) = state.view.stall(state.at()) {
        return look.text(columns).stall(stall).lines().map(styled).collect();
    }
    let ended = state.ended.as_deref().map_or(String::new(), |why| format!("; ended: {}", escape(why)));
    vec![Row::raw(format!("no stall is seen{ended}").chars().take(columns).collect::<String>())]
}

/// The last seconds, the newest at the right: connections, how busy the accept threads were, the queue.
fn seconds(state: &mut State, look: Look, columns: usize) -> String {
    let cells = (columns.saturating_sub(48) / 3).clamp(4, 40);
    let now = state.at().as_second();
    let from = now.saturating_sub(i64::try_from(cells).unwrap_or(0)).saturating_add(1);
    let bins: Vec<Second> =
        (from..=now).map(|second| state.view.seconds.get(&second).copied().unwrap_or_default()).collect();
    let line = |of: fn(&Second) -> u64| sparkline(&bins.iter().map(of).collect::<Vec<_>>(), look.unicode);
    // The second that goes on is not over.
    let last = bins.len().checked_sub(2).and_then(|at| bins.get(at)).copied().unwrap_or_default();
    let threads = state.view.summary().accept_threads.len().max(1) as u64;
    let busy = percent(last.busy_ns.min(threads * 1_000_000_000), threads * 1_000_000_000);
    let queue =
        state.view.queue.map_or("not known".to_owned(), |(queued, limit)| format!("{queued} of {limit}"));
    format!(
        "conn/s {} {}  busy {} {busy}  queue {} {queue}",
        line(|bin| bin.connections),
        last.connections,
        line(|bin| bin.busy_ns),
        line(|bin| bin.queue.map_or(0, |(queued, _)| u64::from(queued))),
    )
}

fn nameservers(state: &mut State, columns: usize) -> String {
    let one = |server: &NameserverStats| {
        let failed = [(server.timeouts, "timed out"), (server.unreachable, "unreachable")];
        let failed: String =
            failed.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
        let rtt = if server.rtt.count > 0 {
            format!(" p50 {}", duration(server.rtt.p50_ns))
        } else {
            String::new()
        };
        format!("{}: {} queries{rtt}{failed}", escape(&server.server), server.queries)
    };
    let servers = &state.view.summary().nameservers;
    if servers.is_empty() {
        return "no query is seen".to_owned();
    }
    let all = servers.iter().map(one).collect::<Vec<_>>().join(" | ");
    all.chars().take(columns).collect()
}

/// Losses and what cannot be seen; none where there is nothing.
fn not_seen(state: &State) -> Option<String> {
    let view = &state.view;
    let notes = view.notes.len() as u64 + view.more_notes;
    let all = [
        (view.known.lost(), "events LOST"),
        (u64::from(view.left_out), "calls skipped"),
        (state.not_kept(), "older lines no longer kept"),
        (notes, "notes (m)"),
    ];
    let said: Vec<String> = all
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| if *what == "calls skipped" { (*what).to_owned() } else { format!("{n} {what}") })
        .collect();
    (!said.is_empty()).then(|| format!("not seen: {}", said.join("; ")))
}

/// From the oldest to the newest, with a mark where the screen is.
fn scrubber(state: &State, look: Look, columns: usize) -> String {
    let Some((from, to, share)) = state.place() else { return String::new() };
    let (line, mark) = if look.unicode { ("─", "●") } else { ("-", "#") };
    let cells = columns.saturating_sub(20);
    // Within 0 and the columns of a screen.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (share * cells.saturating_sub(1) as f64) as usize;
    let rest = cells.saturating_sub(at + 1);
    format!("{} {}{mark}{} {}", clock(from, look), line.repeat(at), line.repeat(rest), clock(to, look))
}
