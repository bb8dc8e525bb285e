//! What wrapwatch costs: the measurements behind `cargo xtask bench` and `docs/performance.md`.
//!
//! Ratios, never times, where other things on the machine matter: every round has a baseline of its own. It is no test, and asserts nothing.

pub mod floor;
pub mod generator;
mod goals;
mod own;
pub mod programs;
mod ratios;
mod report;
mod rows;
mod screen;
pub mod soak;
pub(crate) mod stats;
mod tools;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use floor::Hook;
use own::{Own, Scale};
use ratios::{Plan, Ratios};
pub use report::{Machine, Results};
pub use rows::Row;
use rows::Size;
use tools::{Bench, Tool};

/// What to measure.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Few rounds and little work.
    pub quick: bool,
    /// Only these rows; none: all, and wrapwatch's own numbers.
    pub only: Vec<Row>,
    /// Only wrapwatch's own numbers.
    pub own: bool,
}

/// Rounds of a full run go on for so long.
const FULL_TIME: Duration = Duration::from_mins(12);

/// Measures. Must be called while there is one thread: it may mount tracefs for itself.
pub fn measure(options: &Options) -> Result<(Results, Machine)> {
    let machine = Machine::look();
    see_tracefs()?;
    let lab = rows::lab()?;
    rows::prepare_oltp(&lab)?;
    let scratch = Scratch::new()?;
    let hooks = hooks(&scratch.0, lab.server_pid()?)?;
    eprintln!("floor: {} empty programs", hooks.len());
    let bench = Bench { scratch: &scratch.0, hooks: &hooks };
    let (size, scale) = if options.quick { (Size::QUICK, Scale::QUICK) } else { (Size::FULL, Scale::FULL) };
    let rows = if options.only.is_empty() { Row::ALL.to_vec() } else { options.only.clone() };
    let plan = if options.quick {
        Plan { size, rounds: 2, at_least: Duration::ZERO }
    } else {
        Plan { size, rounds: 6, at_least: FULL_TIME }
    };
    let ratios = (!options.own).then(|| Ratios::measure(&bench, &lab, &plan, &rows)).transpose()?;
    let own = options.only.is_empty().then(|| Own::measure(&bench, &lab, size, scale)).transpose()?;
    let goals = goals::goals(ratios.as_ref(), own.as_ref());
    Ok((Results { ratios, rows, own, goals, quick: options.quick }, machine))
}

/// The other tools want tracefs, and so does the floor where wrapwatch's hooks are tracepoints: mounted, where it is not, for this process and its children.
fn see_tracefs() -> Result<()> {
    use nix::mount::{MsFlags, mount};
    if wrapwatch::probe::tracefs_mounted().is_some() {
        return Ok(());
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("none"), "/sys/kernel/tracing", Some("tracefs"), MsFlags::empty(), none)?;
    Ok(())
}

/// A directory that goes with the value.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("wrapwatch-bench-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The hooks that wrapwatch puts programs on here: those that a trace of the server says it has attached.
fn hooks(scratch: &Path, pid: u32) -> Result<Vec<Hook>> {
    let bench = Bench { scratch, hooks: &[] };
    let running = bench.start(Tool::Record, pid)?;
    running.stop()?;
    Hook::of_trace(&bench.trace())
}
