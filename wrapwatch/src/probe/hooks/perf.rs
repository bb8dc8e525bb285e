//! Tracepoints through perf_event_open(2): each call has programs of its own.

use std::path::Path;

use aya::{
    Ebpf,
    programs::{ProgramError, TracePoint},
};
use wrapwatch_common::maps::Layout;

use super::{Attached, HookSet, NO_ERRORS, NO_STATES, Taken, raw_skips_calls};
use crate::{
    model::{
        Degradation, DegradationKind,
        doctor::{Hook as Tried, HookKind, HookState},
        error_line,
    },
    probe::{ProbeError, tracefs},
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

/// A tracepoint. Programs bear the name of their event.
#[derive(Clone, Copy)]
struct Hook {
    category: &'static str,
    event: &'static str,
    need: Need,
}

/// A call's tracepoints.
struct Call {
    enter: &'static str,
    exit: Option<&'static str>,
    need: Need,
}

macro_rules! exit {
    ($call:ident ()) => {
        None
    };
    ($call:ident $handler:tt) => {
        Some(concat!("sys_exit_", stringify!($call)))
    };
}

macro_rules! calls {
    ($(
        $end:ident = $number:literal $kind:ident $end_handler:tt {
            $($begin:ident $class:ident $handler:tt: $($(#[$cfg:meta])* $call:ident $constant:ident $need:ident),+;)*
        }
    )*) => {
        const CALLS: &[Call] = &[$($($(
            Call {
                enter: concat!("sys_enter_", stringify!($call)),
                exit: exit!($call $end_handler),
                need: Need::$need,
            },
        )+)*)*];
    };
}
wrapwatch_common::syscalls!(calls);

const OTHERS: [Hook; 4] = [
    Hook { category: "sched", event: "sched_process_exit", need: Need::Required },
    Hook { category: "sched", event: "sched_process_exec", need: Need::Required },
    Hook { category: "sock", event: "inet_sock_set_state", need: Need::Else(NO_STATES) },
    Hook { category: "sock", event: "inet_sk_error_report", need: Need::Else(NO_ERRORS) },
];

/// All of them.
fn hooks() -> impl Iterator<Item = Hook> {
    let calls = CALLS.iter().flat_map(|call| {
        let events = [Some(call.enter), call.exit].into_iter().flatten();
        events.map(|event| Hook { category: "syscalls", event, need: call.need })
    });
    calls.chain(OTHERS)
}

/// Tracefs, and CAP_SYS_ADMIN on most systems.
pub(in crate::probe) struct Tracepoints;

impl HookSet for Tracepoints {
    fn kind(&self) -> HookKind {
        HookKind::Tracepoint
    }

    fn name(&self) -> &'static str {
        "tracepoints"
    }

    fn attach(&self, ebpf: &mut Ebpf, _layout: Option<&Layout>) -> Result<Attached, ProbeError> {
        let events = tracefs::ensure()?;
        let mut attached = Attached::default();
        for hook in hooks() {
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

    fn taken(&self, why: &Taken<'_>) -> Option<Degradation> {
        let why = match why.instead_of(HookKind::RawTracepoint) {
            Some(error) => error.to_string(),
            None if !why.asked && raw_skips_calls() => {
                "with those Linux 7.0 and later skip many more calls".to_owned()
            }
            None => return None,
        };
        Some(Degradation {
            kind: DegradationKind::NoRawTracepoints,
            pid: None,
            message: format!(
                "perf tracepoints instead of raw ones ({why}): wrapwatch sees the same, but each hooked call costs the server more, detaching takes seconds, and the kernel occasionally skips a handshake, whose wait in the queue is then unknown"
            ),
        })
    }

    fn ends_name_calls(&self) -> bool {
        true
    }

    fn hooks(&self) -> Vec<(String, bool)> {
        hooks().map(|hook| (name(hook), matches!(hook.need, Need::Required))).collect()
    }

    fn programs(&self) -> Vec<String> {
        hooks().map(|hook| format!("tracepoint {} (where raw ones are not available)", name(hook))).collect()
    }

    fn try_each(&self, ebpf: &mut Ebpf, _layout: Option<&Layout>) -> Vec<Tried> {
        let events = tracefs::ensure().ok();
        hooks()
            .map(|hook| {
                let (state, error) = match &events {
                    None => (HookState::NotTried, None),
                    Some(events) if exists(events, hook) => match attach_one(ebpf, hook) {
                        Ok(()) => (HookState::Works, None),
                        Err(error) => (HookState::Refused, Some(error_line(&*error))),
                    },
                    Some(_) => (HookState::Absent, None),
                };
                let required = matches!(hook.need, Need::Required);
                Tried::new(name(hook), self.kind(), None, required, (state, error))
            })
            .collect()
    }
}

/// Loads and attaches the one on this event; says its name.
pub(super) fn attach_event(ebpf: &mut Ebpf, event: &str) -> Result<String, ProbeError> {
    let hook = hooks().find(|hook| hook.event == event);
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

fn name(hook: Hook) -> String {
    format!("{}:{}", hook.category, hook.event)
}

fn exists(events: &Path, hook: Hook) -> bool {
    events.join(hook.category).join(hook.event).is_dir()
}

fn attach_one(ebpf: &mut Ebpf, hook: Hook) -> Result<(), Box<ProgramError>> {
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
