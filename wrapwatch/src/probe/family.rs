//! The processes that a server makes: whether they can be followed, and the first of them.

use std::num::NonZeroU32;

use aya::{
    Ebpf,
    programs::{RawTracePoint, uprobe::UProbeScope},
};
use wrapwatch_common::maps::{Layout, PidNamespace, Target};

use super::{Probe, ProbeError};
use crate::{
    host::{children, libwrap::Libwrap, process, thread},
    model::error_line,
};

/// Processes that a server has made before: more are not followed.
const AT_MOST: usize = 10_000;
/// The program on `sched_process_fork`, in all sets of hooks: perf's tracepoint of that name does not tell threads from processes.
const PROGRAM: &str = "process_fork";
/// The hook, as it is shown.
pub(super) const HOOK: &str = "raw_tracepoint:sched_process_fork";

/// Attaches what tells of new processes; why not, where that cannot be.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    layout: Option<&Layout>,
    namespace: PidNamespace,
) -> Result<(), String> {
    let Some(layout) = layout else { return Err("where the kernel keeps a socket is not known".to_owned()) };
    if [layout.task_pid, layout.task_tgid, layout.task_files, layout.socket_sk].contains(&0) {
        return Err("where the kernel keeps a process' sockets is not known".to_owned());
    }
    if namespace.inode != 0 {
        return Err("the number of a new process in this PID namespace is not known".to_owned());
    }
    let program = ebpf.program_mut(PROGRAM).ok_or_else(|| format!("no program {PROGRAM}"))?;
    let attached = <&mut RawTracePoint>::try_from(program).and_then(|program| {
        program.load()?;
        program.attach("sched_process_fork")
    });
    attached.map(drop).map_err(|error| format!("{HOOK}: {}", error_line(&error)))
}

impl Probe {
    /// Follows the processes that a target makes, and those that it has made: whoever of them has a client's socket works for that client. `libwrap`: the file that they
    /// map. An error where that is not possible, or not with all of them.
    pub fn follow(&mut self, pid: u32, libwrap: Option<&Libwrap>) -> Result<(), String> {
        self.follows.clone()?;
        self.attach_receives().map_err(|error| error.to_string())?;
        let context = libwrap.and_then(|found| found.context_from_check).unwrap_or(0);
        let follows = if self.uprobes.has(pid) { Target::CHECKS_TOLD } else { Target::FOLLOWED };
        self.registry.follow(&mut self.ebpf, pid, follows, context).map_err(|error| error.to_string())?;
        let (family, all) = children::family(pid, AT_MOST).map_err(|error| error.to_string())?;
        for child in family {
            self.adopt(pid, child).map_err(|error| error.to_string())?;
        }
        if all { Ok(()) } else { Err(format!("it has made more than {AT_MOST} processes")) }
    }

    fn adopt(&mut self, pid: u32, child: u32) -> Result<(), ProbeError> {
        let mut midway = Vec::new();
        if !self.set.ends_name_calls() {
            midway = process::threads(child);
            midway.retain(|tid| thread::may_be_accepting(child, *tid));
        }
        self.registry.adopt(&mut self.ebpf, pid, child, &midway)
    }

    /// There will be several targets, or one whose processes are followed. To be called before any of them is a target, see [`Registry::look_everything_up`].
    ///
    /// [`Registry::look_everything_up`]: super::registry::Registry::look_everything_up
    pub fn expect_several(&mut self) -> Result<(), ProbeError> {
        self.registry.look_everything_up(&mut self.ebpf)
    }

    /// Forgets what processes that are gone have left behind. To be called now and then.
    pub fn sweep(&mut self) -> Result<(), ProbeError> {
        self.registry.sweep(&mut self.ebpf)
    }
}

/// Where the uprobes of a target fire: in whatever process maps the file, if the target's are followed.
pub(super) fn scope(pid: u32, follows: bool) -> UProbeScope {
    match NonZeroU32::new(pid) {
        _ if follows => UProbeScope::AllProcesses,
        Some(pid) => UProbeScope::OneProcess(pid),
        None => UProbeScope::CallingProcess,
    }
}
