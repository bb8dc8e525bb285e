//! A recorder that is watched for a long time: what it has reported is counted and not kept.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;

use crate::{disk::Disk, wait_for, watch::binary};

/// Longest wait for what should take a moment, with the machine's other work beside it.
const LIMIT: Duration = Duration::from_mins(2);
/// Nothing is on its way any more where nothing has come for so long: losses are reported ten times a second.
const QUIET: Duration = Duration::from_secs(1);

/// What a line of JSON is needed for.
#[derive(Deserialize)]
struct Line {
    r#type: String,
    #[serde(default)]
    by: Vec<(String, u64)>,
    #[serde(default)]
    complete: Option<bool>,
}

/// What it has reported.
#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    incomplete: AtomicU64,
    lost: AtomicU64,
    saved: AtomicU64,
    /// Its last lines on stderr.
    said: Mutex<Vec<String>>,
}

/// A running recorder.
pub(super) struct Recorder {
    pub(super) name: &'static str,
    pub(super) disk: Disk,
    child: Child,
    counts: Arc<Counts>,
}

/// What it takes of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Takes {
    pub(super) resident_kb: u64,
    pub(super) descriptors: usize,
}

impl Recorder {
    /// Starts `wrapwatch record` with a disk of so many bytes at `at`.
    pub(super) fn start(name: &'static str, at: &Path, bytes: u64, args: &[String]) -> Result<Self> {
        let mut command = Disk::command(at, bytes, &binary()?);
        command.args(["record", "--json", "--output"]).arg(at.join("soak.wwt")).args(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let counts = Arc::new(Counts::default());
        let (lines, theirs) = (child.stdout.take().context("no stdout")?, Arc::clone(&counts));
        std::thread::spawn(move || {
            BufReader::new(lines).lines().map_while(Result::ok).for_each(|line| theirs.take(&line));
        });
        let (said, theirs) = (child.stderr.take().context("no stderr")?, Arc::clone(&counts));
        std::thread::spawn(move || {
            BufReader::new(said).lines().map_while(Result::ok).for_each(|line| theirs.said(line));
        });
        Ok(Self { name, disk: Disk::of(child.id(), at), child, counts })
    }

    /// Waits until it has said a line with this, of its last ones.
    pub(super) fn wait_said(&mut self, what: &str) -> Result<()> {
        let said = Arc::clone(&self.counts);
        let found = wait_for(what, || Ok(said.lines().iter().any(|line| line.contains(what))));
        found.with_context(|| format!("{}: {:?}", self.name, self.counts.lines()))
    }

    /// Connections reported and accepts lost, together: as many as were accepted.
    pub(super) fn accepts(&self) -> u64 {
        self.connections() + self.lost()
    }

    pub(super) fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    pub(super) fn incomplete(&self) -> u64 {
        self.counts.incomplete.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    pub(super) fn saved(&self) -> u64 {
        self.counts.saved.load(Ordering::Relaxed)
    }

    /// Waits until it has reported so many accepts and nothing comes any more, and no longer than a moment without news where it has lost more than `lost`; fails where
    /// it has ended.
    pub(super) fn settle(&mut self, accepts: u64, lost: u64) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut last = (self.accepts(), Instant::now());
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} has ended: {status}: {:?}", self.name, self.counts.lines());
            }
            std::thread::sleep(Duration::from_millis(20));
            if self.accepts() != last.0 {
                last = (self.accepts(), Instant::now());
            }
            let quiet = last.1.elapsed();
            let comes = self.accepts() < accepts
                && Instant::now() < deadline
                && (self.lost() == lost || quiet < 3 * QUIET);
            if quiet >= QUIET && !comes {
                return Ok(());
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// What it takes now.
    pub(super) fn takes(&self) -> Result<Takes> {
        let proc = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{proc}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.context("no VmRSS")?.trim_end_matches("kB").trim().parse()?;
        Ok(Takes { resident_kb: resident, descriptors: fs::read_dir(format!("{proc}/fd"))?.count() })
    }

    /// Ends it; what it said last where it did not end well. A recorder whose disk was full ends with the trace that it could not save then: of all that is wrong,
    /// that is not.
    pub(super) fn stop(mut self, disk_was_full: bool) -> Result<()> {
        self.signal(Signal::SIGINT)?;
        let deadline = Instant::now() + LIMIT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("{} does not end", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = self.child.wait()?;
        let said = self.counts.lines();
        let unsaved = said.last().is_some_and(|line| line.contains(": no space left for "));
        if !(status.success() || disk_was_full && unsaved) {
            bail!("{} ended with {status}: {said:?}", self.name);
        }
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Counts {
    fn take(&self, line: &str) {
        let Ok(line) = serde_json::from_str::<Line>(line) else {
            return self.said(format!("no JSON: {line}"));
        };
        match line.r#type.as_str() {
            "connection" => {
                if line.complete == Some(false) {
                    self.incomplete.fetch_add(1, Ordering::Relaxed);
                }
                self.connections.fetch_add(1, Ordering::Relaxed);
            }
            "lost" => {
                let accepts = line.by.iter().filter(|(name, _)| name == "lost_accept").map(|(_, n)| n).sum();
                self.lost.fetch_add(accepts, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn said(&self, line: String) {
        if line.contains(": saved to") {
            self.saved.fetch_add(1, Ordering::Relaxed);
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() > 20 {
            said.remove(0);
        }
        said.push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
