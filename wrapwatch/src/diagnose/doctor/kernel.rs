//! What cannot be seen here: from the kernel and the trial of the hooks, and for each server.

use crate::model::{
    DegradationKind as Kind,
    doctor::{Hook, HookKind, HookState, Kernel, Missing, Target, View, Wrapped},
};

/// What the trial said, beside its hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Why the kernel side could not be loaded.
    pub refused: Option<String>,
    /// Why the kernel's types are of no use.
    pub no_layout: Option<String>,
    /// tracefs was mounted for the trial alone.
    pub tracefs_mounted: bool,
    /// Why tracefs is of no use.
    pub no_tracefs: Option<String>,
    /// This kernel leaves out calls on raw tracepoints.
    pub raw_skips_calls: bool,
    /// What each hook that may be missing would have shown.
    pub lost: Vec<(String, Kind, String)>,
}

/// The set of hooks that is taken where the choice is left open; the order is that of attaching.
pub fn taken(hooks: &[Hook], raw_skips_calls: bool) -> Option<HookKind> {
    let of_kind = |kind| hooks.iter().filter(move |hook| hook.kind == kind);
    let is_whole = |kind| {
        let works = of_kind(kind).any(|hook| hook.state == HookState::Works);
        works
            && of_kind(kind).all(|hook| match hook.state {
                HookState::Works => true,
                HookState::Absent => !hook.required,
                // Of trampolines each that there is must be taken.
                HookState::Refused | HookState::NotTried => !hook.required && kind != HookKind::Trampoline,
            })
    };
    let mut others = [HookKind::RawTracepoint, HookKind::Tracepoint];
    if raw_skips_calls {
        others.reverse();
    }
    [HookKind::Trampoline].into_iter().chain(others).find(|kind| is_whole(*kind))
}

/// Everything that will be missing.
pub fn missing(kernel: &Kernel, trial: &Trial, hooks: &[Hook], targets: &[Target]) -> Vec<Missing> {
    let mut out = Vec::new();
    general(kernel, trial, &mut out);
    hook_sets(trial, hooks, &mut out);
    for target in targets {
        of_target(target, hooks, &mut out);
    }
    out
}

fn about(kind: Kind, pid: Option<u32>, message: impl Into<String>, change: &str) -> Missing {
    let change = (!change.is_empty()).then(|| change.to_owned());
    Missing { kind, pid, message: message.into(), change }
}

fn general(kernel: &Kernel, trial: &Trial, out: &mut Vec<Missing>) {
    if let Some(why) = &trial.refused {
        let change = if kernel.capabilities_missing.is_empty() {
            "record with strace, and use: wrapwatch import strace LOG -o FILE.wwt"
        } else {
            "run with sudo, or as root; without: strace as the server's user, and wrapwatch import strace"
        };
        let message = format!("live and record cannot trace anything: {why}");
        out.push(about(Kind::NoEbpf, None, message, change));
    }
    if let Some(why) = trial.no_layout.as_ref().filter(|_| trial.refused.is_none()) {
        let message = format!(
            "the kernel does not describe its types ({why}): if servers in two network namespaces have clients with the same address and port, wrapwatch leaves out their wait in the queue; and a server without CPU can look like a slow nameserver"
        );
        out.push(about(Kind::NoNetns, None, message, "a kernel with CONFIG_DEBUG_INFO_BTF"));
    }
    if kernel.lockdown.is_none() {
        let message = "cannot tell whether the kernel is locked down: its state cannot be read";
        let change = "mount -t securityfs none /sys/kernel/security, and run as root";
        out.push(about(Kind::NoLockdownState, None, message, change));
    }
    if !kernel.container.is_empty() {
        let message = format!(
            "wrapwatch itself seems to be in a container ({}): servers outside are not found, and the kernel may refuse BPF",
            kernel.container.join("; ")
        );
        out.push(about(Kind::InContainer, None, message, "run it on the host"));
    }
}

/// Raw tracepoints or perf tracepoints, of which all must be there; trampolines take what happens to sockets from the former.
fn hook_sets(trial: &Trial, hooks: &[Hook], out: &mut Vec<Missing>) {
    let of_kind = |kind| hooks.iter().filter(move |hook| hook.kind == kind);
    let broken =
        of_kind(HookKind::RawTracepoint).find(|hook| hook.required && hook.state != HookState::Works);
    let has_trampolines = taken(hooks, trial.raw_skips_calls) == Some(HookKind::Trampoline);
    match broken {
        None if trial.raw_skips_calls && !has_trampolines => skipped_calls(trial, hooks, out),
        None => {
            let works = |event: &str| {
                hooks.iter().any(|hook| hook.state == HookState::Works && event_of(hook) == event)
            };
            // A socket's hook may be taken from the other set.
            for hook in of_kind(HookKind::RawTracepoint).filter(|hook| !works(event_of(hook))) {
                lost(trial, hook, out);
            }
        }
        // Nothing was tried at all: that has been said.
        Some(hook) if hook.state == HookState::NotTried => {}
        Some(hook) => {
            let message = format!(
                "raw tracepoints are not available ({}): with perf tracepoints each hooked call costs the server more, detaching takes seconds, and the kernel occasionally skips a handshake",
                why(hook)
            );
            out.push(about(Kind::NoRawTracepoints, None, message, "no lockdown=confidentiality"));
            if trial.tracefs_mounted {
                let message = "tracefs is not mounted: wrapwatch mounts it in a private namespace at each run, which takes CAP_SYS_ADMIN";
                out.push(about(Kind::NoTracefs, None, message, "mount -t tracefs none /sys/kernel/tracing"));
            }
            if let Some(error) = &trial.no_tracefs {
                let message = format!("live and record cannot trace anything: {error}");
                out.push(about(Kind::NoEbpf, None, message, "mount -t tracefs none /sys/kernel/tracing"));
            }
            for hook in of_kind(HookKind::Tracepoint) {
                lost(trial, hook, out);
            }
        }
    }
}

/// Raw tracepoints are there, but the others are the better ones on this kernel.
fn skipped_calls(trial: &Trial, hooks: &[Hook], out: &mut Vec<Missing>) {
    let perf = || hooks.iter().filter(|hook| hook.kind == HookKind::Tracepoint);
    match perf().find(|hook| hook.required && hook.state != HookState::Works) {
        None => {
            let message = "wrapwatch uses perf tracepoints, since this kernel skips calls with raw ones: each hooked call costs the server more, detaching takes seconds, and the kernel occasionally skips a handshake";
            out.push(about(Kind::NoRawTracepoints, None, message, ""));
            for hook in perf() {
                lost(trial, hook, out);
            }
        }
        Some(hook) => {
            let message = format!(
                "with raw tracepoints this kernel skips calls of a busy server, and perf tracepoints are not available ({}): connections may be missing or wrong",
                why(hook)
            );
            out.push(about(Kind::SkippedCalls, None, message, "CAP_SYS_ADMIN, and tracefs"));
        }
    }
}

fn event_of(hook: &Hook) -> &str {
    hook.name.rsplit(':').next().unwrap_or_default()
}

fn why(hook: &Hook) -> String {
    match hook.state {
        HookState::Absent => "this kernel has no such tracepoint".to_owned(),
        _ => format!("the kernel refuses: {}", hook.error.as_deref().unwrap_or("no reason given")),
    }
}

/// What is lost without a hook.
fn lost(trial: &Trial, hook: &Hook, out: &mut Vec<Missing>) {
    if matches!(hook.state, HookState::Works | HookState::NotTried) {
        return;
    }
    let why = why(hook);
    match trial.lost.iter().find(|(name, _, _)| *name == hook.name) {
        Some((_, kind, message)) => {
            out.push(about(*kind, None, format!("{message} ({why})"), "a newer kernel"));
        }
        None if hook.required => {
            let message =
                format!("live and record cannot trace anything: {} cannot be used ({why})", hook.name);
            out.push(about(Kind::NoEbpf, None, message, "a kernel with CONFIG_FTRACE_SYSCALLS"));
        }
        // An architecture without the call has nothing to see.
        None if hook.state == HookState::Absent => {}
        None => out.push(about(Kind::NoHook, None, format!("{} is not seen ({why})", hook.name), "")),
    }
}

fn of_target(target: &Target, hooks: &[Hook], out: &mut Vec<Missing>) {
    let pid = Some(target.pid);
    let mine = || hooks.iter().filter(|hook| hook.pid == pid);
    let without: Vec<&str> = mine()
        .filter(|hook| matches!(hook.state, HookState::Absent | HookState::Refused))
        .map(|hook| hook.name.as_str())
        .collect();
    if !without.is_empty() {
        let message = format!(
            "no uprobe on {}: wrapwatch takes the last table's close as the check's end, ident and spawned commands are inferred",
            without.join(", ")
        );
        out.push(about(Kind::NoUprobes, pid, message, "a libwrap with its symbols, and CAP_SYS_ADMIN"));
    }
    if let Some(why) = &target.refused {
        out.push(about(Kind::NoProcessAccess, pid, format!("live and record will not trace it: {why}"), ""));
    }
    let libwrap = &target.libwrap;
    if libwrap.state == Wrapped::Static {
        let message =
            "libwrap is linked in statically: no uprobes, and wrapwatch cannot see which rule asked";
        out.push(about(Kind::NoRuleContext, pid, message, "a server linked with libwrap.so"));
    } else if libwrap.tcpd_context == Some(false) {
        let message = "this libwrap does not export tcpd_context: wrapwatch cannot see which rule asked";
        out.push(about(Kind::NoRuleContext, pid, message, ""));
    }
    if libwrap.state == Wrapped::Unknown {
        let message = "cannot tell whether it maps libwrap: no permission to look into the process";
        out.push(about(Kind::NoProcessAccess, pid, message, "run with sudo, or as root (CAP_SYS_PTRACE)"));
    }
    if target.listeners.is_none() {
        let message = "cannot tell which listeners are its own, and how long their queues are";
        out.push(about(
            Kind::NoQueueLength,
            pid,
            message,
            "run with sudo, or as root (CAP_SYS_PTRACE, CAP_SYS_ADMIN)",
        ));
    }
    if target.view == View::Here {
        let message = "cannot enter its namespaces: tables, resolver and nameservers are those seen from here, and the server's own may differ";
        out.push(about(
            Kind::OtherView,
            pid,
            message,
            "run with sudo, or as root (CAP_SYS_PTRACE, CAP_SYS_ADMIN)",
        ));
    }
    let servers = &target.resolver.nameservers;
    if !servers.is_empty() && servers.iter().all(|server| server.outcome.is_none()) {
        let message = "nameservers were not asked: whether they answer is not known";
        let change = match servers.iter().find_map(|server| server.error.as_deref()) {
            None => "leave out --no-queries",
            Some(_) => "run with sudo, or as root (CAP_SYS_ADMIN)",
        };
        out.push(about(Kind::NoQueries, pid, message, change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: [HookKind; 3] = [HookKind::Trampoline, HookKind::RawTracepoint, HookKind::Tracepoint];

    /// Each set with a hook that everything needs, as tried, and one that this kernel does not have.
    fn hooks(states: [HookState; 3]) -> Vec<Hook> {
        let of_set = |(kind, state)| {
            let required = kind != HookKind::Trampoline;
            let tried = Hook::new(format!("needed:{kind:?}"), kind, None, required, (state, None));
            let absent = (HookState::Absent, None);
            [tried, Hook::new(format!("absent:{kind:?}"), kind, None, false, absent)]
        };
        SETS.into_iter().zip(states).flat_map(of_set).collect()
    }

    #[test]
    fn the_set_that_costs_least_is_taken() {
        use HookState::{NotTried, Refused, Works};
        let taken = |states, skips| taken(&hooks(states), skips);
        for skips in [false, true] {
            assert_eq!(taken([Works; 3], skips), Some(HookKind::Trampoline));
            assert_eq!(taken([Refused, Works, Refused], skips), Some(HookKind::RawTracepoint));
            assert_eq!(taken([Refused, Refused, Works], skips), Some(HookKind::Tracepoint));
            assert_eq!(taken([Refused; 3], skips), None);
            assert_eq!(taken([NotTried; 3], skips), None);
        }
        assert_eq!(taken([Refused, Works, Works], false), Some(HookKind::RawTracepoint));
        assert_eq!(taken([Refused, Works, Works], true), Some(HookKind::Tracepoint));
        // One of a function that there is must be had.
        let mut one_refused = hooks([Works; 3]);
        let state = (Refused, None);
        one_refused.push(Hook::new("fentry:x".to_owned(), HookKind::Trampoline, None, false, state));
        assert_eq!(super::taken(&one_refused, false), Some(HookKind::RawTracepoint));
    }

    #[test]
    fn with_trampolines_nothing_is_said_of_what_the_others_would_lose() {
        let said = |states, raw_skips_calls| {
            let trial = Trial { raw_skips_calls, ..Trial::default() };
            let mut out = Vec::new();
            hook_sets(&trial, &hooks(states), &mut out);
            out.into_iter().map(|missing| missing.kind).collect::<Vec<_>>()
        };
        let (works, refused) = (HookState::Works, HookState::Refused);
        assert_eq!(said([works; 3], true), []);
        assert_eq!(said([works; 3], false), []);
        assert_eq!(said([refused, works, works], true), [Kind::NoRawTracepoints]);
        assert_eq!(said([refused, works, works], false), []);
        assert_eq!(said([refused, works, refused], true), [Kind::SkippedCalls]);
        assert_eq!(said([refused, refused, works], false), [Kind::NoRawTracepoints]);
    }
}
