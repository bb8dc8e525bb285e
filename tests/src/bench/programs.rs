//! The programs' own run time (`bpf_stats`), from outside: `/proc/PID/fdinfo` of whoever holds them.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};

/// Runs of programs and the time they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// Nanoseconds.
    pub ns: u64,
    /// How often they ran.
    pub runs: u64,
}

impl RunTime {
    /// What came since an earlier look.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self { ns: self.ns.saturating_sub(before.ns), runs: self.runs.saturating_sub(before.runs) }
    }
}

/// Has the kernel keep count for as long as the value lives.
pub fn keep_count() -> Result<OwnedFd> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime).context("cannot turn on bpf_stats")
}

/// Of all programs of a process.
pub fn of_process(pid: u32) -> Result<RunTime> {
    let mut sum = RunTime::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        add(&mut sum, &entry?.path());
    }
    Ok(sum)
}

/// Of these.
pub fn of(programs: &[OwnedFd]) -> RunTime {
    let mut sum = RunTime::default();
    for program in programs {
        add(&mut sum, Path::new(&format!("/proc/self/fdinfo/{}", program.as_raw_fd())));
    }
    sum
}

/// Descriptors of other things have no such lines; one closed meanwhile has none at all.
fn add(sum: &mut RunTime, path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    sum.ns += value("run_time_ns:");
    sum.runs += value("run_cnt:");
}
