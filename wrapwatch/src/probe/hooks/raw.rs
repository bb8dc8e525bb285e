//! Raw tracepoints: two programs see every system call and pass on the few that matter.

use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{ProgramError, ProgramFd, RawTracePoint},
};
use wrapwatch_common::{
    maps::Layout,
    syscalls::{NUMBERS, call, class},
};

use super::{Attached, HookSet, NO_ERRORS, NO_STATES, Taken, perf, raw_skips_calls};
use crate::{
    model::{
        Degradation, DegradationKind,
        doctor::{Hook as Tried, HookKind, HookState},
        error_line,
    },
    probe::{ProbeError, registry},
};

/// Program and tracepoint.
type Hook = (&'static str, &'static str);

/// Nothing works without these: in this set, and what happens to processes in that of trampolines, too.
const CALLS: [Hook; 2] = [("sys_exit", "sys_exit"), ("sys_enter", "sys_enter")];
/// See [`CALLS`].
const PROCESSES: [Hook; 2] = [("process_exit", "sched_process_exit"), ("process_exec", "sched_process_exec")];
/// These read sockets, whose layout must be known. With the hook of perf's that does the same.
const SOCKETS: [Hook; 2] =
    [("sock_set_state", "inet_sock_set_state"), ("sock_error", "inet_sk_error_report")];

/// A program that `sys_enter` passes a call on to, and for which calls: number and name. Architectures without a call have nothing to see.
struct Enter {
    program: &'static str,
    class: u32,
    calls: &'static [(libc::c_long, &'static str)],
}

/// A program that `sys_exit` passes a call on to, by what its enter left.
struct Exit {
    program: &'static str,
    call: u8,
    ends: &'static str,
}

macro_rules! exit {
    ($end:ident $kind:ident ()) => {
        None
    };
    ($end:ident $kind:ident $handler:tt) => {
        Some(Exit { program: concat!("exit_", stringify!($end)), call: call::$kind, ends: stringify!($end) })
    };
}

macro_rules! tables {
    ($(
        $end:ident = $number:literal $kind:ident $end_handler:tt {
            $($begin:ident $class:ident $handler:tt: $($(#[$cfg:meta])* $call:ident $constant:ident $need:ident),+;)*
        }
    )*) => {
        const ENTERS: &[Enter] = &[$($(
            Enter {
                program: concat!("enter_", stringify!($begin)),
                class: class::$class,
                calls: &[$($(#[$cfg])* (libc::$constant, stringify!($call))),+],
            },
        )*)*];

        const EXITS: &[Option<Exit>] = &[
            $(exit!($end $kind $end_handler),)*
            Some(Exit { program: "exit_midway", call: call::MIDWAY, ends: "what began before" }),
        ];
    };
}
wrapwatch_common::syscalls!(tables);

/// The programs that these calls are passed on to.
#[cfg(test)]
pub(super) fn passed_on_to() -> impl Iterator<Item = &'static str> {
    ENTERS.iter().map(|enter| enter.program).chain(EXITS.iter().flatten().map(|exit| exit.program))
}

/// CAP_BPF and CAP_PERFMON, and a kernel that lets them read its memory.
pub(in crate::probe) struct RawTracepoints;

impl HookSet for RawTracepoints {
    fn kind(&self) -> HookKind {
        HookKind::RawTracepoint
    }

    fn name(&self) -> &'static str {
        "raw tracepoints"
    }

    fn attach(&self, ebpf: &mut Ebpf, layout: Option<&Layout>) -> Result<Attached, ProbeError> {
        let mut attached = Attached::default();
        attach_events(ebpf, layout, &mut attached)?;
        attach_calls(ebpf, &mut attached)?;
        Ok(attached)
    }

    fn taken(&self, why: &Taken<'_>) -> Option<Degradation> {
        if !raw_skips_calls() {
            return None;
        }
        let why = match why.instead_of(HookKind::Tracepoint) {
            Some(error) => error.to_string(),
            None if why.asked => "as asked".to_owned(),
            None => "which are not available during a trace".to_owned(),
        };
        Some(Degradation {
            kind: DegradationKind::SkippedCalls,
            pid: None,
            message: format!(
                "raw tracepoints, with which Linux 7.0 and later skip calls of a busy server: connections may be missing or wrong; with perf tracepoints, which take CAP_SYS_ADMIN and tracefs, they skip far fewer ({why})"
            ),
        })
    }

    fn ends_name_calls(&self) -> bool {
        false
    }

    fn hooks(&self) -> Vec<(String, bool)> {
        let all = required().map(|hook| (name(hook), true));
        all.chain(SOCKETS.into_iter().map(|hook| (name(hook), false))).collect()
    }

    fn programs(&self) -> Vec<String> {
        let attached = required().chain(SOCKETS).map(name);
        let enters = ENTERS.iter().map(|enter| {
            let calls: Vec<&str> = enter.calls.iter().map(|(_, name)| *name).collect();
            format!("raw_tracepoint:sys_enter of {}", calls.join(", "))
        });
        let exits = EXITS.iter().flatten().map(|exit| format!("raw_tracepoint:sys_exit of {}", exit.ends));
        attached.chain(enters).chain(exits).collect()
    }

    fn try_each(&self, ebpf: &mut Ebpf, layout: Option<&Layout>) -> Vec<Tried> {
        let tables = tables(ebpf);
        let mut all = Vec::new();
        for (n, hook) in required().chain(SOCKETS).enumerate() {
            let required = n < required().count();
            let (state, error) = match &tables {
                Err(error) if required => (HookState::Refused, Some(error.to_string())),
                _ if !required && layout.is_none() => {
                    (HookState::Refused, Some("the layout of sockets is not known".to_owned()))
                }
                _ => match attach_one(ebpf, hook) {
                    Ok(()) => (HookState::Works, None),
                    Err(error) if absent(&error) => (HookState::Absent, None),
                    Err(error) => (HookState::Refused, Some(error_line(&*error))),
                },
            };
            all.push(Tried::new(name(hook), self.kind(), None, required, (state, error)));
        }
        all
    }
}

fn required() -> impl Iterator<Item = Hook> {
    CALLS.into_iter().chain(PROCESSES)
}

/// What happens to processes and sockets. Without the layout of sockets the two that read some are taken from perf's, if those can be had.
pub(super) fn attach_events(
    ebpf: &mut Ebpf,
    layout: Option<&Layout>,
    attached: &mut Attached,
) -> Result<(), ProbeError> {
    attach_all(ebpf, PROCESSES, attached)?;
    for (hook, lost) in SOCKETS.into_iter().zip([NO_STATES, NO_ERRORS]) {
        let result =
            if layout.is_some() { attach_one(ebpf, hook) } else { Err(Box::new(ProgramError::NotLoaded)) };
        match result {
            Ok(()) => attached.hooks.push(name(hook)),
            Err(error) => match perf::attach_event(ebpf, hook.1) {
                Ok(name) => attached.hooks.push(name),
                Err(_) if layout.is_some() => attached.lost(lost, &error_line(&*error)),
                Err(other) => attached.lost(lost, &other.to_string()),
            },
        }
    }
    Ok(())
}

/// Calls, to which the events of [`attach_events`] have been attached.
pub(in crate::probe) fn attach_calls(ebpf: &mut Ebpf, attached: &mut Attached) -> Result<(), ProbeError> {
    tables(ebpf)?;
    // What the last, `sys_enter`, lets in is then met by all others.
    attach_all(ebpf, CALLS, attached)
}

fn attach_all(ebpf: &mut Ebpf, hooks: [Hook; 2], attached: &mut Attached) -> Result<(), ProbeError> {
    for hook in hooks {
        attach_one(ebpf, hook).map_err(|why| ProbeError::Attach { hook: name(hook), why })?;
        attached.hooks.push(name(hook));
    }
    Ok(())
}

/// Loads what is reached by tail calls and enters it into the tables.
fn tables(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let mut enters = Vec::new();
    let mut classes = Vec::new();
    for Enter { program, class, calls } in ENTERS {
        for (number, _) in *calls {
            let number = u32::try_from(*number).ok().filter(|number| *number < NUMBERS);
            let number = number.ok_or_else(|| ProbeError::Missing(format!("a slot for {program}")))?;
            enters.push((number, load(ebpf, program)?));
            classes.push((number, *class));
        }
    }
    let mut exits = Vec::new();
    for Exit { program, call, .. } in EXITS.iter().flatten() {
        exits.push((u32::from(*call), load(ebpf, program)?));
    }
    fill(ebpf, "ENTERS", &enters)?;
    fill(ebpf, "EXITS", &exits)?;
    registry::set_syscalls(ebpf, &classes)
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
