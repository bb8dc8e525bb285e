//! The columns: what looks at the server while it works.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::floor::{Floor, Hook};
use crate::watch;

/// A tool that is not ready, or not gone, by then never will be.
const LIMIT: Duration = Duration::from_mins(1);

/// What an on-call person would write: the events that wrapwatch sees, printed.
const SCRIPT: &str = include_str!("same-events.bt");

/// What looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Nothing.
    None,
    /// Programs that do nothing, on the same hooks.
    Floor,
    /// `wrapwatch live` to /dev/null.
    Live,
    /// `wrapwatch record`.
    Record,
    /// The same events by a bpftrace script.
    Bpftrace,
    /// strace as the article has it.
    Strace,
    /// `perf trace` with strace's filter.
    PerfTrace,
}

impl Tool {
    /// All of them, in the table's order.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Floor, Self::Live, Self::Record, Self::Bpftrace, Self::Strace, Self::PerfTrace];

    /// As the table heads it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Floor => "floor",
            Self::Live => "live",
            Self::Record => "record",
            Self::Bpftrace => "bpftrace",
            Self::Strace => "strace",
            Self::PerfTrace => "perf trace",
        }
    }

    /// Tools that slow the server down so much that few rounds with little work tell enough.
    pub const fn is_heavy(self) -> bool {
        matches!(self, Self::Bpftrace | Self::Strace | Self::PerfTrace)
    }
}

/// A tool at work.
pub enum Running {
    /// Nothing.
    None,
    /// The empty programs, in this process.
    Floor(Floor),
    /// A process.
    Process(Process),
}

/// A tool's process.
pub struct Process {
    child: Child,
    stderr: Option<JoinHandle<String>>,
    /// From its start until it said that it sees everything.
    pub attached_in: Duration,
}

/// Where the tools' files go.
pub struct Bench<'a> {
    /// A directory for output.
    pub scratch: &'a Path,
    /// Hooks for the floor.
    pub hooks: &'a [Hook],
}

impl Bench<'_> {
    /// Starts a tool on a server; it sees everything when this returns.
    pub fn start(&self, tool: Tool, pid: u32) -> Result<Running> {
        Ok(match tool {
            Tool::None => Running::None,
            Tool::Floor => Running::Floor(Floor::attach(self.hooks, pid)?),
            Tool::Live => Running::Process(wrapwatch(["live", "-p", &pid.to_string()])?),
            Tool::Record => {
                let file = self.trace().display().to_string();
                Running::Process(wrapwatch(["record", "--force", "-p", &pid.to_string(), "-o", &file])?)
            }
            Tool::Bpftrace => Running::Process(self.bpftrace(pid)?),
            Tool::Strace => {
                let mut command = Command::new("strace");
                command.args([
                    "-f",
                    "-e",
                    "trace=open,openat,read",
                    "-o",
                    "/dev/null",
                    "-p",
                    &pid.to_string(),
                ]);
                command.stdout(Stdio::null());
                Running::Process(Process::start(command, "attached")?)
            }
            Tool::PerfTrace => Running::Process(perf_trace(pid)?),
        })
    }

    /// The trace that [`Tool::Record`] writes.
    pub fn trace(&self) -> PathBuf {
        self.scratch.join("bench.wwt")
    }

    fn bpftrace(&self, pid: u32) -> Result<Process> {
        let script = self.scratch.join("same-events.bt");
        fs::write(&script, SCRIPT)?;
        let out = self.scratch.join("bpftrace.out");
        let mut command = Command::new("bpftrace");
        command.arg(script).arg(pid.to_string()).stdout(File::create(&out)?);
        let begun = Instant::now();
        let mut process = Process::spawn(command, None)?;
        process.wait_until("bpftrace did not attach", |_| {
            Ok(fs::read_to_string(&out).is_ok_and(|text| text.contains("ready")))
        })?;
        process.attached_in = begun.elapsed();
        Ok(process)
    }
}

/// Starts wrapwatch with these arguments, its output thrown away.
pub fn wrapwatch<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<Process> {
    let mut command = Command::new(watch::binary()?);
    command.args(args).stdout(Stdio::null());
    Process::start(command, "watching")
}

/// It says nothing when it is ready: then it has events open and waits for them.
fn perf_trace(pid: u32) -> Result<Process> {
    let mut command = Command::new("perf");
    command
        .args(["trace", "-e", "openat,read", "-o", "/dev/null", "-p", &pid.to_string()])
        .stdout(Stdio::null());
    let mut process = Process::spawn(command, None)?;
    process.wait_until("perf trace did not attach", |id| {
        let events = fs::read_dir(format!("/proc/{id}/fd"))?
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().contains("[perf_event]"))
            .count();
        let waits = fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") S "));
        Ok(events > 0 && waits)
    })?;
    Ok(process)
}

impl Process {
    /// Starts wrapwatch with these arguments and its output in a file.
    pub fn into_file(args: &[&str], out: &Path) -> Result<Self> {
        let mut command = Command::new(watch::binary()?);
        command.args(args).stdout(File::create(out)?);
        Self::start(command, "watching")
    }

    /// Starts it and waits until it has said `ready` on stderr.
    fn start(command: Command, ready: &'static str) -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let begun = Instant::now();
        let mut process = Self::spawn(command, Some((ready, sender)))?;
        if receiver.recv_timeout(LIMIT).is_err() {
            bail!("it did not attach: {}", process.stop()?.0.trim());
        }
        process.attached_in = begun.elapsed();
        Ok(process)
    }

    fn spawn(mut command: Command, ready: Option<(&'static str, mpsc::Sender<()>)>) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let stderr = child.stderr.take().context("no stderr")?;
        let reader = std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((word, sender)) = &ready
                    && line.contains(word)
                {
                    let _ = sender.send(());
                }
                all.push_str(&line);
                all.push('\n');
            }
            all
        });
        Ok(Self { child, stderr: Some(reader), attached_in: Duration::ZERO })
    }

    fn wait_until(&mut self, what: &str, mut ready: impl FnMut(u32) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let said = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
                let last = said.lines().last().unwrap_or_default();
                bail!("{what}: it ended with {status}: {last}");
            }
            if ready(self.child.id()).unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{what} within {} s", LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C does; what it said on stderr, and how long its end took.
    pub fn stop(mut self) -> Result<(String, Duration)> {
        let begun = Instant::now();
        // One that has ended by itself is as good.
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT);
        while self.child.try_wait()?.is_none() {
            ensure!(begun.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        let took = begun.elapsed();
        let said = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        Ok((said, took))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Takes it off; what it said.
    pub fn stop(self) -> Result<String> {
        match self {
            Self::None => Ok(String::new()),
            Self::Floor(floor) => {
                drop(floor);
                Ok(String::new())
            }
            Self::Process(process) => Ok(process.stop()?.0),
        }
    }
}
