//! Counts what test harnesses say.
//!
//! libtest's JSON is unstable, so its lines for people are read: `test NAME ... ok`, and one `test result:` a program.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, BufReader},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{process::display, side_by_side::side_by_side};

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
        self.ended(command, status, failed_before)
    }

    /// Runs several, so many at once, and counts. What each prints is passed on as a whole, when it is over.
    pub(crate) fn run_side_by_side(&mut self, commands: Vec<Command>, at_once: usize) -> Result<()> {
        let results = side_by_side(commands, at_once, |mut command| {
            let mut tally = Self::default();
            let result = tally.run_apart(&mut command);
            Ok((tally, result))
        })?;
        let mut all = Ok(());
        for (tally, result) in results {
            self.add(tally);
            all = all.and(result);
        }
        all
    }

    fn run_apart(&mut self, command: &mut Command) -> Result<()> {
        let output = command.output().with_context(|| format!("cannot run {}", display(command)))?;
        let said = String::from_utf8_lossy(&output.stdout);
        // Held for as long as it takes to say all of it.
        let _whole = io::stdout().lock();
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        print!("{said}");
        said.lines().for_each(|line| self.line(line));
        self.ended(command, output.status, 0)
    }

    fn ended(&mut self, command: &Command, status: ExitStatus, failed_before: usize) -> Result<()> {
        if !status.success() {
            if self.failed == failed_before {
                // It did not compile, or a test program died without a word.
                self.failed = self.failed.saturating_add(1);
            }
            bail!("failed ({status}): {}", display(command));
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped_in_guests = self.skipped_in_guests.saturating_add(other.skipped_in_guests);
        self.ignored.extend(other.ignored);
        self.seen.extend(other.seen);
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
    use std::process::Command;

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

    fn script(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn programs_side_by_side_add_up_and_one_that_dies_is_a_failure() {
        let (ok, dies) = ("test NAME ... ok\ntest result: ok. 1 passed; 0 failed;", "test c ... ");
        let mut tally = Tally::default();
        let passing = ["a", "b"].map(|name| script(&format!("echo '{}'", ok.replace("NAME", name))));
        tally.run_side_by_side(passing.into(), 2).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.seen.len()), (2, 0, 2));
        let failing = vec![script(&format!("printf '{dies}'; kill -9 $$")), script(&format!("echo '{ok}'"))];
        tally.run_side_by_side(failing, 2).unwrap_err();
        assert_eq!((tally.passed, tally.failed), (3, 1));
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
