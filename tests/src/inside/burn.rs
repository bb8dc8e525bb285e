//! Starves the server of CPU.
//!
//! The server's threads are bound to one CPU and made idle (`SCHED_IDLE`, sched(7)): they run only when nothing else there wants
//! to. Two ordinary threads want to by then, on that CPU alone: to everything else on the machine they are just busy.

use std::fs;
use std::sync::Barrier;
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
    let until = Instant::now() + length;
    // Whoever sees that the server's threads are idle ones finds the CPU taken.
    let ready = Barrier::new(3);
    let burned = std::thread::scope(|scope| {
        let burners = [scope.spawn(|| spin(&one, until, &ready)), scope.spawn(|| spin(&one, until, &ready))];
        ready.wait();
        let starved = set(server, &one, libc::SCHED_IDLE);
        let burned = burners
            .into_iter()
            .try_for_each(|burner| burner.join().unwrap_or_else(|_| bail!("a burning thread failed")));
        starved.and(burned)
    });
    set(server, &everywhere, libc::SCHED_OTHER)?;
    burned
}

fn spin(cpu: &CpuSet, until: Instant, ready: &Barrier) -> Result<()> {
    let pinned = sched_setaffinity(Pid::from_raw(0), cpu);
    ready.wait();
    pinned?;
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
