//! Are the capabilities there that tracing takes? Asked before anything else, for the kernel only says EPERM.

use caps::{CapSet, Capability, CapsHashSet};

use super::ProbeError;

/// Fails with a sentence that names what is missing and what is there.
///
/// CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON (capabilities(7)). These with CAP_SYS_PTRACE are enough on raw tracepoints; what takes CAP_SYS_ADMIN itself
/// (entering a target's network namespace, uprobes, on most systems perf tracepoints) can be done without, and it is said what is lost.
pub fn check() -> Result<(), ProbeError> {
    let have = caps::read(None, CapSet::Effective).unwrap_or_default();
    let missing = lacking(&have);
    if missing.is_empty() { Ok(()) } else { Err(error(&have, &missing)) }
}

/// As [`check`], of what loading and attaching takes alone.
pub(super) fn check_bpf() -> Result<(), ProbeError> {
    let have = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut missing = lacking(&have);
    missing.retain(|capability| *capability != Capability::CAP_SYS_PTRACE);
    if missing.is_empty() { Ok(()) } else { Err(error(&have, &missing)) }
}

/// Everything that tracing may take, and what for.
pub fn wanted() -> [(Capability, &'static str); 7] {
    [
        (Capability::CAP_BPF, "loading the BPF programs and maps"),
        (
            Capability::CAP_PERFMON,
            "attaching them to raw tracepoints, reading the target's memory and the kernel's from them",
        ),
        (Capability::CAP_SYS_PTRACE, "/proc/PID/maps, root, fd and ns of the target"),
        (
            Capability::CAP_SYS_ADMIN,
            "not needed, but for: reading the sockets of a target in another network namespace, uprobes, tracepoints where raw ones are not available, turning bpf_stats on and off (one thread keeps it for that)",
        ),
        (
            Capability::CAP_DAC_READ_SEARCH,
            "not needed, but for: tracefs, where only root may read it, and tables of a target that may read everything",
        ),
        (
            Capability::CAP_SETUID,
            "not needed, but for: reading the target's tables as its own user, where not everybody may read them",
        ),
        (Capability::CAP_SETGID, "as CAP_SETUID: the same of its groups"),
    ]
}

/// Those of [`wanted`] that are in effect, and those that are not. CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, CAP_DAC_OVERRIDE for
/// CAP_DAC_READ_SEARCH.
pub fn missing() -> (Vec<Capability>, Vec<Capability>) {
    let have = caps::read(None, CapSet::Effective).unwrap_or_default();
    let lacking = lacking(&have);
    let override_too = have.contains(&Capability::CAP_DAC_OVERRIDE);
    wanted().into_iter().map(|(capability, _)| capability).partition(|capability| match capability {
        Capability::CAP_DAC_READ_SEARCH => override_too || have.contains(capability),
        Capability::CAP_BPF | Capability::CAP_PERFMON => !lacking.contains(capability),
        other => have.contains(other),
    })
}

fn lacking(have: &CapsHashSet) -> Vec<Capability> {
    let admin = have.contains(&Capability::CAP_SYS_ADMIN);
    let there = |capability: &Capability| match capability {
        Capability::CAP_BPF | Capability::CAP_PERFMON => admin || have.contains(capability),
        other => have.contains(other),
    };
    [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_PTRACE]
        .into_iter()
        .filter(|capability| !there(capability))
        .collect()
}

/// The kernel refused although [`check`] found nothing missing, or something is missing.
pub(super) fn denied() -> ProbeError {
    let have = caps::read(None, CapSet::Effective).unwrap_or_default();
    error(&have, &lacking(&have))
}

fn error(have: &CapsHashSet, missing: &[Capability]) -> ProbeError {
    let mut relevant: Vec<Capability> =
        [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_PTRACE, Capability::CAP_SYS_ADMIN]
            .into_iter()
            .filter(|capability| have.contains(capability))
            .collect();
    relevant.sort_by_key(ToString::to_string);
    if missing.is_empty() {
        return ProbeError::Denied { have: names(&relevant) };
    }
    ProbeError::Capabilities { missing: names(missing), have: names(&relevant) }
}

fn names(capabilities: &[Capability]) -> String {
    if capabilities.is_empty() {
        return "none".to_owned();
    }
    capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_stands_for_bpf_and_perfmon_but_not_for_ptrace() {
        let admin = CapsHashSet::from([Capability::CAP_SYS_ADMIN]);
        assert_eq!(lacking(&admin), [Capability::CAP_SYS_PTRACE]);
        let message = error(&admin, &lacking(&admin)).to_string();
        assert!(
            message.contains("needs CAP_SYS_PTRACE") && message.contains("have: CAP_SYS_ADMIN"),
            "{message}"
        );
    }

    #[test]
    fn an_ordinary_user_is_told_all_three() {
        let none = CapsHashSet::new();
        let message = error(&none, &lacking(&none)).to_string();
        assert!(message.contains("CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE") && message.contains("have: none"));
    }
}
