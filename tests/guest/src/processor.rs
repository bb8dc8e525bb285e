//! The processor of a guest that counts instructions: under qemu's `-icount shift=0` a virtual nanosecond is one instruction, and the time-stamp counter counts
//! nanoseconds.

/// Instructions since the machine was started, idle time included.
#[cfg(target_arch = "x86_64")]
pub(crate) fn now() -> u64 {
    // SAFETY: every x86-64 processor has the counter, and the kernel lets user space read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Not counted elsewhere: `cargo xtask vm --instructions` boots x86-64 only.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn now() -> u64 {
    0
}

/// Adds the instructions of what is done here; what reading the counter takes is in it, and is the same each time.
pub(crate) fn timed<T>(sum: &mut u64, what: impl FnOnce() -> T) -> T {
    let began = now();
    let result = what();
    *sum = sum.saturating_add(now().saturating_sub(began));
    result
}

/// What something usually takes, of what it took several times: the lower quartile. Whatever else happens meanwhile adds to some; few take less, of which the kernel left out
/// programs (Linux 7.2).
pub(crate) fn usual(took: &mut [u64]) -> u64 {
    let quarter = took.len() / 4;
    // Not sorted: the whole machine's instructions are counted while this is done.
    if took.is_empty() { 0 } else { *took.select_nth_unstable(quarter).1 }
}

/// Has this thread wait for its turn when it is woken (`SCHED_BATCH`), so that who runs when does not depend on how long others ran before; or only run when
/// nobody else wants to (`SCHED_IDLE`).
pub(crate) fn schedule(policy: libc::c_int) -> std::io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter is only read, and 0 is this thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
