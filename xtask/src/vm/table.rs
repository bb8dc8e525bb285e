//! The table at the end: tests down, kernels across. Pure.

use super::{
    record::Outcome,
    records::{Cell, Judged},
};

/// One kernel's column.
pub(crate) struct Column {
    /// The kernel's series.
    pub(crate) head: String,
    /// What its boot came to.
    pub(crate) judged: Judged,
}

impl Column {
    /// Adds a test that is judged from outside.
    pub(crate) fn judge(&mut self, test: &str, result: anyhow::Result<()>) {
        let reason = result.err().map(|error| format!("{error:#}"));
        let outcome = if reason.is_some() { Outcome::Fail } else { Outcome::Pass };
        self.judged.cells.insert(test.to_owned(), Cell { outcome, reason, ms: 0 });
    }
}

/// The table, and below it every failure, skip and finding with its reason.
pub(crate) fn table(columns: &[Column], tests: &[&str]) -> String {
    let wide = tests.iter().map(|test| test.len()).max().unwrap_or(0);
    let mut text = format!("{:wide$}", "");
    for column in columns {
        text.push_str(&format!("  {:>12}", column.head));
    }
    text.push('\n');
    for test in tests {
        text.push_str(&format!("{test:wide$}"));
        for column in columns {
            text.push_str(&format!("  {:>12}", column.judged.cells.get(*test).map_or("-".to_owned(), cell)));
        }
        text.push('\n');
    }
    for column in columns {
        for (test, cell) in &column.judged.cells {
            let word = match cell.outcome {
                Outcome::Pass => continue,
                Outcome::Fail => "FAILED",
                Outcome::Skip => "skipped",
            };
            let reason = cell.reason.as_deref().unwrap_or("no reason given");
            text.push_str(&format!("{word}: {}: {test}: {reason}\n", column.head));
        }
        for finding in &column.judged.findings {
            text.push_str(&format!("FAILED: {}: {finding}\n", column.head));
        }
    }
    text
}

fn cell(cell: &Cell) -> String {
    match cell.outcome {
        Outcome::Pass => format!("{}.{} s", cell.ms / 1000, cell.ms % 1000 / 100),
        Outcome::Fail => "FAILED".to_owned(),
        Outcome::Skip => "skipped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_and_every_reason_is_there() {
        let mut judged = Judged::default();
        let mut put = |test: &str, outcome, reason: Option<&str>| {
            judged
                .cells
                .insert(test.to_owned(), Cell { outcome, reason: reason.map(ToOwned::to_owned), ms: 1234 });
        };
        put("load", Outcome::Pass, None);
        put("rule", Outcome::Fail, Some("the wrong one"));
        put("old", Outcome::Skip, Some("not there"));
        judged.findings.push("panic on the console: x".to_owned());
        let columns = [Column { head: "6.1".to_owned(), judged }];
        let text = table(&columns, &["load", "rule", "old", "gone"]);
        let wanted = "               6.1\nload         1.2 s\nrule        FAILED\nold        skipped\ngone             -\n\
            skipped: 6.1: old: not there\nFAILED: 6.1: rule: the wrong one\nFAILED: 6.1: panic on the console: x\n";
        assert_eq!(text, wanted);
    }
}
