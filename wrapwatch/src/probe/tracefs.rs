//! Where tracepoints are described.
//!
//! The numbers that perf_event_open(2) wants stand in tracefs. Many servers do not mount it until someone traces; then it is mounted for this process alone, in
//! a mount namespace of its own, so nothing is left behind and nobody else sees it.

use std::path::{Path, PathBuf};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::ProbeError;

const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The folder of the events, if tracefs is mounted.
pub(super) fn events() -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join("events")).find(|events| events.join("sched").is_dir())
}

/// Where tracefs is mounted, if it can be seen.
pub fn mounted() -> Option<&'static str> {
    PLACES.into_iter().find(|place| Path::new(place).join("events/sched").is_dir())
}

/// Makes sure that tracefs can be seen, and says where its events are. Where it has to be mounted, only the calling thread sees it: a mount namespace
/// is a thread's.
pub(super) fn ensure() -> Result<PathBuf, ProbeError> {
    if let Some(events) = events() {
        return Ok(events);
    }
    mount_privately().map_err(|errno| ProbeError::NoTracefs(errno.into()))?;
    events().ok_or_else(|| ProbeError::NoTracefs(std::io::ErrorKind::NotFound.into()))
}

fn mount_privately() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("none"), PLACES[0], Some("tracefs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, none)
}
