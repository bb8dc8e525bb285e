//! Whether trampolines do no harm here, and whether they are run.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    process,
    sync::atomic::Ordering,
};

use aya::Ebpf;
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept, bind, listen, socket},
    unistd::gettid,
};
use wrapwatch_common::maps::{CALL_SLOTS, NOBODY, Slot, call_slot};

use crate::{
    host::kernel,
    model::waits_for_tasks,
    probe::{ProbeError, mapped::Mapped, pid_namespace, registry},
};

/// With 0 in it the kernel takes trampolines and runs none.
const FTRACE_ENABLED: &str = "/proc/sys/kernel/ftrace_enabled";

/// Whether the kernel runs those that are attached.
pub(super) fn are_run() -> bool {
    fs::read_to_string(FTRACE_ENABLED).map_or(true, |said| said.trim() != "0")
}

/// Why they must not be attached here, if so.
pub(super) fn are_safe() -> Result<(), String> {
    if !are_run() {
        return Err(format!("{FTRACE_ENABLED} is 0: the kernel would run none"));
    }
    if !pid_namespace::is_first() && waits_for_tasks(&kernel::release().0) {
        return Err("wrapwatch is in a PID namespace of its own: if that were killed, this kernel could wait for ever for \
             trampolines to be taken off (fixed in Linux 6.9)"
            .to_owned());
    }
    Ok(())
}

/// Has an `accept` of this thread seen as if it were a target's, and its end: one that finds nobody, which leaves no record.
pub(super) fn an_accept_is_seen(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let listener = listener().map_err(std::io::Error::from)?;
    let calls = Mapped::to_write(ebpf, "CALLS", CALL_SLOTS as usize * size_of::<Slot>())?;
    registry::only_target(ebpf, process::id())?;
    let failed = accept(listener.as_raw_fd());
    registry::only_target(ebpf, NOBODY)?;
    let words = size_of::<Slot>() / size_of::<u64>();
    let slot = call_slot(gettid().as_raw().unsigned_abs()) as usize;
    let left: Vec<u64> = calls
        .words()
        .iter()
        .skip(slot * words)
        .take(words)
        .map(|word| word.load(Ordering::Relaxed))
        .collect();
    calls.empty(|slot: &Slot| *slot != Slot::default());
    // Nobody is in it any more, and somebody was.
    let is_over = left.iter().take(2).all(|word| *word == 0);
    if failed == Err(Errno::EAGAIN) && is_over && left.iter().any(|word| *word != 0) {
        Ok(())
    } else {
        Err(ProbeError::NotRun)
    }
}

/// A socket of a name that the kernel chooses, at which nobody calls.
fn listener() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(listener.as_raw_fd(), &UnixAddr::new_unnamed())?;
    listen(&listener, Backlog::new(1)?)?;
    Ok(listener)
}
