//! What a guest said, held against what it should have said. Pure: text in, judgement out.

use std::collections::BTreeMap;

use super::{
    console,
    expected::Expected,
    record::{Cost, Outcome, Privileges, Record},
};

/// How a boot ended, and everything it left.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    /// The kernel's console.
    pub(crate) console: String,
    /// The second serial port.
    pub(crate) records: String,
    /// Why the machine was stopped, where it did not end by itself.
    pub(crate) stopped: Option<String>,
}

/// One cell of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why it failed or was skipped.
    pub(crate) reason: Option<String>,
    /// How long it took.
    pub(crate) ms: u64,
}

/// What a boot comes to.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Each test.
    pub(crate) cells: BTreeMap<String, Cell>,
    /// What is wrong with the boot beside failed tests: each is a failure of its own.
    pub(crate) findings: Vec<String>,
    /// Instructions that the verifier went through, by program.
    pub(crate) programs: BTreeMap<String, u32>,
    /// What sets of privileges gave.
    pub(crate) privileges: Vec<Privileges>,
    /// Instructions of kinds of work.
    pub(crate) costs: Vec<Cost>,
    /// `uname -r`.
    pub(crate) release: Option<String>,
}

impl Judged {
    /// Of a kernel that was not booted.
    pub(crate) fn without_boot(why: &anyhow::Error) -> Self {
        Self { findings: vec![format!("it could not be booted: {why:#}")], ..Self::default() }
    }

    /// Everything that is wrong, in words.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let failed = self.cells.iter().filter(|(_, cell)| cell.outcome == Outcome::Fail);
        let failed =
            failed.map(|(test, cell)| format!("{test}: {}", cell.reason.as_deref().unwrap_or_default()));
        self.findings.iter().cloned().chain(failed).collect()
    }

    /// How many tests ended so; findings are failures.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        let cells = self.cells.values().filter(|cell| cell.outcome == outcome).count();
        let findings = if outcome == Outcome::Fail { self.findings.len() } else { 0 };
        cells.saturating_add(findings)
    }
}

/// Judges a boot of the kernel `series`.
pub(crate) fn judge(boot: &Boot, expected: &Expected, series: &str) -> Judged {
    let mut judged = Judged::default();
    let mut at = None;
    let mut verdict = None;
    for line in boot.records.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Ok(record) = serde_json::from_str::<Record>(line) else {
            judged.findings.push(format!("not a record: {line:?}"));
            continue;
        };
        if verdict.is_some() {
            judged.findings.push(format!("a record after the verdict: {line}"));
        }
        match record {
            Record::Up { release } => judged.release = Some(release),
            Record::Begin { test } => at = Some(test),
            Record::Test { test, outcome, reason, ms } => {
                at = None;
                if judged.cells.insert(test.clone(), Cell { outcome, reason, ms }).is_some() {
                    judged.findings.push(format!("two records of {test}"));
                }
            }
            Record::Program { name, instructions } => {
                judged.programs.insert(name, instructions);
            }
            Record::Privileges(privileges) => judged.privileges.push(privileges),
            Record::Cost(cost) => judged.costs.push(cost),
            Record::Verdict { passed, failed, skipped } => verdict = Some((passed, failed, skipped)),
        }
    }
    judged.findings.extend(console::findings(&boot.console));
    if let Some(stopped) = &boot.stopped {
        let at = at.as_deref().map(|test| format!(", in the test {test}"));
        judged.findings.push(format!("{stopped}{}", at.unwrap_or_default()));
    }
    judge_verdict(&mut judged, verdict, at.as_deref());
    judge_tests(&mut judged, expected, series);
    judged
}

/// The verdict has to be there, and to agree with the records.
fn judge_verdict(judged: &mut Judged, verdict: Option<(usize, usize, usize)>, at: Option<&str>) {
    let Some(verdict) = verdict else {
        let last = match (at, &judged.release) {
            (Some(test), _) => format!("it was in the test {test}"),
            (None, Some(_)) => "between two tests".to_owned(),
            (None, None) => "the guest never came up".to_owned(),
        };
        judged.findings.push(format!("no verdict: {last}"));
        return;
    };
    let count = |outcome| judged.cells.values().filter(|cell| cell.outcome == outcome).count();
    let counted = (count(Outcome::Pass), count(Outcome::Fail), count(Outcome::Skip));
    if counted != verdict {
        let text = |(passed, failed, skipped)| format!("{passed} passed, {failed} failed, {skipped} skipped");
        judged.findings.push(format!("the verdict says {}, the records {}", text(verdict), text(counted)));
    }
}

/// Each test has to be there, and to be skipped exactly where that was declared.
fn judge_tests(judged: &mut Judged, expected: &Expected, series: &str) {
    let mut unheard = Vec::new();
    for test in expected.all().filter(|test| expected.has(test, series)) {
        let declared = expected.skip(test, series);
        match (judged.cells.get_mut(test), declared) {
            (None, _) => unheard.push(test),
            (Some(cell), None) if cell.outcome == Outcome::Skip => {
                let why = cell.reason.take().unwrap_or_default();
                cell.outcome = Outcome::Fail;
                cell.reason = Some(format!("skipped without being declared: {why}"));
            }
            (Some(cell), Some(why)) if cell.outcome == Outcome::Pass => {
                cell.outcome = Outcome::Fail;
                cell.reason = Some(format!("passed, but is declared to be skipped: {why}"));
            }
            _ => {}
        }
    }
    match unheard.as_slice() {
        [] => {}
        [first, _, _, _, ..] => {
            judged.findings.push(format!("no record of {} tests, from {first} on", unheard.len()));
        }
        few => judged.findings.push(format!("no record of {}", few.join(", "))),
    }
    let unknown: Vec<_> = judged.cells.keys().filter(|test| !expected.has(test, series)).collect();
    if !unknown.is_empty() {
        judged.findings.push(format!("not for {series} in {}: {unknown:?}", Expected::FILE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str =
        "tests = ['load', 'rule']\n[[skip]]\nkernel = '5.10'\ntest = 'rule'\nwhy = 'old'\n";
    const LOAD: &str = r#"{"record":"test","test":"load","outcome":"pass","ms":5}"#;

    fn judged(records: &[&str], series: &str) -> Judged {
        let boot = Boot { records: records.join("\n"), ..Boot::default() };
        judge(&boot, &Expected::parse(EXPECTED).unwrap(), series)
    }

    fn rule(outcome: &str) -> String {
        format!(r#"{{"record":"test","test":"rule","outcome":"{outcome}","reason":"r","ms":5}}"#)
    }

    fn verdict(passed: usize, failed: usize, skipped: usize) -> String {
        format!(r#"{{"record":"verdict","passed":{passed},"failed":{failed},"skipped":{skipped}}}"#)
    }

    #[test]
    fn a_whole_run_has_no_findings() {
        let judged = judged(&[LOAD, &rule("pass"), &verdict(2, 0, 0)], "6.1");
        assert_eq!(judged.findings, [""; 0]);
        assert_eq!((judged.count(Outcome::Pass), judged.count(Outcome::Fail)), (2, 0));
    }

    #[test]
    fn a_missing_record_and_a_missing_verdict_fail() {
        let missing = judged(&[LOAD, &verdict(1, 0, 0)], "6.1");
        assert_eq!(missing.findings, ["no record of rule"]);
        let cut = judged(&[LOAD, r#"{"record":"begin","test":"rule"}"#], "6.1");
        assert_eq!(cut.findings, ["no verdict: it was in the test rule", "no record of rule"]);
        let nothing = judged(&[], "6.1");
        assert!(nothing.findings[0].contains("never came up"), "{:?}", nothing.findings);
        let lies = judged(&[LOAD, &rule("fail"), &verdict(2, 0, 0)], "6.1");
        assert!(lies.findings[0].contains("the records 1 passed, 1 failed"), "{:?}", lies.findings);
    }

    #[test]
    fn skips_are_as_declared() {
        let old = judged(&[LOAD, &rule("skip"), &verdict(1, 0, 1)], "5.10");
        assert_eq!((old.count(Outcome::Skip), old.count(Outcome::Fail)), (1, 0));
        let undeclared = judged(&[LOAD, &rule("skip"), &verdict(1, 0, 1)], "6.1");
        assert_eq!((undeclared.count(Outcome::Skip), undeclared.count(Outcome::Fail)), (0, 1));
        let unexpected = judged(&[LOAD, &rule("pass"), &verdict(2, 0, 0)], "5.10");
        assert_eq!(unexpected.count(Outcome::Fail), 1);
        assert!(unexpected.cells["rule"].reason.as_ref().unwrap().contains("declared to be skipped"));
    }

    #[test]
    fn what_does_not_belong_there_fails() {
        let other = r#"{"record":"test","test":"other","outcome":"pass","ms":5}"#;
        let all = [LOAD, LOAD, &rule("pass"), other, "nonsense", &verdict(3, 0, 0), LOAD];
        let text = judged(&all, "6.1").findings.join("\n");
        for part in ["two records of load", "\"other\"", "not a record", "after the verdict"] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }

    #[test]
    fn a_stopped_machine_says_where_it_was() {
        let boot = Boot {
            records: r#"{"record":"begin","test":"rule"}"#.to_owned(),
            stopped: Some("stopped after 60 s".to_owned()),
            ..Boot::default()
        };
        let judged = judge(&boot, &Expected::parse(EXPECTED).unwrap(), "6.1");
        assert_eq!(judged.findings[0], "stopped after 60 s, in the test rule");
    }
}
