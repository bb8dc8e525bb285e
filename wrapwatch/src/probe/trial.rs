//! Trying each hook for real: loaded, attached, taken off again. No process is a target meanwhile, so nothing is written.
//!
//! Taking a hook off waits until no CPU is in it any more, some 70 ms each: several seconds for all. So it is done in a child process,
//! which tells what it found as soon as it knows and then ends; the kernel takes everything off with it while the parent goes on.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{signal::Signal, wait::waitpid},
    unistd::{ForkResult, Pid, fork, pipe2},
};
use serde::{Deserialize, Serialize};

use wrapwatch_common::maps::Layout;

use super::{
    Options, ProbeError, capabilities,
    hooks::{perf, raw},
    layout, load, tracefs, uprobes,
};
use crate::{
    host::libwrap::Libwrap,
    model::doctor::{Hook, HookKind, HookState},
};

/// Every attempt together takes under a second, in an emulated machine beside others half a minute; only a kernel in trouble gets there.
const PATIENCE: Duration = Duration::from_mins(3);

/// What the trial found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Each hook.
    pub hooks: Vec<Hook>,
    /// Why the kernel side could not be loaded at all.
    pub refused: Option<String>,
    /// The maps were made, the ring buffer among them.
    pub ring_buffer: bool,
    /// Why the kernel's types are of no use.
    pub no_layout: Option<String>,
    /// tracefs had to be mounted for the trial alone.
    pub tracefs_mounted: bool,
    /// Why tracefs is of no use.
    pub no_tracefs: Option<String>,
}

/// A trial under way. Must be [finished](Self::finish), or the child stays as a zombie until this process ends.
#[derive(Debug)]
pub struct Trial {
    child: Pid,
    answer: File,
}

/// Begins it. No other thread of the caller may do anything, but wait within a system call: the child goes on with a copy of this one.
pub fn begin(targets: &[(u32, Libwrap)]) -> std::io::Result<Trial> {
    let (answer, question) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: the caller promises that no other thread does anything but wait; so the child may allocate and take locks.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Trial { child, answer: File::from(answer) }),
        ForkResult::Child => {
            drop(answer);
            // Nothing may stay attached when the parent is killed.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            let (found, _attached) = attempt(targets);
            let bytes = serde_json::to_vec(&found).unwrap_or_default();
            // Its end closes the pipe: the parent has its answer before anything is taken off.
            let _ = File::from(question).write_all(&bytes);
            // SAFETY: _exit ends the process; nothing of the parent's (buffered output) may be written twice.
            unsafe { libc::_exit(0) }
        }
    }
}

impl Trial {
    /// Waits for what it found.
    pub fn found(&mut self) -> Found {
        let failed = |why: &str| Found { refused: Some(why.to_owned()), ..Found::default() };
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let timeout = PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX));
            let mut fds = [PollFd::new(self.answer.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) => {
                    let _ = nix::sys::signal::kill(self.child, Signal::SIGKILL);
                    return failed("trying the hooks took too long");
                }
                Ok(_) => {}
                Err(nix::Error::EINTR) => continue,
                Err(error) => return failed(&error.to_string()),
            }
            match self.answer.read(&mut chunk) {
                Ok(0) => break,
                Ok(len) => bytes.extend(chunk.iter().take(len)),
                Err(error) => return failed(&error.to_string()),
            }
        }
        serde_json::from_slice(&bytes).unwrap_or_else(|_| failed("trying the hooks ended unexpectedly"))
    }

    /// Waits until everything has been taken off; how long that took.
    pub fn finish(self) -> Duration {
        let began = Instant::now();
        while waitpid(self.child, None) == Err(nix::Error::EINTR) {}
        began.elapsed()
    }
}

/// All of it; what must be kept for the hooks to stay until the answer is out.
fn attempt(targets: &[(u32, Libwrap)]) -> (Found, Vec<aya::Ebpf>) {
    let layout = layout::read();
    let mut found = Found { no_layout: layout.as_ref().err().cloned(), ..Found::default() };
    if let Err(error) = capabilities::check_bpf() {
        found.refused = Some(error.to_string());
        found.hooks = untried(targets);
        return (found, Vec::new());
    }
    let mut kept = Vec::new();
    if let Err(error) = rungs(&mut found, &mut kept, layout.ok(), targets) {
        found.refused = Some(error.to_string());
        found.hooks = untried(targets);
    }
    (found, kept)
}

/// Both rungs, and the uprobes.
fn rungs(
    found: &mut Found,
    kept: &mut Vec<aya::Ebpf>,
    layout: Option<Layout>,
    targets: &[(u32, Libwrap)],
) -> Result<(), ProbeError> {
    // The loader warns of nothing that the trial does not tell better.
    let (mut ebpf, _) = load::load(super::OBJECT, &Options::default(), &layout.unwrap_or_default())?;
    found.ring_buffer = true;
    found.hooks = raw::try_each(&mut ebpf, layout.is_some());
    if found.hooks.iter().any(|hook| hook.state == HookState::Refused) {
        // Perhaps the kernel lets nobody read its memory: the second rung does without.
        kept.push(ebpf);
        (ebpf, _) = load::load(super::OBJECT, &Options::default(), &Layout::default())?;
    }
    found.tracefs_mounted = tracefs::events().is_none();
    match tracefs::ensure() {
        Ok(events) => found.hooks.extend(perf::try_each(&mut ebpf, &events)),
        Err(error) => {
            found.tracefs_mounted = false;
            found.no_tracefs = Some(error.to_string());
            found.hooks.extend(untried_tracepoints());
        }
    }
    for (pid, libwrap) in targets {
        found.hooks.extend(uprobes::try_each(&mut ebpf, *pid, libwrap));
    }
    kept.push(ebpf);
    Ok(())
}

fn untried_tracepoints() -> impl Iterator<Item = Hook> {
    perf::names()
        .map(|(name, required)| hook(name, HookKind::Tracepoint, None, required, (HookState::NotTried, None)))
}

/// Every hook, not tried.
pub fn untried(targets: &[(u32, Libwrap)]) -> Vec<Hook> {
    let not_tried = || (HookState::NotTried, None);
    let mut all: Vec<Hook> = raw::names()
        .map(|(name, required)| hook(name, HookKind::RawTracepoint, None, required, not_tried()))
        .chain(untried_tracepoints())
        .collect();
    for (pid, _) in targets {
        let uprobes = uprobes::names();
        all.extend(uprobes.map(|name| hook(name, HookKind::Uprobe, Some(*pid), false, not_tried())));
    }
    all
}

/// One hook's line.
pub(super) fn hook(
    name: String,
    kind: HookKind,
    pid: Option<u32>,
    required: bool,
    (state, error): (HookState, Option<String>),
) -> Hook {
    Hook { name, kind, pid, required, state, error }
}
