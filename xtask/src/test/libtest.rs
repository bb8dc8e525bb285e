//! Counts what test harnesses say.
//!
//! libtest's JSON is unstable, so its lines for people are read: `test NAME ... ok`, and one `test result:` a program.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::process::display;

/// The sum over test programs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Tests passed, those that skipped themselves included.
    pub(crate) passed: usize,
    /// Tests failed, and test programs that died.
    pub(crate) failed: usize,
    /// Tests that are `#[ignore]`d, with the reason given there.
    pub(crate) ignored: BTreeMap<String, String>,
    /// Tests that a virtual machine skipped as was declared for its kernel.
    pub(crate) skipped_in_guests: usize,
    /// Every test that was heard of.
    pub(crate) seen: BTreeSet<String>,
    /// Whether to keep to oneself what the tests print.
    pub(crate) quiet: bool,
}

impl Tally {
    /// Runs `cargo test …`, passes its output on and counts.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<()> {
        let failed_before = self.failed;
        if self.quiet {
            command.stderr(Stdio::null());
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", display(command)))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("cannot read what the tests print")?;
            let line = String::from_utf8_lossy(&line);
            if !self.quiet {
                println!("{line}");
            }
            self.line(&line);
        }
        let status = child.wait().with_context(|| format!("lost {}", display(command)))?;
        if !status.success() {
            if self.failed == failed_before {
                // It did not compile, or a test program died without a word.
                self.failed = self.failed.saturating_add(1);
            }
            bail!("failed ({status}): {}", display(command));
        }
        Ok(())
    }

    fn line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed = self.passed.saturating_add(number_before(result, " passed"));
            self.failed = self.failed.saturating_add(number_before(result, " failed"));
        } else if let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|test| test.split_once(" ... "))
        {
            // Tests that are expected to panic have a mark behind their name.
            let name = name.strip_suffix(" - should panic").unwrap_or(name);
            if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.strip_prefix(", ").unwrap_or("ignored");
                self.ignored.insert(name.to_owned(), reason.to_owned());
            }
            self.seen.insert(name.to_owned());
        }
    }
}

/// The number before a word in `ok. 3 passed; 0 failed; …`, 0 if it is not there.
fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().filter(|before| before.len() < text.len());
    before.and_then(|before| before.rsplit(' ').next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn libtests_lines_are_counted() {
        let mut tally = Tally::default();
        let output = "running 4 tests\n\
            test decode::short_tail ... ok\n\
            test decode::panics - should panic ... ok\n\
            test dns::server_dead ... FAILED\n\
            test vm::boots ... ignored, needs an image\n\
            test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 12 filtered out; finished in 0.01s\n\
            test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        output.lines().for_each(|line| tally.line(line));
        assert_eq!((tally.passed, tally.failed), (42, 1));
        assert_eq!(tally.ignored.get("vm::boots").map(String::as_str), Some("needs an image"));
        assert!(tally.seen.contains("decode::panics"));
        assert_eq!(tally.seen.len(), 4);
    }

    #[test]
    fn what_only_looks_like_a_result_counts_nothing() {
        let mut tally = Tally::default();
        for line in
            ["", "test", "test result: ", "test result: passed", " test a ... ok", "test result: x passed"]
        {
            tally.line(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.seen.len()), (0, 0, 0));
    }
}
