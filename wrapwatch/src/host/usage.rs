//! What a process uses: threads, CPU time, memory.

use procfs::process::Process;

use super::HostError;

/// One process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Threads.
    pub threads: u32,
    /// CPU time since its start, nanoseconds; in ticks of 10 ms as a rule.
    pub cpu_ns: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}

/// Of `pid`, from `/proc/PID/stat`.
pub fn read(pid: u32) -> Result<Usage, HostError> {
    let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
    let process = Process::new(raw).map_err(|e| HostError::proc(pid, "stat", e))?;
    let stat = process.stat().map_err(|e| HostError::proc(pid, "stat", e))?;
    Ok(Usage {
        threads: u32::try_from(stat.num_threads).unwrap_or(0),
        cpu_ns: ticks_ns(stat.utime.saturating_add(stat.stime)),
        rss_bytes: stat.rss.saturating_mul(procfs::page_size()),
    })
}

/// Clock ticks (`sysconf(_SC_CLK_TCK)`) in nanoseconds.
pub fn ticks_ns(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = read(std::process::id()).unwrap();
        assert!(usage.threads >= 1 && usage.rss_bytes > 100_000, "{usage:?}");
        assert_eq!(ticks_ns(procfs::ticks_per_second()), 1_000_000_000);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(matches!(read(4_194_303), Err(HostError::NoProcess(_) | HostError::Exited(_))));
    }
}
