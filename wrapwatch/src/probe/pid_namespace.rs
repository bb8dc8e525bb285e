//! Whose numbers of processes are meant.
//!
//! /proc shows the numbers of the PID namespace for which it was mounted (pid_namespaces(7)), the kernel's programs by themselves those of the first one, and
//! perf_event_open(2), pidfd_open(2) and kill(2) take those of the caller's. On a machine without containers all are the same. Within one they are not: the
//! kernel side is then told to ask for the numbers of that namespace, and what has none there is refused by name.

use std::{fs, os::unix::fs::MetadataExt as _};

use nix::sys::stat::{major, minor};
use wrapwatch_common::maps::PidNamespace;

use super::ProbeError;

/// Inode of the first PID namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const FIRST: u64 = 0xEFFF_FFFC;

/// The namespace whose numbers /proc shows, for the kernel side.
pub(super) fn read() -> Result<PidNamespace, ProbeError> {
    // In a /proc of a namespace that this process is not in, there is no `self`. Without a /proc there is nothing at all.
    let there = fs::exists("/proc/version").unwrap_or(false);
    let status = fs::read_to_string("/proc/self/status");
    let status = status.map_err(|why| if there { ProbeError::OtherProc } else { ProbeError::NoProc(why) })?;
    if depth(&status) > 1 {
        return Err(ProbeError::OtherProc);
    }
    let Ok(file) = fs::metadata("/proc/self/ns/pid") else { return Ok(PidNamespace::default()) };
    Ok(named(file.dev(), file.ino()))
}

/// Whether this process is in the first one.
pub(super) fn is_first() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|file| file.ino() == FIRST)
}

/// The namespace of this file. The device as the kernel has it within (`MKDEV`), not as it tells it to user space.
fn named(dev: u64, inode: u64) -> PidNamespace {
    if inode == FIRST {
        return PidNamespace::default();
    }
    PidNamespace { dev: major(dev) << 20 | minor(dev), inode }
}

/// Refuses a process that the kernel side cannot name: one in a namespace within this one. From the first namespace all can be named.
pub(super) fn check(namespace: PidNamespace, pid: u32) -> Result<(), ProbeError> {
    if namespace == PidNamespace::default() {
        return Ok(());
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    if depth(&status) > 1 { Err(ProbeError::OtherPidNamespace { pid }) } else { Ok(()) }
}

/// In how many namespaces a process has a number, from that of /proc inwards (`NSpid`, proc_pid_status(5)). A kernel without namespaces does not say.
fn depth(status: &str) -> usize {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.map_or(1, |numbers| numbers.split_whitespace().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_namespaces_within_are_counted() {
        assert_eq!(depth("Name:\tmysqld\nNSpid:\t97\n"), 1);
        assert_eq!(depth("Name:\tmysqld\nNSpid:\t4711\t97\nNSpgid:\t1\t1\t1\n"), 2);
        assert_eq!(depth("Name:\tmysqld\n"), 1);
    }

    #[test]
    fn of_the_first_namespace_nothing_needs_be_asked() {
        assert_eq!(named(4, FIRST), PidNamespace::default());
        // Minor number 0x12c as stat(2) tells it.
        assert_eq!(named(0x10_002c, 4_026_532_000), PidNamespace { dev: 0x12c, inode: 4_026_532_000 });
    }

    #[test]
    fn a_process_that_is_gone_is_not_refused_for_that() {
        check(PidNamespace { dev: 4, inode: 1 }, u32::MAX).unwrap();
    }
}
