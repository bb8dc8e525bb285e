//! The tests, in the order in which they run. Their names are in `tests.toml`, too, so that one which is not run is missed.

mod attach;
mod bare;
mod breaking;
mod descriptors;
mod ladder;
mod mariadb;
mod programs;
mod scenes;

use std::io;

use anyhow::{Context as _, Result};
use wrapwatch::probe::raw_skips_calls;

use crate::{report::Report, site::Site};

/// Runs all of them.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    // Only whether a guest comes up is asked.
    if report.option("only") == Some("nothing") {
        return Ok(());
    }
    if breaking::run(report)? {
        return Ok(());
    }
    let site = match Site::start() {
        Ok(site) => site,
        Err(error) => {
            report.test("site", || Err(error));
            return Ok(());
        }
    };
    report.test("site", || site.works());
    attach::run(report, &site);
    scenes::run(report, &site, &scenes::Way::ALL);
    descriptors::run(report, &site);
    bare::run(report, &site);
    mariadb::run(report, &site);
    ladder::run(report, &site);
    Ok(())
}

/// A test that judges what another one brought, which may have failed.
fn given<T>(what: &Result<T>) -> Result<&T> {
    what.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// Starts a wrapwatch that nothing preempts, where that matters: from Linux 7.0 on it can be preempted while it reads its counters (`bpf_disable_instrumentation`),
/// and until it goes on the kernel leaves out perf's programs on that CPU. An emulated machine, in which that reading takes many times longer, shows it
/// in one run of three: a connection is told without its client.
fn unpreempted<T>(start: impl FnOnce() -> Result<T>) -> Result<T> {
    if !raw_skips_calls() {
        return start();
    }
    schedule(libc::SCHED_FIFO, 1)?;
    // Processes and threads inherit it.
    let started = start();
    schedule(libc::SCHED_OTHER, 0)?;
    started
}

fn schedule(policy: libc::c_int, sched_priority: libc::c_int) -> Result<()> {
    let parameter = libc::sched_param { sched_priority };
    // SAFETY: of the calling thread; the parameter lives until the call is over.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("sched_setscheduler"),
    }
}
