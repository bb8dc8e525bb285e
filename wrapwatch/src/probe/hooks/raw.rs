//! The first rung: raw tracepoints.

use aya::{
    Ebpf,
    maps::{Array, ProgramArray},
    programs::{ProgramError, ProgramFd, RawTracePoint},
};
use wrapwatch_common::maps::{call, syscall};

use super::{Attached, NO_ERRORS, NO_STATES, perf};
use crate::{
    model::{
        doctor::{Hook as Tried, HookKind, HookState},
        error_line,
    },
    probe::{ProbeError, trial},
};

/// Program and tracepoint.
type Hook = (&'static str, &'static str);

/// Nothing works without these.
const REQUIRED: [Hook; 4] = [
    ("sys_exit", "sys_exit"),
    ("process_exit", "sched_process_exit"),
    ("process_exec", "sched_process_exec"),
    // The last: what it lets in is then met by all others.
    ("sys_enter", "sys_enter"),
];
/// These read sockets, whose layout must be known. With the perf rung's hook that does the same.
const SOCKETS: [Hook; 2] =
    [("sock_set_state", "inet_sock_set_state"), ("sock_error", "inet_sk_error_report")];

/// A system call's number and name.
type Syscall = (libc::c_long, &'static str);

macro_rules! calls {
    ($($(#[$cfg:meta])* $constant:ident $name:literal),* $(,)?) => {
        &[$($(#[$cfg])* (libc::$constant, $name)),*]
    };
}

/// Programs that `sys_enter` passes a call on to, and for which calls. Architectures without a call have nothing to see.
const ENTERS: [(&str, &[Syscall]); 23] = [
    ("enter_accept", calls![SYS_accept "accept", SYS_accept4 "accept4"]),
    ("enter_open", calls![#[cfg(target_arch = "x86_64")] SYS_open "open"]),
    ("enter_openat", calls![SYS_openat "openat", SYS_openat2 "openat2"]),
    ("enter_socket", calls![SYS_socket "socket"]),
    ("enter_connect", calls![SYS_connect "connect"]),
    ("enter_read", calls![SYS_read "read"]),
    ("enter_readv", calls![SYS_readv "readv"]),
    ("enter_recvfrom", calls![SYS_recvfrom "recvfrom"]),
    ("enter_recvmsg", calls![SYS_recvmsg "recvmsg"]),
    ("enter_recvmmsg", calls![SYS_recvmmsg "recvmmsg"]),
    ("enter_write", calls![SYS_write "write"]),
    ("enter_writev", calls![SYS_writev "writev"]),
    ("enter_sendto", calls![SYS_sendto "sendto"]),
    ("enter_sendmsg", calls![SYS_sendmsg "sendmsg"]),
    ("enter_sendmmsg", calls![SYS_sendmmsg "sendmmsg"]),
    ("enter_close", calls![SYS_close "close"]),
    ("enter_shutdown", calls![SYS_shutdown "shutdown"]),
    ("enter_dup", calls![SYS_dup "dup"]),
    ("enter_dup2", calls![#[cfg(target_arch = "x86_64")] SYS_dup2 "dup2", SYS_dup3 "dup3"]),
    ("enter_fcntl", calls![SYS_fcntl "fcntl"]),
    ("enter_close_range", calls![SYS_close_range "close_range"]),
    ("enter_getpeername", calls![SYS_getpeername "getpeername"]),
    ("enter_wait4", calls![SYS_wait4 "wait4"]),
];

/// Programs that `sys_exit` passes a call on to, by what its enter left.
const EXITS: [(&str, u8); 12] = [
    ("exit_accept", call::ACCEPT),
    ("exit_open", call::OPEN),
    ("exit_socket", call::SOCKET),
    ("exit_connect", call::CONNECT),
    ("exit_read", call::READ),
    ("exit_recvmsg", call::RECVMSG),
    ("exit_recvmmsg", call::RECVMMSG),
    ("exit_write", call::WRITE),
    ("exit_getpeername", call::PEER),
    ("exit_wait4", call::WAIT),
    ("exit_dup", call::DUP),
    ("exit_midway", call::MIDWAY),
];

/// Loads and attaches them. Without the layout of sockets the two that read some are taken from the second rung, if that is to be had.
pub(super) fn attach(ebpf: &mut Ebpf, layout: bool) -> Result<Attached, ProbeError> {
    tables(ebpf)?;
    let mut attached = Attached::default();
    for hook in REQUIRED {
        attach_one(ebpf, hook).map_err(|why| ProbeError::Attach { hook: name(hook), why })?;
        attached.hooks.push(name(hook));
    }
    for (hook, lost) in SOCKETS.into_iter().zip([NO_STATES, NO_ERRORS]) {
        let result = if layout { attach_one(ebpf, hook) } else { Err(Box::new(ProgramError::NotLoaded)) };
        match result {
            Ok(()) => attached.hooks.push(name(hook)),
            Err(error) => match perf::attach_event(ebpf, hook.1) {
                Ok(name) => attached.hooks.push(name),
                Err(_) if layout => attached.lost(lost, &error_line(&*error)),
                Err(other) => attached.lost(lost, &other.to_string()),
            },
        }
    }
    Ok(attached)
}

/// Loads what is reached by tail calls and enters it into the tables.
fn tables(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let mut enters = Vec::new();
    let mut sorts = Vec::new();
    for (program, calls) in ENTERS {
        for (number, _) in calls {
            let number = u32::try_from(*number).ok().filter(|number| *number < syscall::NUMBERS);
            let number = number.ok_or_else(|| ProbeError::Missing(format!("a slot for {program}")))?;
            enters.push((number, load(ebpf, program)?));
            sorts.push((number, sort(program)));
        }
    }
    let mut exits = Vec::new();
    for (program, call) in EXITS {
        exits.push((u32::from(call), load(ebpf, program)?));
    }
    fill(ebpf, "ENTERS", &enters)?;
    fill(ebpf, "EXITS", &exits)?;
    let map = ebpf.map_mut("SYSCALLS").ok_or_else(|| ProbeError::Missing("map SYSCALLS".into()))?;
    let mut map = Array::<_, u32>::try_from(map).map_err(ProbeError::map("SYSCALLS"))?;
    for (number, sort) in sorts {
        map.set(number, sort, 0).map_err(ProbeError::map("SYSCALLS"))?;
    }
    Ok(())
}

/// What `sys_enter` has to find out before it passes a call on.
fn sort(program: &str) -> u32 {
    match program {
        "enter_accept" => syscall::ACCEPT,
        // These have something to see where there is no watched descriptor yet, or where it is not the first argument.
        "enter_open" | "enter_openat" | "enter_socket" | "enter_connect" | "enter_dup2"
        | "enter_close_range" | "enter_wait4" => syscall::HOOKED,
        "enter_close" => syscall::CLOSE,
        _ => syscall::DESCRIPTOR,
    }
}

fn fill(ebpf: &mut Ebpf, name: &'static str, programs: &[(u32, ProgramFd)]) -> Result<(), ProbeError> {
    let map = ebpf.map_mut(name).ok_or_else(|| ProbeError::Missing(format!("map {name}")))?;
    let mut array = ProgramArray::try_from(map).map_err(ProbeError::map(name))?;
    for (slot, program) in programs {
        array.set(*slot, program, 0).map_err(ProbeError::map(name))?;
    }
    Ok(())
}

fn load(ebpf: &mut Ebpf, name: &str) -> Result<ProgramFd, ProbeError> {
    let refused = |why| ProbeError::Attach { hook: format!("raw tracepoint program {name}"), why };
    let program = loaded(ebpf, name).map_err(refused)?;
    let fd = program.fd().map_err(|error| refused(Box::new(error)))?;
    Ok(fd.try_clone()?)
}

fn loaded<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint, Box<ProgramError>> {
    let program: &mut RawTracePoint = ebpf
        .program_mut(name)
        .ok_or_else(|| Box::new(ProgramError::NotLoaded))?
        .try_into()
        .map_err(Box::new)?;
    match program.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
        Err(error) => Err(Box::new(error)),
    }
}

fn attach_one(ebpf: &mut Ebpf, (program, event): Hook) -> Result<(), Box<ProgramError>> {
    loaded(ebpf, program)?.attach(event).map_err(Box::new)?;
    Ok(())
}

/// Those attached to the kernel, by name, and whether nothing works without them.
pub(in crate::probe) fn names() -> impl Iterator<Item = (String, bool)> {
    let all = REQUIRED.into_iter().map(|hook| (hook, true));
    all.chain(SOCKETS.into_iter().map(|hook| (hook, false))).map(|(hook, required)| (name(hook), required))
}

/// Every program, with what brings it to run.
pub(in crate::probe) fn programs() -> impl Iterator<Item = String> {
    let enters = ENTERS.into_iter().map(|(_, calls)| {
        let calls: Vec<&str> = calls.iter().map(|(_, name)| *name).collect();
        format!("raw_tracepoint:sys_enter of {}", calls.join(", "))
    });
    let exits = EXITS.into_iter().map(|(program, _)| match program {
        "exit_midway" => "raw_tracepoint:sys_exit of what began before".to_owned(),
        _ => format!("raw_tracepoint:sys_exit of {}", program.trim_start_matches("exit_")),
    });
    names().map(|(name, _)| name).chain(enters).chain(exits)
}

/// Loads and attaches each, whatever became of the others.
pub(in crate::probe) fn try_each(ebpf: &mut Ebpf, layout: bool) -> Vec<Tried> {
    let tables = tables(ebpf);
    let mut tried = Vec::new();
    for (n, hook) in REQUIRED.into_iter().chain(SOCKETS).enumerate() {
        let required = n < REQUIRED.len();
        let (state, error) = match &tables {
            Err(error) if required => (HookState::Refused, Some(error.to_string())),
            _ if !required && !layout => {
                (HookState::Refused, Some("the layout of sockets is not known".to_owned()))
            }
            _ => match attach_one(ebpf, hook) {
                Ok(()) => (HookState::Works, None),
                Err(error) if absent(&error) => (HookState::Absent, None),
                Err(error) => (HookState::Refused, Some(error_line(&*error))),
            },
        };
        tried.push(trial::hook(name(hook), HookKind::RawTracepoint, None, required, (state, error)));
    }
    tried
}

/// The kernel has no tracepoint of that name.
fn absent(error: &ProgramError) -> bool {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}

fn name((_, event): Hook) -> String {
    format!("raw_tracepoint:{event}")
}
