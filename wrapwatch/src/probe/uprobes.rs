//! Uprobes on libwrap's functions, in one target.
//!
//! They follow the inode of the mapped file, so the file is named by `/proc/PID/map_files`: with another copy of the library in the
//! target's mount namespace the host's path attaches and silently never fires.

use aya::{
    Ebpf,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeLinkId, UProbeScope},
    },
};

use super::ProbeError;
use crate::host::libwrap::Libwrap;

/// Program and function; a program ending in `_ret` goes on the return.
const UPROBES: [(&str, &str); 6] = [
    ("hosts_access", "hosts_access"),
    ("hosts_access_ret", "hosts_access"),
    ("rfc931", "rfc931"),
    ("rfc931_ret", "rfc931"),
    ("shell_cmd", "shell_cmd"),
    ("shell_cmd_ret", "shell_cmd"),
];

/// What was attached to one target.
pub(super) struct Attached(Vec<(&'static str, UProbeLinkId)>);

pub(super) fn attach(ebpf: &mut Ebpf, pid: u32, libwrap: &Libwrap) -> Result<Attached, ProbeError> {
    let scope = std::num::NonZeroU32::new(pid).map_or(UProbeScope::CallingProcess, UProbeScope::OneProcess);
    let mut links = Vec::new();
    for (program, function) in UPROBES {
        let failed = |source| ProbeError::Attach {
            hook: format!("uprobe {function} in {}", libwrap.path),
            source: Box::new(source),
        };
        let loaded: &mut UProbe = ebpf
            .program_mut(program)
            .ok_or(ProgramError::NotLoaded)
            .and_then(TryInto::try_into)
            .map_err(failed)?;
        match loaded.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(error) => return Err(failed(error)),
        }
        links.push((program, loaded.attach(function, &libwrap.file, scope).map_err(failed)?));
    }
    Ok(Attached(links))
}

pub(super) fn detach(ebpf: &mut Ebpf, attached: Attached) {
    for (program, link) in attached.0 {
        let Some(Ok(program)) = ebpf.program_mut(program).map(<&mut UProbe>::try_from) else { continue };
        if let Err(error) = program.detach(link) {
            // The process is gone, and its uprobes with it.
            log::debug!("detaching a uprobe: {error}");
        }
    }
}
