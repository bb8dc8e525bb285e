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

use super::{Options, ProbeError, capabilities, hooks, layout, load, pid_namespace, tracefs, uprobes};
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
    if let Err(error) = each_set(&mut found, &mut kept, layout.ok(), targets) {
        found.refused = Some(error.to_string());
        found.hooks = untried(targets);
    }
    (found, kept)
}

/// All sets of hooks, and the uprobes. Each set has the object for itself, as in a trace: one may be refused what another does without.
fn each_set(
    found: &mut Found,
    kept: &mut Vec<aya::Ebpf>,
    layout: Option<Layout>,
    targets: &[(u32, Libwrap)],
) -> Result<(), ProbeError> {
    let namespace = pid_namespace::read()?;
    found.tracefs_mounted = tracefs::events().is_none();
    if let Err(error) = tracefs::ensure() {
        found.tracefs_mounted = false;
        found.no_tracefs = Some(error.to_string());
    }
    // The loader warns of nothing that the trial does not tell better.
    let options = Options::default();
    let mut layout = layout;
    for set in hooks::all() {
        let (mut ebpf, _) = load::load(super::OBJECT, &options, &layout.unwrap_or_default(), namespace)?;
        found.ring_buffer = true;
        let tried = set.try_each(&mut ebpf, layout.as_ref());
        let refused = tried.iter().any(|hook| hook.state == HookState::Refused);
        if refused && set.kind() != HookKind::Trampoline {
            // Perhaps the kernel lets nobody read its memory: the next ones do without.
            layout = None;
        }
        found.hooks.extend(tried);
        kept.push(ebpf);
    }
    let Some(ebpf) = kept.last_mut() else { return Ok(()) };
    for (pid, libwrap) in targets {
        found.hooks.extend(uprobes::try_each(ebpf, *pid, libwrap));
    }
    Ok(())
}

/// Every hook, not tried.
pub fn untried(targets: &[(u32, Libwrap)]) -> Vec<Hook> {
    let not_tried = || (HookState::NotTried, None);
    let mut all: Vec<Hook> = hooks::all()
        .into_iter()
        .flat_map(|set| {
            let hooks = set.hooks().into_iter();
            hooks.map(move |(name, required)| Hook::new(name, set.kind(), None, required, not_tried()))
        })
        .collect();
    for (pid, _) in targets {
        let uprobes = uprobes::names();
        all.extend(uprobes.map(|name| Hook::new(name, HookKind::Uprobe, Some(*pid), false, not_tried())));
    }
    all
}
