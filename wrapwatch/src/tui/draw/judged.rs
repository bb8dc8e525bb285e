//! What was found so far and what to change, and what the waits would have been: as the report has them.

use ratatui::{buffer::Buffer, layout::Rect, text::Line as Row};

use crate::diagnose::Report;
use crate::render::text::Text;
use crate::tui::judged::Judged;
use crate::tui::look::Look;
use crate::tui::state::State;

use super::text::styled;
use super::top::clock_and_zone;

pub(super) fn findings(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    let text = |text: Text, report: &Report| {
        if report.findings.is_empty() {
            return "  nothing so far\n".to_owned();
        }
        report.findings.iter().map(|finding| text.finding(finding)).collect()
    };
    panel(state, look, "findings", text, area, buffer);
}

pub(super) fn what_if(state: &mut State, look: Look, area: Rect, buffer: &mut Buffer) {
    panel(state, look, "what if", |text, report| text.what_if(report), area, buffer);
}

fn panel(
    state: &mut State,
    look: Look,
    name: &str,
    text: impl Fn(Text, &Report) -> String,
    area: Rect,
    buffer: &mut Buffer,
) {
    let Some((at, report)) = state.judged.as_ref().and_then(Judged::report) else { return };
    let newest = state.judged.as_ref().is_some_and(Judged::is_of_the_newest);
    let mut rows = vec![Row::raw(head(name, &clock_and_zone(at, look), report, newest))];
    rows.extend(text(look.text(usize::from(area.width)), report).lines().map(styled));
    super::scrolled(&mut state.scrolled, rows, area, buffer);
}

fn head(name: &str, at: &str, report: &Report, newest: bool) -> String {
    let newest = if newest { "newest " } else { "" };
    format!("{name} by {at}, of the {newest}{} connections", report.summary.connections)
}
