//! The hooks that need no target: which program goes where, and what is lost without it.
//!
//! There are several sets of hooks, each of which sees all that there is to see. They stand in a list, the better one first, and the first that the kernel takes
//! is used. A new set is a file here, one with its programs on the kernel side, and an entry in [`order`]. docs/performance.md has what each costs.

pub(super) mod perf;
mod proof;
pub(super) mod raw;
mod trampoline;

use aya::Ebpf;
pub(super) use trampoline::functions_of;
use wrapwatch_common::maps::Layout;

use super::ProbeError;
use crate::{
    host::kernel,
    model::{
        Degradation, DegradationKind,
        doctor::{Hook, HookKind},
        skips_calls,
    },
};

/// A set of hooks that sees everything.
pub(super) trait HookSet: Sync {
    /// What kind of hooks they are; each set has one of its own.
    fn kind(&self) -> HookKind;

    /// As it is called in messages.
    fn name(&self) -> &'static str;

    /// Loads and attaches it.
    fn attach(&self, ebpf: &mut Ebpf, layout: Option<&Layout>) -> Result<Attached, ProbeError>;

    /// Whether what a server receives on TCP shows without [`Self::attach_receives`].
    fn shows_receives(&self) -> bool {
        true
    }

    /// Attaches what shows what a server receives on TCP, where that is not always attached: where logins or the processes that a server makes are followed
    /// it is of interest, and otherwise only of nameservers' answers.
    fn attach_receives(&self, _ebpf: &mut Ebpf) -> Result<Attached, ProbeError> {
        Ok(Attached::default())
    }

    /// Why the kernel runs it no more, though it is attached.
    fn not_run(&self) -> Option<&'static str> {
        None
    }

    /// Lets go of what is attached to calls, where [`Self::not_run`] can come true.
    fn let_go(&self, _ebpf: &mut Ebpf) {}

    /// What it means that this set was taken.
    fn taken(&self, why: &Taken<'_>) -> Option<Degradation>;

    /// Whether the end of a call whose beginning was not seen says which call it is. Where it does not, user space enters the threads that are within one.
    fn ends_name_calls(&self) -> bool;

    /// Every hook by name, and whether nothing works without it.
    fn hooks(&self) -> Vec<(String, bool)>;

    /// Every program, with what brings it to run.
    fn programs(&self) -> Vec<String>;

    /// Loads and attaches each hook, whatever became of the others.
    fn try_each(&self, ebpf: &mut Ebpf, layout: Option<&Layout>) -> Vec<Hook>;
}

/// Why a set was taken.
pub(super) struct Taken<'a> {
    /// Those that were tried before it, and why they were not.
    pub(super) refused: &'a [(&'static dyn HookSet, ProbeError)],
    /// It was asked for.
    pub(super) asked: bool,
}

impl Taken<'_> {
    /// Why the set of this kind was not taken, where it was tried.
    fn instead_of(&self, kind: HookKind) -> Option<&ProbeError> {
        self.refused.iter().find(|(set, _)| set.kind() == kind).map(|(_, why)| why)
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

/// Whether this kernel leaves out calls on raw tracepoints.
pub fn raw_skips_calls() -> bool {
    skips_calls(&kernel::release().0)
}

/// The sets of which one is taken, the better one for this kernel first: the one that is asked for, or all.
pub(super) fn order(asked: Option<HookKind>) -> Vec<&'static dyn HookSet> {
    let (raw, perf): (&dyn HookSet, &dyn HookSet) = (&raw::RawTracepoints, &perf::Tracepoints);
    let others = if raw_skips_calls() { [perf, raw] } else { [raw, perf] };
    let mut sets = vec![&trampoline::Trampolines as &dyn HookSet];
    sets.extend(others);
    sets.retain(|set| asked.is_none_or(|kind| set.kind() == kind));
    sets
}

/// All sets, in the order in which they are shown.
pub(super) fn all() -> Vec<&'static dyn HookSet> {
    vec![&trampoline::Trampolines, &raw::RawTracepoints, &perf::Tracepoints]
}

/// Whether the kernel itself comes to this program, at a call or what happens to a process or socket, in any set: others are reached from those.
pub(super) fn is_run_first(program: &str) -> bool {
    const CALLS: [&str; 4] = ["sys_enter", "sys_exit", "fentry_", "fexit_"];
    const EVENTS: [&str; 5] = ["process_", "sched_process_", "sock_", "inet_", "local_connect"];
    CALLS.iter().chain(&EVENTS).any(|begins| program.starts_with(begins))
}

/// Whether a hook of this name is one.
pub(super) fn is_trampoline(hook: &str) -> bool {
    ["fentry:", "fexit:"].iter().any(|begins| hook.starts_with(begins))
}

/// Every hook of all sets by name, and what is lost without it.
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
    "no tracepoint sock:inet_sock_set_state: wrapwatch does not see the wait in the accept queue and clients that leave",
);
/// Without `inet_sk_error_report`.
const NO_ERRORS: (DegradationKind, &str) = (
    DegradationKind::NoHook,
    "no tracepoint sock:inet_sk_error_report (Linux 5.14): only the time distinguishes an unreachable nameserver from a silent one",
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

    use super::{is_run_first, raw};
    use crate::probe::OBJECT;

    /// What the kernel itself does not come to: what calls are passed on to, and what is called on the way into a library.
    #[test]
    fn every_program_that_the_kernel_comes_to_is_counted() {
        let passed_on_to: BTreeSet<&str> = raw::passed_on_to().collect();
        let file = object::File::parse(OBJECT).unwrap();
        let mut first = 0;
        for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
            let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
            let (section, program) = (section.name().unwrap(), symbol.name().unwrap());
            let of_a_hook =
                ["raw_tp", "tracepoint", "fentry", "fexit"].iter().any(|kind| section.starts_with(kind));
            let expected = of_a_hook && !passed_on_to.contains(program);
            assert_eq!(is_run_first(program), expected, "{program} in {section}");
            first += usize::from(expected);
        }
        assert!(first > passed_on_to.len() && !passed_on_to.is_empty(), "{first}");
    }
}
