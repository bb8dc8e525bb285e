//! Findings and what-if of what the log has, up to a moment; made while somebody looks at them.

use jiff::Timestamp;

use crate::diagnose::{Diagnosis, Report, SummaryBuilder};
use crate::model::Line;

use super::known::Known;
use super::log::{Log, Room, Told};

/// Connections for each second that a report stays as it is while others come: it looks at all of them again.
const A_SECOND: u64 = 20_000;

/// The connections' diagnosis.
#[derive(Debug)]
pub(super) struct Judged {
    /// Number of the first entry that counts.
    from: u64,
    end: u64,
    known: Known,
    summary: SummaryBuilder,
    diagnosis: Diagnosis,
    connections: u64,
    report: Option<(Timestamp, u64, Report)>,
}

impl Judged {
    fn on(log: &Log, gone: &Known) -> Self {
        Self {
            from: log.first(),
            end: log.first(),
            known: gone.clone(),
            summary: SummaryBuilder::new(),
            diagnosis: Diagnosis::new(0),
            connections: 0,
            report: None,
        }
    }

    /// That of what was told before the entry of this number, which is shown at `at`; `gone` is known of what is no longer in the log.
    pub(super) fn go_to(
        judged: &mut Option<Self>,
        (log, gone): (&Log, &Known),
        end: u64,
        at: Timestamp,
        held: bool,
    ) {
        // What is no longer kept counts for a while yet, or each new connection would begin it again.
        let goes_on = judged.as_ref().is_some_and(|judged| {
            end >= judged.end
                && judged.end >= log.first()
                && judged.connections < 2 * Room::MOST.entries as u64
        });
        let mut now = judged.take().filter(|_| goes_on).unwrap_or_else(|| Self::on(log, gone));
        now.take(log, end);
        now.tell(at, held);
        *judged = Some(now);
    }

    fn line(&mut self, line: &Line) {
        match line {
            Line::Connection(connection) => {
                self.summary.add(connection);
                self.diagnosis.add(connection, &self.known.context);
                self.connections += 1;
            }
            Line::Request(request) => {
                self.summary.add_request(request);
                self.diagnosis.add_request(request, &self.known.context);
            }
            _ => {}
        }
    }

    fn take(&mut self, log: &Log, end: u64) {
        while self.end < end {
            if let Some(entry) = log.get(self.end) {
                self.known.take(&entry.told);
                match &entry.told {
                    Told::Line(line) => self.line(line),
                    Told::Fact(_) => {}
                }
            }
            self.end += 1;
        }
    }

    fn tell(&mut self, at: Timestamp, held: bool) {
        let lasts_s = 1 + self.connections / A_SECOND;
        let fresh = self.report.as_ref().is_some_and(|(told, end, _)| {
            let age_s = at.as_second().abs_diff(told.as_second());
            *end == self.end || !held && age_s < lasts_s
        });
        if !fresh {
            let summary = self.known.summary(&self.summary, self.connections);
            let report = self.diagnosis.finish(&self.known.context, summary, "", self.connections, true);
            self.report = Some((at, self.end, report));
        }
    }

    /// When it was told, and what.
    pub(super) fn report(&self) -> Option<(Timestamp, &Report)> {
        self.report.as_ref().map(|(at, _, report)| (*at, report))
    }

    /// Whether what came before is no longer kept.
    pub(super) const fn is_of_the_newest(&self) -> bool {
        self.from > 0
    }
}
