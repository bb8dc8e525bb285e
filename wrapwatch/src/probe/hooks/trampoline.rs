//! Trampolines (fentry, fexit): a program on a function of the kernel, which costs nothing where that is not called. Most are on the system calls' own
//! functions; what a busy server does all day is met in the protocols' functions. What happens to processes and sockets is told by raw tracepoints, as
//! in that set.

use std::{collections::BTreeSet, fs};

use aya::{
    Btf, Ebpf, Endianness,
    programs::{Program, ProgramError},
};
use wrapwatch_common::maps::Layout;

use super::{Attached, HookSet, Taken, proof, raw};
use crate::{
    host::kernel,
    model::{
        Degradation,
        doctor::{Hook as Tried, HookKind, HookState},
        error_line,
    },
    probe::{ProbeError, btf},
};

/// What a call's own function is called.
#[cfg(target_arch = "x86_64")]
const OF_CALL: &str = "__x64_sys_";
#[cfg(target_arch = "aarch64")]
const OF_CALL: &str = "__arm64_sys_";

/// What it means that a function does not exist here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    /// Architectures and kernels without it have nothing to see.
    IfThere,
}

/// A function of the kernel and its programs, which bear its name, that of a call without what all of those begin with.
#[derive(Clone, Copy)]
struct Hook {
    name: &'static str,
    is_call: bool,
    /// Whether there is one where it begins, and where it ends.
    begins: bool,
    ends: bool,
    need: Need,
}

impl Hook {
    const fn within(name: &'static str, begins: bool, ends: bool, need: Need) -> Self {
        Self { name, is_call: false, begins, ends, need }
    }

    fn function(&self) -> String {
        if self.is_call { format!("{OF_CALL}{}", self.name) } else { self.name.to_owned() }
    }

    /// As it is shown.
    fn name(&self, side: Side) -> String {
        format!("{}:{}", side.name(), self.function())
    }

    /// What its program is called.
    fn program(&self, side: Side) -> String {
        format!("{}_{}", side.name(), self.name)
    }

    /// The end first: of a call that sleeps in between nobody waits for an end that is not told.
    fn sides(&self) -> impl Iterator<Item = Side> + use<> {
        [(self.ends, Side::Exit), (self.begins, Side::Entry)]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, side)| side)
    }
}

#[derive(Clone, Copy)]
enum Side {
    Entry,
    Exit,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Entry => "fentry",
            Self::Exit => "fexit",
        }
    }
}

macro_rules! ends {
    (()) => {
        false
    };
    ($handler:tt) => {
        true
    };
}

macro_rules! calls {
    ($(
        $end:ident = $number:literal $kind:ident $end_handler:tt {
            $($begin:ident $class:ident $handler:tt: $($(#[$cfg:meta])* $call:ident $constant:ident $need:ident),+;)*
        }
    )*) => {
        const CALLS: &[Hook] = &[$($($(
            $(#[$cfg])*
            Hook { name: stringify!($call), is_call: true, begins: true, ends: ends!($end_handler), need: Need::$need },
        )+)*)*];
    };
}
wrapwatch_common::syscalls!(calls);

/// Calls that are met in the protocols' functions.
const WITHIN: [&str; 6] = ["recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg"];

const PROTOCOLS: [Hook; 11] = [
    Hook::within("udp_sendmsg", true, true, Need::Required),
    Hook::within("udp_recvmsg", true, true, Need::Required),
    Hook::within("udpv6_sendmsg", true, true, Need::IfThere),
    Hook::within("udpv6_recvmsg", true, true, Need::IfThere),
    Hook::within("unix_stream_sendmsg", true, true, Need::IfThere),
    Hook::within("unix_stream_recvmsg", true, true, Need::IfThere),
    Hook::within("unix_dgram_sendmsg", true, true, Need::IfThere),
    Hook::within("unix_dgram_recvmsg", true, true, Need::IfThere),
    Hook::within("tcp_sendmsg", true, false, Need::Required),
    Hook::within("mptcp_sendmsg", true, false, Need::IfThere),
    Hook::within("fd_install", true, false, Need::Required),
];
/// What a server receives is of interest where processes that it makes are followed, and where logins are: only then it pays for that.
const RECEIVES: Hook = Hook::within("tcp_recvmsg", true, true, Need::Required);

/// All that are attached at once.
fn hooks() -> impl Iterator<Item = Hook> {
    CALLS.iter().filter(|hook| !WITHIN.contains(&hook.name)).copied().chain(PROTOCOLS)
}

/// CAP_BPF and CAP_PERFMON, and a kernel that has them (Linux 5.17 on x86-64, 6.4 on 64-bit ARM) where they do no harm.
pub(in crate::probe) struct Trampolines;

impl HookSet for Trampolines {
    fn kind(&self) -> HookKind {
        HookKind::Trampoline
    }

    fn name(&self) -> &'static str {
        "trampolines"
    }

    fn attach(&self, ebpf: &mut Ebpf, layout: Option<&Layout>) -> Result<Attached, ProbeError> {
        let functions = functions()?;
        let there: Vec<Hook> =
            hooks().filter(|hook| functions.has(hook) || hook.need == Need::Required).collect();
        // All before the first is attached: where one is refused, nothing has happened.
        for hook in &there {
            for side in hook.sides() {
                let refused = |why: Box<ProgramError>| {
                    ProbeError::NoTrampolines(format!("{}: {}", hook.name(side), error_line(&*why)))
                };
                load_side(ebpf, &functions, hook, side).map_err(refused)?;
            }
        }
        let mut attached = Attached::default();
        raw::attach_events(ebpf, layout, &mut attached)?;
        for hook in &there {
            attach_one(ebpf, hook, &mut attached)?;
        }
        proof::an_accept_is_seen(ebpf)?;
        Ok(attached)
    }

    fn shows_receives(&self) -> bool {
        false
    }

    fn attach_receives(&self, ebpf: &mut Ebpf) -> Result<Attached, ProbeError> {
        let functions = functions()?;
        for side in RECEIVES.sides() {
            let name = RECEIVES.name(side);
            load_side(ebpf, &functions, &RECEIVES, side)
                .map_err(|why| ProbeError::Attach { hook: name, why })?;
        }
        let mut attached = Attached::default();
        attach_one(ebpf, &RECEIVES, &mut attached)?;
        Ok(attached)
    }

    fn not_run(&self) -> Option<&'static str> {
        (!proof::are_run()).then_some("kernel.ftrace_enabled was set to 0")
    }

    fn let_go(&self, ebpf: &mut Ebpf) {
        for hook in hooks().chain([RECEIVES]) {
            for side in hook.sides() {
                let let_go = match ebpf.program_mut(&hook.program(side)) {
                    Some(Program::FEntry(program)) => program.unload(),
                    Some(Program::FExit(program)) => program.unload(),
                    _ => continue,
                };
                // Those of functions that this kernel does not have, and what a server receives where nobody asked for that, were not loaded.
                if let Err(error) = let_go {
                    log::debug!("letting go of {}: {error}", hook.name(side));
                }
            }
        }
    }

    fn taken(&self, _why: &Taken<'_>) -> Option<Degradation> {
        None
    }

    fn ends_name_calls(&self) -> bool {
        true
    }

    fn hooks(&self) -> Vec<(String, bool)> {
        let all = hooks().chain([RECEIVES]);
        // Where there are none, another set is taken.
        all.flat_map(|hook| hook.sides().map(move |side| (hook.name(side), false))).collect()
    }

    fn programs(&self) -> Vec<String> {
        self.hooks().into_iter().map(|(name, _)| name).collect()
    }

    fn try_each(&self, ebpf: &mut Ebpf, _layout: Option<&Layout>) -> Vec<Tried> {
        let functions = functions();
        let mut all = Vec::new();
        for hook in hooks().chain([RECEIVES]) {
            for side in hook.sides() {
                let came = match &functions {
                    Err(why) => (HookState::Refused, Some(why.to_string())),
                    Ok(functions) if functions.has(&hook) => {
                        let loaded = load_side(ebpf, functions, &hook, side);
                        match loaded.and_then(|()| attach_side(ebpf, &hook, side)) {
                            Ok(()) => (HookState::Works, None),
                            Err(error) => (HookState::Refused, Some(error_line(&*error))),
                        }
                    }
                    Ok(_) => (HookState::Absent, None),
                };
                all.push(Tried::new(hook.name(side), self.kind(), None, false, came));
            }
        }
        all
    }
}

/// The functions of this kernel that there are programs for.
pub(in crate::probe) struct Functions {
    pub(in crate::probe) names: BTreeSet<String>,
    pub(in crate::probe) btf: Btf,
}

impl Functions {
    fn has(&self, hook: &Hook) -> bool {
        self.names.contains(&hook.function())
    }
}

/// Those of the sets' hooks, where a trampoline does no harm.
fn functions() -> Result<Functions, ProbeError> {
    functions_of(&hooks().chain([RECEIVES]).map(|hook| hook.function()).collect())
        .map_err(ProbeError::NoTrampolines)
}

/// As [`functions`], those of these names.
pub(in crate::probe) fn functions_of(wanted: &BTreeSet<String>) -> Result<Functions, String> {
    proof::are_safe()?;
    let named = |why: String| format!("{}: {why}", kernel::BTF);
    let found = {
        // Some mebibytes, which are gone before as many are needed for what was found.
        let bytes = fs::read(kernel::BTF).map_err(|error| named(error.to_string()))?;
        btf::Btf::new(&bytes).map_err(named)?.only_functions(wanted)
    };
    let btf = Btf::parse(&found.bytes, Endianness::default()).map_err(|error| named(error.to_string()))?;
    Ok(Functions { names: found.names, btf })
}

/// One that is loaded.
fn attach_one(ebpf: &mut Ebpf, hook: &Hook, attached: &mut Attached) -> Result<(), ProbeError> {
    for side in hook.sides() {
        let name = hook.name(side);
        attach_side(ebpf, hook, side).map_err(|why| ProbeError::Attach { hook: name.clone(), why })?;
        attached.hooks.push(name);
    }
    Ok(())
}

fn load_side(
    ebpf: &mut Ebpf,
    functions: &Functions,
    hook: &Hook,
    side: Side,
) -> Result<(), Box<ProgramError>> {
    let function = hook.function();
    match ebpf.program_mut(&hook.program(side)) {
        Some(Program::FEntry(program)) => program.load(&function, &functions.btf),
        Some(Program::FExit(program)) => program.load(&function, &functions.btf),
        _ => Err(ProgramError::NotLoaded),
    }
    .map_err(Box::new)
}

fn attach_side(ebpf: &mut Ebpf, hook: &Hook, side: Side) -> Result<(), Box<ProgramError>> {
    match ebpf.program_mut(&hook.program(side)) {
        Some(Program::FEntry(program)) => program.attach().map(drop),
        Some(Program::FExit(program)) => program.attach().map(drop),
        _ => Err(ProgramError::NotLoaded),
    }
    .map_err(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_side_knows_the_numbers_of_calls() {
        #[cfg(target_arch = "aarch64")]
        use wrapwatch_common::syscalls::number::aarch64 as number;
        #[cfg(target_arch = "x86_64")]
        use wrapwatch_common::syscalls::number::x86_64 as number;

        for (known, real) in [
            (number::WRITE, libc::SYS_write),
            (number::WRITEV, libc::SYS_writev),
            (number::ACCEPT, libc::SYS_accept),
            (number::ACCEPT4, libc::SYS_accept4),
            (number::SENDTO, libc::SYS_sendto),
            (number::SENDMSG, libc::SYS_sendmsg),
            (number::RECVFROM, libc::SYS_recvfrom),
            (number::RECVMSG, libc::SYS_recvmsg),
        ] {
            assert_eq!(i64::from(known), real);
        }
    }

    #[test]
    fn what_is_within_a_protocol_is_a_call_of_the_table() {
        for name in WITHIN {
            assert!(CALLS.iter().any(|hook| hook.name == name), "{name}");
        }
    }
}
