//! Calls of a process that is not the server: this one.

use std::{fs::File, io::Read as _, thread, time::Duration};

use anyhow::Result;

use crate::processor::{self, timed};

/// Calls in a round: an interrupt falls into one now and then.
const CALLS: u32 = 301;

/// They are made twice, so far apart that not both are made while wrapwatch has the kernel take times.
const APART: Duration = Duration::from_secs(1);

/// A call that nobody hooks.
pub(super) fn unhooked() -> u64 {
    usual(|| {
        // SAFETY: it has no preconditions.
        unsafe { libc::syscall(libc::SYS_getppid) };
    })
}

/// A call that is hooked at its beginning and its end: reads a byte.
pub(super) fn hooked() -> Result<u64> {
    let mut zero = File::open("/dev/zero")?;
    let mut byte = [0];
    Ok(usual(|| drop(zero.read(&mut byte))))
}

fn usual(mut call: impl FnMut()) -> u64 {
    let mut round = || {
        let mut took = Vec::new();
        for _ in 0..CALLS {
            let mut sum = 0;
            timed(&mut sum, &mut call);
            took.push(sum);
        }
        processor::usual(&mut took)
    };
    let first = round();
    thread::sleep(APART);
    round().min(first)
}
