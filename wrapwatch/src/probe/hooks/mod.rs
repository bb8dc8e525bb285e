//! The hooks that need no target: which program goes where, and what is lost without it.
//!
//! There is a ladder of two rungs, of which the first is the better one up to Linux 6.18. On the first, raw tracepoints, two programs see every system call and pass on the few that matter; on the second, tracepoints
//! through perf, each call has programs of its own. What is seen is the same. docs/performance.md has what each costs.

pub(super) mod perf;
pub(super) mod raw;

use aya::Ebpf;
use wrapwatch_common::maps::Layout;

use super::ProbeError;
use crate::{
    host::kernel,
    model::{Degradation, DegradationKind, skips_calls},
};

/// A rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Raw tracepoints: CAP_BPF and CAP_PERFMON, and a kernel that lets them read its memory.
    Raw,
    /// Tracepoints through perf: tracefs, and CAP_SYS_ADMIN on most systems.
    Tracepoint,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw tracepoints",
            Self::Tracepoint => "tracepoints",
        })
    }
}

/// What came of attaching.
#[derive(Default)]
pub(super) struct Attached {
    /// The hooks, by name.
    pub(super) hooks: Vec<String>,
    /// What cannot be seen.
    pub(super) degradations: Vec<Degradation>,
}

impl Attached {
    fn lost(&mut self, (kind, message): (DegradationKind, &str), why: &str) {
        let message = format!("{message} ({why})");
        self.degradations.push(Degradation { kind, pid: None, message });
    }
}

/// Loads and attaches one rung.
pub(super) fn attach(ebpf: &mut Ebpf, rung: Rung, layout: Option<&Layout>) -> Result<Attached, ProbeError> {
    match rung {
        Rung::Raw => raw::attach(ebpf, layout.is_some()),
        Rung::Tracepoint => perf::attach(ebpf),
    }
}

/// Whether this kernel leaves out calls on raw tracepoints.
pub fn raw_skips_calls() -> bool {
    skips_calls(&kernel::release().0)
}

/// The rungs, the better one first.
pub(super) fn order() -> [Rung; 2] {
    if raw_skips_calls() { [Rung::Tracepoint, Rung::Raw] } else { [Rung::Raw, Rung::Tracepoint] }
}

/// What it means that a rung was taken: after the other was refused, because it was asked for, or as the better one.
pub(super) fn taken(rung: Rung, refused: Option<&ProbeError>, asked: bool) -> Option<Degradation> {
    match rung {
        Rung::Raw if raw_skips_calls() => {
            let why = refused.map_or_else(|| "as asked".to_owned(), ToString::to_string);
            Some(skipped_calls(&why))
        }
        Rung::Raw => None,
        Rung::Tracepoint => match refused {
            Some(error) => Some(second_rung(&error.to_string())),
            None if !asked && raw_skips_calls() => Some(second_rung(SKIPS)),
            None => None,
        },
    }
}

/// Why the second rung is the better one here.
const SKIPS: &str = "with those Linux 7.0 and later leave out many more calls";

fn skipped_calls(why: &str) -> Degradation {
    Degradation {
        kind: DegradationKind::SkippedCalls,
        pid: None,
        message: format!(
            "raw tracepoints, with which Linux 7.0 and later leave out calls of a busy server: now and then a connection is not told, or told \
             wrongly; with tracepoints through perf, which take CAP_SYS_ADMIN and tracefs, they leave out far fewer ({why})"
        ),
    }
}

fn second_rung(why: &str) -> Degradation {
    Degradation {
        kind: DegradationKind::NoRawTracepoints,
        pid: None,
        message: format!(
            "tracepoints through perf instead of raw ones ({why}): the same is seen, but each hooked call costs the server more, detaching takes seconds, \
             and now and then the kernel leaves out a handshake, whose wait in the queue is then not known"
        ),
    }
}

/// Whether this program is the first that runs at a system call, on either rung.
pub(super) fn sees_calls(program: &str) -> bool {
    program.starts_with("sys_enter") || program.starts_with("sys_exit")
}

/// Every hook of both rungs by name, and what is lost without it.
pub fn lost_without(wanted: &str) -> Option<(DegradationKind, &'static str)> {
    let event = wanted.rsplit(':').next()?;
    match event {
        "inet_sock_set_state" => Some(NO_STATES),
        "inet_sk_error_report" => Some(NO_ERRORS),
        _ => None,
    }
}

/// Without `inet_sock_set_state`.
const NO_STATES: (DegradationKind, &str) = (
    DegradationKind::NoQueueTime,
    "no tracepoint sock:inet_sock_set_state: the wait in the accept queue and clients that leave are not seen",
);
/// Without `inet_sk_error_report`.
const NO_ERRORS: (DegradationKind, &str) = (
    DegradationKind::NoHook,
    "no tracepoint sock:inet_sk_error_report (Linux 5.14): an unreachable nameserver is told from a silent one by time alone",
);
