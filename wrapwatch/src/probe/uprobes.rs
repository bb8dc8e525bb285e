//! Uprobes on libwrap's functions, in one target.
//!
//! They follow the inode of the mapped file, so that very file is named, by a descriptor: with another copy of the library in the target's mount namespace
//! the host's path attaches and silently never fires. Where a function begins in it is known ([`Libwrap::functions`]): a loader that looks symbols up by
//! itself also opens what the target's file names for its debug information.

use aya::{
    Ebpf,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeLinkId, UProbeScope},
    },
};

use super::ProbeError;
use crate::{
    host::libwrap::Libwrap,
    model::{
        doctor::{Hook, HookKind, HookState},
        error_line,
    },
};

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
        let missing = || ProbeError::NoFunction { library: libwrap.path.clone(), function };
        let offset = libwrap.offset_of(function).ok_or_else(missing)?;
        let link = attach_one(ebpf, program, offset, libwrap, scope).map_err(|why| ProbeError::Attach {
            hook: format!("uprobe {function} in {}", libwrap.path),
            why: Box::new(why),
        })?;
        links.push((program, link));
    }
    Ok(Attached(links))
}

fn attach_one(
    ebpf: &mut Ebpf,
    program: &str,
    offset: u64,
    libwrap: &Libwrap,
    scope: UProbeScope,
) -> Result<UProbeLinkId, ProgramError> {
    let loaded: &mut UProbe =
        ebpf.program_mut(program).ok_or(ProgramError::NotLoaded).and_then(TryInto::try_into)?;
    match loaded.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
        Err(error) => return Err(error),
    }
    loaded.attach(offset, libwrap.file.path(), scope)
}

/// Every uprobe, as it is shown.
pub(super) fn names() -> impl Iterator<Item = String> {
    UPROBES.iter().map(|(program, function)| name(program, function))
}

fn name(program: &str, function: &str) -> String {
    if program.ends_with("_ret") { format!("{function}:return") } else { function.to_owned() }
}

/// Loads and attaches each in one target, whatever became of the others.
pub(super) fn try_each(ebpf: &mut Ebpf, pid: u32, libwrap: &Libwrap) -> Vec<Hook> {
    let scope = std::num::NonZeroU32::new(pid).map_or(UProbeScope::CallingProcess, UProbeScope::OneProcess);
    UPROBES
        .iter()
        .map(|(program, function)| {
            let (state, error) = match libwrap.offset_of(function) {
                None => (HookState::Absent, libwrap.unread.clone()),
                Some(offset) => match attach_one(ebpf, program, offset, libwrap, scope) {
                    Ok(_) => (HookState::Works, None),
                    Err(error) => (HookState::Refused, Some(error_line(&error))),
                },
            };
            Hook::new(name(program, function), HookKind::Uprobe, Some(pid), false, (state, error))
        })
        .collect()
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
