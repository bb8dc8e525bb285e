//! How long something took, with and without what the machine took.

use std::time::Instant;

use crate::resolver::Took;

/// How long threads of this process, which asks and answers, could have run and had no CPU, in nanoseconds (proc_pid_schedstat: the second number). It is the
/// machine's time, not glibc's, unless the kernel counts a sleep.
pub fn without_cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// A time from a beginning on, with and without what the machine took.
pub fn since(start: Instant, without_cpu: u64) -> Took {
    let elapsed_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let with_cpu_ns = elapsed_ns.saturating_sub(without_cpu_ns().saturating_sub(without_cpu));
    Took { elapsed_ns, with_cpu_ns }
}
