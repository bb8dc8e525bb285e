//! The hooks that need no target: which program goes where, and what is lost without it.

use std::path::Path;

use aya::{Ebpf, programs::TracePoint};

use super::{ProbeError, error, tracefs, trial};
use crate::model::{
    Degradation, DegradationKind,
    doctor::{Hook as Tried, HookState},
};

/// What it means that a tracepoint does not exist here.
#[derive(Clone, Copy)]
enum Need {
    /// Nothing works without it.
    Required,
    /// Architectures and kernels without the call have nothing to see.
    IfThere,
    /// Something is lost.
    Else(DegradationKind, &'static str),
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
    newer("sys_enter_dup2"),
    syscall("sys_enter_dup3"),
    newer("sys_enter_close_range"),
    syscall("sys_enter_getpeername"),
    syscall("sys_exit_getpeername"),
    syscall("sys_enter_wait4"),
    syscall("sys_exit_wait4"),
    Hook { category: "sched", event: "sched_process_exit", need: Need::Required },
    Hook { category: "sched", event: "sched_process_exec", need: Need::Required },
    Hook {
        category: "sock",
        event: "inet_sock_set_state",
        need: Need::Else(
            DegradationKind::NoQueueTime,
            "no tracepoint sock:inet_sock_set_state: the wait in the accept queue and clients that leave are not seen",
        ),
    },
    Hook {
        category: "sock",
        event: "inet_sk_error_report",
        need: Need::Else(
            DegradationKind::NoHook,
            "no tracepoint sock:inet_sk_error_report (Linux 5.14): an unreachable nameserver is told from a silent one by time alone",
        ),
    },
];

/// Loads and attaches them; says what was attached and what is lost.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<(Vec<String>, Vec<Degradation>), ProbeError> {
    let events = tracefs::events()
        .ok_or_else(|| ProbeError::NoTracefs(std::io::Error::from(std::io::ErrorKind::NotFound)))?;
    let mut attached = Vec::new();
    let mut degradations = Vec::new();
    for hook in HOOKS {
        let name = name(hook);
        if exists(&events, hook) {
            attach_one(ebpf, hook).map_err(|source| ProbeError::Attach { hook: name.clone(), source })?;
            attached.push(name);
        } else {
            match hook.need {
                Need::Required => return Err(ProbeError::NoTracepoint(name)),
                Need::IfThere => log::debug!("no tracepoint {name} here"),
                Need::Else(kind, message) => {
                    degradations.push(Degradation { kind, pid: None, message: message.to_owned() });
                }
            }
        }
    }
    Ok((attached, degradations))
}

/// Every hook by name, and whether nothing works without it.
pub(super) fn names() -> impl Iterator<Item = (String, bool)> {
    HOOKS.iter().map(|hook| (name(hook), matches!(hook.need, Need::Required)))
}

/// What is lost without a hook; None where nothing works without it, or nothing is lost.
pub fn lost_without(wanted: &str) -> Option<(DegradationKind, &'static str)> {
    HOOKS.iter().find(|hook| name(hook) == wanted).and_then(|hook| match hook.need {
        Need::Else(kind, message) => Some((kind, message)),
        Need::Required | Need::IfThere => None,
    })
}

/// Loads and attaches each, whatever became of the others.
pub(super) fn try_each(ebpf: &mut Ebpf) -> Vec<Tried> {
    let Some(events) = tracefs::events() else { return trial::untried(&[]) };
    HOOKS
        .iter()
        .map(|hook| {
            let (state, error) = if exists(&events, hook) {
                match attach_one(ebpf, hook) {
                    Ok(()) => (HookState::Works, None),
                    Err(error) => (HookState::Refused, Some(error::chain(&*error))),
                }
            } else {
                (HookState::Absent, None)
            };
            trial::hook(name(hook), None, matches!(hook.need, Need::Required), state, error)
        })
        .collect()
}

fn name(hook: &Hook) -> String {
    format!("{}:{}", hook.category, hook.event)
}

fn exists(events: &Path, hook: &Hook) -> bool {
    events.join(hook.category).join(hook.event).is_dir()
}

fn attach_one(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), Box<aya::programs::ProgramError>> {
    let program: &mut TracePoint = ebpf
        .program_mut(hook.event)
        .ok_or(aya::programs::ProgramError::NotLoaded)
        .and_then(TryInto::try_into)
        .map_err(Box::new)?;
    program.load().map_err(Box::new)?;
    program.attach(hook.category, hook.event).map_err(Box::new)?;
    Ok(())
}
