//! The second rung: tracepoints through perf_event_open(2).

use std::path::Path;

use aya::{
    Ebpf,
    programs::{ProgramError, TracePoint},
};

use super::{Attached, NO_ERRORS, NO_STATES};
use crate::{
    model::{
        DegradationKind,
        doctor::{Hook as Tried, HookKind, HookState},
        error_line,
    },
    probe::{ProbeError, tracefs, trial},
};

/// What it means that a tracepoint does not exist here.
#[derive(Clone, Copy)]
enum Need {
    /// Nothing works without it.
    Required,
    /// Architectures and kernels without the call have nothing to see.
    IfThere,
    /// Something is lost.
    Else((DegradationKind, &'static str)),
}

struct Hook {
    category: &'static str,
    event: &'static str,
    need: Need,
}

const fn syscall(event: &'static str) -> Hook {
    Hook { category: "syscalls", event, need: Need::Required }
}

const fn newer(event: &'static str) -> Hook {
    Hook { category: "syscalls", event, need: Need::IfThere }
}

/// Programs bear the name of their event.
const HOOKS: &[Hook] = &[
    newer("sys_enter_accept"),
    newer("sys_exit_accept"),
    syscall("sys_enter_accept4"),
    syscall("sys_exit_accept4"),
    newer("sys_enter_open"),
    newer("sys_exit_open"),
    syscall("sys_enter_openat"),
    syscall("sys_exit_openat"),
    newer("sys_enter_openat2"),
    newer("sys_exit_openat2"),
    syscall("sys_enter_socket"),
    syscall("sys_exit_socket"),
    syscall("sys_enter_connect"),
    syscall("sys_exit_connect"),
    syscall("sys_enter_read"),
    syscall("sys_exit_read"),
    syscall("sys_enter_readv"),
    syscall("sys_exit_readv"),
    syscall("sys_enter_recvfrom"),
    syscall("sys_exit_recvfrom"),
    syscall("sys_enter_recvmsg"),
    syscall("sys_exit_recvmsg"),
    syscall("sys_enter_recvmmsg"),
    syscall("sys_exit_recvmmsg"),
    syscall("sys_enter_write"),
    syscall("sys_exit_write"),
    syscall("sys_enter_writev"),
    syscall("sys_exit_writev"),
    syscall("sys_enter_sendto"),
    syscall("sys_exit_sendto"),
    syscall("sys_enter_sendmsg"),
    syscall("sys_exit_sendmsg"),
    syscall("sys_enter_sendmmsg"),
    syscall("sys_exit_sendmmsg"),
    syscall("sys_enter_close"),
    syscall("sys_enter_shutdown"),
    syscall("sys_enter_dup"),
    syscall("sys_exit_dup"),
    newer("sys_enter_dup2"),
    newer("sys_exit_dup2"),
    syscall("sys_enter_dup3"),
    syscall("sys_exit_dup3"),
    syscall("sys_enter_fcntl"),
    syscall("sys_exit_fcntl"),
    newer("sys_enter_close_range"),
    syscall("sys_enter_getpeername"),
    syscall("sys_exit_getpeername"),
    syscall("sys_enter_wait4"),
    syscall("sys_exit_wait4"),
    Hook { category: "sched", event: "sched_process_exit", need: Need::Required },
    Hook { category: "sched", event: "sched_process_exec", need: Need::Required },
    Hook { category: "sock", event: "inet_sock_set_state", need: Need::Else(NO_STATES) },
    Hook { category: "sock", event: "inet_sk_error_report", need: Need::Else(NO_ERRORS) },
];

/// Loads and attaches them.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<Attached, ProbeError> {
    let events = tracefs::ensure()?;
    let mut attached = Attached::default();
    for hook in HOOKS {
        let name = name(hook);
        if exists(&events, hook) {
            attach_one(ebpf, hook).map_err(|why| ProbeError::Attach { hook: name.clone(), why })?;
            attached.hooks.push(name);
        } else {
            match hook.need {
                Need::Required => return Err(ProbeError::NoTracepoint(name)),
                Need::IfThere => log::debug!("no tracepoint {name} here"),
                Need::Else(lost) => attached.lost(lost, "this kernel has none"),
            }
        }
    }
    Ok(attached)
}

/// Loads and attaches the one on this event; says its name.
pub(super) fn attach_event(ebpf: &mut Ebpf, event: &str) -> Result<String, ProbeError> {
    let hook = HOOKS.iter().find(|hook| hook.event == event);
    let hook = hook.ok_or_else(|| ProbeError::Missing(format!("a program for {event}")))?;
    let name = name(hook);
    if !exists(&tracefs::ensure()?, hook) {
        return Err(ProbeError::NoTracepoint(name));
    }
    match attach_one(ebpf, hook) {
        Ok(()) => Ok(name),
        Err(why) => Err(ProbeError::Attach { hook: name, why }),
    }
}

/// Every hook by name, and whether nothing works without it.
pub(in crate::probe) fn names() -> impl Iterator<Item = (String, bool)> {
    HOOKS.iter().map(|hook| (name(hook), matches!(hook.need, Need::Required)))
}

/// Loads and attaches each, whatever became of the others.
pub(in crate::probe) fn try_each(ebpf: &mut Ebpf, events: &Path) -> Vec<Tried> {
    HOOKS
        .iter()
        .map(|hook| {
            let (state, error) = if exists(events, hook) {
                match attach_one(ebpf, hook) {
                    Ok(()) => (HookState::Works, None),
                    Err(error) => (HookState::Refused, Some(error_line(&*error))),
                }
            } else {
                (HookState::Absent, None)
            };
            let required = matches!(hook.need, Need::Required);
            trial::hook(name(hook), HookKind::Tracepoint, None, required, (state, error))
        })
        .collect()
}

fn name(hook: &Hook) -> String {
    format!("{}:{}", hook.category, hook.event)
}

fn exists(events: &Path, hook: &Hook) -> bool {
    events.join(hook.category).join(hook.event).is_dir()
}

fn attach_one(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), Box<ProgramError>> {
    let program: &mut TracePoint = ebpf
        .program_mut(hook.event)
        .ok_or_else(|| Box::new(ProgramError::NotLoaded))?
        .try_into()
        .map_err(Box::new)?;
    match program.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
        Err(error) => return Err(Box::new(error)),
    }
    program.attach(hook.category, hook.event).map_err(Box::new)?;
    Ok(())
}
