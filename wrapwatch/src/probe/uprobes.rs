//! Uprobes on libwrap's functions: in one target, or in whatever process maps its libwrap, where the processes that it makes are followed.
//!
//! They follow the inode of the mapped file, so that very file is named, by a descriptor: with another copy of the library in the target's mount namespace
//! the host's path attaches and silently never fires. Where a function begins in it is known ([`Libwrap::functions`]): a loader that looks symbols up by
//! itself also opens what the target's file names for its debug information.

use std::{collections::BTreeMap, thread};

use aya::{
    Ebpf,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeLinkId, UProbeScope},
    },
};

use super::{ProbeError, family::scope};
use crate::{
    host::libwrap::Libwrap,
    model::{
        doctor::{Hook, HookKind, HookState},
        error_line,
    },
};

/// Program and function; a program ending in `_ret` goes on the return.
const UPROBES: [(&str, &str); 8] = [
    ("hosts_access", "hosts_access"),
    ("hosts_access_ret", "hosts_access"),
    ("hosts_ctl", "hosts_ctl"),
    ("hosts_ctl_ret", "hosts_ctl"),
    ("rfc931", "rfc931"),
    ("rfc931_ret", "rfc931"),
    ("shell_cmd", "shell_cmd"),
    ("shell_cmd_ret", "shell_cmd"),
];

/// Address space of a thread that takes one off.
const STACK_BYTES: usize = 64 << 10;

/// What was attached.
pub(super) struct Attached(Vec<(&'static str, UProbeLinkId)>);

/// All uprobes. A file that has them in every process has them once: a function that is entered is told once.
#[derive(Default)]
pub(super) struct Uprobes {
    /// By target: the inode of its libwrap, and what is in that process alone.
    targets: BTreeMap<u32, (u64, Option<Attached>)>,
    /// By inode: what is in every process.
    everywhere: BTreeMap<u64, Attached>,
}

impl Uprobes {
    /// Puts them where a target needs them, in the place of those that it has.
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        pid: u32,
        libwrap: &Libwrap,
        follows: bool,
    ) -> Result<(), ProbeError> {
        let inode = libwrap.inode;
        if follows && !self.everywhere.contains_key(&inode) {
            self.everywhere.insert(inode, attach(ebpf, scope(pid, true), libwrap)?);
            for (_, alone) in self.targets.values_mut().filter(|(of, _)| *of == inode) {
                if let Some(alone) = alone.take() {
                    detach(ebpf, alone);
                }
            }
        }
        let alone = if self.everywhere.contains_key(&inode) {
            None
        } else {
            Some(attach(ebpf, scope(pid, false), libwrap)?)
        };
        if let Some(before) = self.targets.insert(pid, (inode, alone)) {
            self.let_go(ebpf, before);
        }
        Ok(())
    }

    pub(super) fn has(&self, pid: u32) -> bool {
        self.targets.contains_key(&pid)
    }

    /// A target is gone.
    pub(super) fn remove(&mut self, ebpf: &mut Ebpf, pid: u32) {
        if let Some(before) = self.targets.remove(&pid) {
            self.let_go(ebpf, before);
        }
    }

    /// What was there for a target, which is no longer in the list.
    fn let_go(&mut self, ebpf: &mut Ebpf, (inode, alone): (u64, Option<Attached>)) {
        if let Some(alone) = alone {
            detach(ebpf, alone);
        }
        if !self.targets.values().any(|(used, _)| *used == inode)
            && let Some(unused) = self.everywhere.remove(&inode)
        {
            detach(ebpf, unused);
        }
    }
}

fn attach(ebpf: &mut Ebpf, scope: UProbeScope, libwrap: &Libwrap) -> Result<Attached, ProbeError> {
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
    let scope = scope(pid, false);
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

/// Takes them off, without waiting for it: the kernel waits for all CPUs, a tenth of a second for each uprobe where these are busy; for those that go at the same time once.
fn detach(ebpf: &mut Ebpf, attached: Attached) {
    for (program, link) in attached.0 {
        let Some(Ok(program)) = ebpf.program_mut(program).map(<&mut UProbe>::try_from) else { continue };
        let taken = program.take_link(link).map_err(|error| error_line(&error));
        let going = taken.and_then(|link| {
            let thread = thread::Builder::new().name("wwt-detach".to_owned()).stack_size(STACK_BYTES);
            // Where there is no thread it goes here.
            thread.spawn(move || drop(link)).map_err(|error| error_line(&error))
        });
        if let Err(error) = going {
            // As a rule the process is gone, and its uprobes with it.
            log::debug!("detaching a uprobe: {error}");
        }
    }
}
