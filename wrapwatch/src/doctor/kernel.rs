//! The kernel's part.

use crate::{host::kernel as host, model::doctor::Kernel, probe};

pub(super) fn read(found: &probe::trial::Found) -> Kernel {
    let (release, machine) = host::release();
    let (have, missing) = probe::missing_capabilities();
    let names = |list: &[caps::Capability]| list.iter().map(ToString::to_string).collect();
    Kernel {
        release,
        machine,
        btf: host::has_btf(),
        lockdown: host::lockdown(),
        tracefs: probe::tracefs_mounted().map(ToOwned::to_owned),
        // Where nothing was loaded for want of privilege, nothing is known of the kernel.
        ring_buffer: (found.ring_buffer || missing.is_empty()).then_some(found.ring_buffer),
        perf_event_paranoid: host::number(host::PERF_EVENT_PARANOID),
        unprivileged_bpf_disabled: host::number(host::UNPRIVILEGED_BPF),
        capabilities: names(&have),
        capabilities_missing: names(&missing),
        container: host::container_signs(),
    }
}
