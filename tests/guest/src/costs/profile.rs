//! What wrapwatch's part of the cost consists of: its own threads, and its programs, one by one. On the console, for whoever wants to lower it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;

/// Instructions so far, by thread.
#[derive(Debug)]
pub(super) struct Threads(BTreeMap<PathBuf, (String, u64)>);

impl Threads {
    /// Of this process.
    pub(super) fn now(pid: u32) -> Result<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
        let tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
        Ok(Self(tasks.filter_map(|task| Some((task.clone(), one(&task)?))).collect()))
    }

    /// What each ran between two moments and then until this one; of one that has come since nothing.
    pub(super) fn since(&self, between: [&Self; 2]) -> Vec<(String, u64, u64)> {
        let [began, ended] = between;
        let ran = |(task, (name, now)): (&PathBuf, &(String, u64))| {
            let (began, ended) = (began.0.get(task)?.1, ended.0.get(task)?.1);
            Some((name.clone(), ended.saturating_sub(began), now.saturating_sub(ended)))
        };
        self.0.iter().filter_map(ran).collect()
    }
}

/// Its name and how long it has been on a processor: nanoseconds, which are instructions here.
fn one(task: &Path) -> Option<(String, u64)> {
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let times = fs::read_to_string(task.join("schedstat")).ok()?;
    Some((name.trim().to_owned(), times.split_whitespace().next()?.parse().ok()?))
}

/// Runs and instructions so far of each program that is loaded, by its number.
#[derive(Debug)]
pub(super) struct Programs(BTreeMap<u32, (String, u64, u64)>);

impl Programs {
    /// As the kernel has counted until now.
    pub(super) fn now() -> Result<Self> {
        let mut programs = BTreeMap::new();
        for program in loaded_programs() {
            let program = program.context("a loaded program")?;
            let name = program.name_as_str().unwrap_or("?").to_owned();
            programs.insert(program.id(), (name, program.run_count(), ns(program.run_time())));
        }
        Ok(Self(programs))
    }

    /// Those that ran since, in words: how often for one of so many times, and what a run took.
    pub(super) fn since(&self, before: &Self, times: u32) -> String {
        let mut words = String::new();
        for (id, (name, runs, ns)) in &self.0 {
            let (had_run, had_taken) = before.0.get(id).map_or((0, 0), |(_, runs, ns)| (*runs, *ns));
            let (runs, ns) = (runs.saturating_sub(had_run), ns.saturating_sub(had_taken));
            if runs >= u64::from(times) / 2 {
                let tenths = runs.saturating_mul(10) / u64::from(times);
                words.push_str(&format!(" {name} {}.{} x {},", tenths / 10, tenths % 10, ns / runs));
            }
        }
        words
    }
}

fn ns(time: std::time::Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}
