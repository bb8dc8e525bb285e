//! Loading the object: version, map sizes, log level.

use std::ops::RangeInclusive;

use aya::{Ebpf, EbpfError, EbpfLoader, maps::MapError};
use aya_log::EbpfLogger;

use wrapwatch_common::maps::{Layout, PidNamespace};
use zerocopy::IntoBytes as _;

use super::{Options, ProbeError};

/// Entries of the maps keyed by descriptor or connection, whatever the target's limits say: only connections that are not greeted yet are
/// in them, and the memory is the kernel's.
const ENTRIES: RangeInclusive<u64> = 4_096..=65_536;

type Loaded = (Ebpf, Option<EbpfLogger<&'static dyn log::Log>>);

/// Entries of the maps keyed by target, how many there are now: others may come, and the processes that they make.
const TARGETS: RangeInclusive<u64> = 16_384..=65_536;

/// Loads the object with these offsets, all 0 where nothing of the kernel's may be read, to name processes as this PID namespace does.
pub(super) fn load(
    object: &[u8],
    options: &Options,
    layout: &Layout,
    namespace: PidNamespace,
) -> Result<Loaded, ProbeError> {
    check_kernel()?;
    let targets = clamp(options.targets.saturating_mul(4), &TARGETS);
    let fds = clamp(options.max_fds, &ENTRIES);
    let threads = clamp(options.threads.saturating_mul(4), &ENTRIES);
    // Rust's log levels as aya-log numbers them: 0 writes nothing.
    let level: u8 = if options.kernel_log { 0xff } else { 0 };
    let wake = options.ring_bytes / 4;
    let mut offsets = [0; size_of::<Layout>()];
    offsets.copy_from_slice(layout.as_bytes());
    let mut numbers = [0; size_of::<PidNamespace>()];
    numbers.copy_from_slice(namespace.as_bytes());
    let mut ebpf = EbpfLoader::new()
        .map_max_entries("TARGETS", targets)
        .map_max_entries("NETNS", targets)
        .map_max_entries("WATCH", fds)
        .map_max_entries("CONNS", fds)
        .map_max_entries("SOCKS", fds)
        .map_max_entries("THREADS", threads)
        .map_max_entries("INFLIGHT", threads)
        .map_max_entries("EVENTS", options.ring_bytes)
        .override_global("WAKE_BYTES", &wake, true)
        .override_global("LOGINS", &u32::from(options.logins), true)
        .override_global("LAYOUT", &offsets, true)
        .override_global("PID_NAMESPACE", &numbers, true)
        .override_global(aya_log::LEVEL, &level, false)
        .load(object)
        .map_err(explain)?;
    for map in ["WATCH", "CONNS", "SOCKS", "THREADS", "INFLIGHT", "EVENTS", "TARGETS", "NETNS"] {
        // aya ignores an unknown name in map_max_entries.
        if ebpf.map(map).is_none() {
            return Err(ProbeError::Missing(format!("map {map}")));
        }
    }
    let logger = if options.kernel_log { EbpfLogger::init(&mut ebpf).ok() } else { None };
    Ok((ebpf, logger))
}

fn clamp(wanted: u64, range: &RangeInclusive<u64>) -> u32 {
    u32::try_from(wanted.clamp(*range.start(), *range.end())).unwrap_or(u32::MAX)
}

fn check_kernel() -> Result<(), ProbeError> {
    let release =
        nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default();
    if has_ring_buffer(&release) { Ok(()) } else { Err(ProbeError::OldKernel { release }) }
}

/// The BPF ring buffer came with Linux 5.8. A release that does not begin with numbers is left to the kernel to refuse.
fn has_ring_buffer(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version == (0, 0) || version >= (5, 8)
}

/// Missing capabilities show as EPERM from the first map.
fn explain(error: EbpfError) -> ProbeError {
    let denied = match &error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) => {
            io_error.raw_os_error() == Some(libc::EPERM)
        }
        _ => false,
    };
    if denied { super::capabilities::denied() } else { ProbeError::Load(Box::new(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_without_a_ring_buffer_are_named() {
        for new in ["5.8.0", "5.10.262", "6.1.0-50-cloud-amd64", "7.2.13+deb14", "custom"] {
            assert!(has_ring_buffer(new), "{new}");
        }
        for old in ["5.7.19", "4.19.0-27-amd64", "3.10.0-1160.el7.x86_64"] {
            assert!(!has_ring_buffer(old), "{old}");
            let said = ProbeError::OldKernel { release: old.to_owned() }.to_string();
            assert!(said.contains(old) && said.contains("import strace"), "{said}");
        }
    }
}
