//! Which capabilities are there, for error messages.

use procfs::process::Process;

use super::ProbeError;

/// Those that tracing takes, by their bit (linux/capability.h).
const WANTED: [(u32, &str); 4] =
    [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (19, "CAP_SYS_PTRACE"), (21, "CAP_SYS_ADMIN")];

/// The error that names what is missing and what is there.
pub(super) fn missing() -> ProbeError {
    let effective = Process::myself().and_then(|me| me.status()).map_or(0, |status| status.capeff);
    let named = |there: bool| {
        let names: Vec<&str> = WANTED
            .iter()
            .filter(|(bit, _)| (effective >> bit & 1 == 1) == there)
            .map(|(_, name)| *name)
            .collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    ProbeError::Capabilities { missing: named(false), have: named(true) }
}
