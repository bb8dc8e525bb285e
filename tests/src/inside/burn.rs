//! Starves the server of CPU.
//!
//! The server's threads are bound to one CPU and made idle (`SCHED_IDLE`, sched(7)): they run only when nothing else there wants
//! to. Then two ordinary threads want to, on that CPU alone: to everything else on the machine they are just busy.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Longest starvation.
const MOST: Duration = Duration::from_secs(20);

/// Starves it for so long; afterwards everything is as before.
pub(super) fn burn(server: Pid, ms: u64) -> Result<()> {
    let length = Duration::from_millis(ms);
    ensure!(length <= MOST, "at most {} ms", MOST.as_millis());
    let everywhere = sched_getaffinity(server).context("cannot read the server's CPUs")?;
    let last = (0..CpuSet::count()).rev().find(|cpu| everywhere.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.context("the server has no CPU")?)?;
    let starved = set(server, &one, libc::SCHED_IDLE);
    let burned = starved.and_then(|()| {
        let until = Instant::now() + length;
        std::thread::scope(|scope| {
            let burners = [scope.spawn(|| spin(&one, until)), scope.spawn(|| spin(&one, until))];
            burners
                .into_iter()
                .try_for_each(|burner| burner.join().unwrap_or_else(|_| bail!("a burning thread failed")))
        })
    });
    set(server, &everywhere, libc::SCHED_OTHER)?;
    burned
}

fn spin(cpu: &CpuSet, until: Instant) -> Result<()> {
    sched_setaffinity(Pid::from_raw(0), cpu)?;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Sets CPUs and policy of all threads; those that it starts meanwhile inherit them.
fn set(server: Pid, cpus: &CpuSet, policy: libc::c_int) -> Result<()> {
    for task in fs::read_dir(format!("/proc/{server}/task"))? {
        let name = task?.file_name();
        let tid = name.to_str().and_then(|tid| tid.parse().ok()).context("a thread without a number")?;
        let param = libc::sched_param { sched_priority: 0 };
        // A thread may have ended since the directory was read.
        let _ = sched_setaffinity(Pid::from_raw(tid), cpus);
        // SAFETY: the parameter is valid for the call's duration.
        unsafe { libc::sched_setscheduler(tid, policy, &raw const param) };
    }
    Ok(())
}
