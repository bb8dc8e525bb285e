//! What follows from a kernel's release, the running one's or the one that a trace was recorded on.

/// The first two numbers of what `uname -r` says; None where there are none.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Linux from this version on lets a task be preempted within a tracepoint's program, keeping only migration off, and until the task goes on skips
/// every other run of that program on that CPU (`bpf_trace_run`): the calls of the tasks that run in between. Seen on 7.2, where of 26 connections up to
/// five were reported wrongly with raw tracepoints, and not up to 6.18. By 7.2 those of perf tracepoints are skipped likewise, but there a program is one call's enter or exit,
/// so that a thread preempted in it hides less.
const PREEMPTIBLE: (u32, u32) = (7, 0);

/// Whether a kernel of this release skips calls.
pub fn skips_calls(release: &str) -> bool {
    version(release).is_some_and(|version| version >= PREEMPTIBLE)
}

/// Linux from this version on takes trampolines off without waiting for a process that a killed PID namespace waits for (commit 1612160b9127); before, both wait for ever.
const WAITS_NO_MORE: (u32, u32) = (6, 9);

/// Whether a kernel of this release can wait for ever for trampolines to be taken off in a PID namespace that is killed. Those before Linux 5.7 cannot, and have none that are
/// of use.
pub fn waits_for_tasks(release: &str) -> bool {
    version(release).is_none_or(|version| version < WAITS_NO_MORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_two_numbers() {
        assert_eq!(version("7.2.13+deb14-cloud-amd64"), Some((7, 2)));
        assert_eq!(version("6.12-rc1"), Some((6, 12)));
        for broken in ["", "linux", "7", "7."] {
            assert_eq!(version(broken), None, "{broken}");
        }
    }

    #[test]
    fn linux_leaves_out_calls_from_seven_on() {
        assert!(skips_calls("7.0.0") && skips_calls("7.2.13+deb14-cloud-amd64"));
        assert!(!skips_calls("6.18.44") && !skips_calls(""));
    }

    #[test]
    fn linux_can_wait_for_ever_before_six_nine() {
        assert!(waits_for_tasks("6.1.0-50-cloud-amd64") && waits_for_tasks(""));
        assert!(!waits_for_tasks("6.9.0") && !waits_for_tasks("7.2.13"));
    }
}
