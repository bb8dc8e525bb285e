//! Giving up what is no longer needed once everything is attached.

use caps::{CapSet, Capability, CapsHashSet};

/// Keeps what reading the ring, the maps, /proc of the target and its files takes, and nothing else. `extra` is kept as well.
///
/// Not being able to give something up is no reason to stop: it is logged.
pub fn drop_all_but(extra: &[Capability]) {
    let mut keep: CapsHashSet = [
        Capability::CAP_BPF,
        Capability::CAP_PERFMON,
        Capability::CAP_SYS_PTRACE,
        Capability::CAP_DAC_READ_SEARCH,
    ]
    .into_iter()
    .chain(extra.iter().copied())
    .collect();
    // Linux 5.10 lets nobody without either of them read a map; later ones whoever has it open.
    if !caps::has_cap(None, CapSet::Permitted, Capability::CAP_BPF).unwrap_or(true) {
        keep.insert(Capability::CAP_SYS_ADMIN);
    }
    keep_of(&mut keep);
}

/// Keeps these of what the thread has, and nothing else.
pub(super) fn keep_only(these: &[Capability]) {
    keep_of(&mut these.iter().copied().collect());
}

fn keep_of(keep: &mut CapsHashSet) {
    let permitted = caps::read(None, CapSet::Permitted).unwrap_or_default();
    keep.retain(|capability| permitted.contains(capability));
    // The bounding set cannot be narrowed without CAP_SETPCAP, and needs not be: nothing is executed from here on.
    for set in [CapSet::Effective, CapSet::Permitted] {
        if let Err(error) = caps::set(None, set, keep) {
            log::info!("keeping capabilities that are no longer needed: {error}");
        }
    }
}
