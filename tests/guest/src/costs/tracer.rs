//! What looks on while instructions are counted.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch_tests::{
    bench::floor::{Floor, Hook},
    watch::binary,
};

use crate::processor;

/// What `record` writes.
const TRACE: &str = "/tmp/costs.wwt";

/// Attached.
pub(super) enum Tracer {
    /// Empty programs.
    Floor(Floor),
    /// wrapwatch, and who reads what it says.
    Wrapwatch(Child, JoinHandle<String>),
}

impl fmt::Display for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Floor(_) => "empty programs",
            Self::Wrapwatch(..) => "wrapwatch",
        })
    }
}

impl Tracer {
    /// Empty programs on the hooks of the trace that was written last.
    pub(super) fn floor(pid: u32) -> Result<Self> {
        Ok(Self::Floor(Floor::attach(&Hook::of_trace(Path::new(TRACE))?, pid)?))
    }

    /// wrapwatch, once it sees everything.
    pub(super) fn wrapwatch(command: &str, hooks: &str, pid: u32) -> Result<Self> {
        let mut wrapwatch = Command::new(binary()?);
        wrapwatch.args([command, "--hooks", hooks, "-p", &pid.to_string()]);
        if command == "record" {
            wrapwatch.args(["--force", "-o", TRACE]);
        }
        // SAFETY: between fork and exec it makes one system call.
        unsafe { wrapwatch.pre_exec(|| processor::schedule(libc::SCHED_OTHER)) };
        let mut child =
            wrapwatch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let mut said = String::new();
        while !said.contains("watching") {
            ensure!(stderr.read_line(&mut said)? > 0, "wrapwatch did not attach: {}", said.trim());
        }
        let reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                said.push_str(&line);
                said.push('\n');
            }
            said
        });
        Ok(Self::Wrapwatch(child, reader))
    }

    /// Whose threads are its own.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Floor(_) => None,
            Self::Wrapwatch(child, _) => Some(child.id()),
        }
    }

    /// Takes it off.
    pub(super) fn stop(self) -> Result<()> {
        let (mut child, reader) = match self {
            Self::Wrapwatch(child, reader) => (child, reader),
            Self::Floor(programs) => {
                drop(programs);
                return Ok(());
            }
        };
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
        let status = child.wait()?;
        let said = reader.join().unwrap_or_default();
        ensure!(status.success(), "wrapwatch ended with {status}: {}", said.trim());
        eprintln!("{}", said.trim());
        Ok(())
    }
}
