//! What is said on the second serial port.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write as _,
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::record::{Outcome, Record};

/// As the kernel names it; on ARM the console's port is of another kind, and this is the first of this one.
const PORT: &str = if cfg!(target_arch = "aarch64") { "/dev/ttyS0" } else { "/dev/ttyS1" };

/// Why a test did not run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Skipped(pub(crate) String);

/// The port, and what went over it.
pub(crate) struct Report {
    port: File,
    options: BTreeMap<String, String>,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    /// Opens it and says that the machine is up.
    pub(crate) fn open(options: BTreeMap<String, String>) -> Result<Self> {
        let port =
            OpenOptions::new().write(true).open(PORT).with_context(|| format!("cannot open {PORT}"))?;
        let mut report = Self { port, options, passed: 0, failed: 0, skipped: 0 };
        let release = nix::sys::utsname::uname()?.release().to_string_lossy().into_owned();
        report.say(&Record::Up { release })?;
        Ok(report)
    }

    /// An option of the kernel's command line.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Runs a test and says how it ended.
    pub(crate) fn test(&mut self, name: &str, test: impl FnOnce() -> Result<()>) {
        self.begin(name);
        let began = Instant::now();
        let result = test();
        self.ended(name, began, result);
    }

    /// Says that a test begins.
    pub(crate) fn begin(&mut self, name: &str) {
        eprintln!("test {name} …");
        self.must_say(&Record::Begin { test: name.to_owned() });
    }

    /// Says how a test ended.
    pub(crate) fn ended(&mut self, name: &str, began: Instant, result: Result<()>) {
        let (outcome, reason) = match result {
            Ok(()) => (Outcome::Pass, None),
            Err(error) if error.is::<Skipped>() => (Outcome::Skip, Some(format!("{error:#}"))),
            Err(error) => (Outcome::Fail, Some(format!("{error:#}"))),
        };
        match outcome {
            Outcome::Pass => self.passed += 1,
            Outcome::Fail => self.failed += 1,
            Outcome::Skip => self.skipped += 1,
        }
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        eprintln!("test {name}: {outcome:?} after {ms} ms {}", reason.as_deref().unwrap_or_default());
        // One record swallowed on purpose: a run has to notice.
        if self.option("break") == Some("record") {
            return;
        }
        self.must_say(&Record::Test { test: name.to_owned(), outcome, reason, ms });
    }

    /// Says something beside the tests.
    pub(crate) fn must_say(&mut self, record: &Record) {
        if let Err(error) = self.say(record) {
            // The missing record will be noticed.
            eprintln!("cannot write to {PORT}: {error:#}");
        }
    }

    fn say(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.port.write_all(&line)?;
        Ok(())
    }

    /// The last record; written out when this returns.
    pub(crate) fn verdict(mut self) -> Result<()> {
        let (passed, failed, skipped) = (self.passed, self.failed, self.skipped);
        self.say(&Record::Verdict { passed, failed, skipped })?;
        // SAFETY: tcdrain(3) waits until everything is written to the descriptor, which is open.
        unsafe { libc::tcdrain(std::os::fd::AsRawFd::as_raw_fd(&self.port)) };
        Ok(())
    }
}
