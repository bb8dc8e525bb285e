//! What can go wrong between wrapwatch and the kernel. Each message says what to try.

use std::io;

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use crate::model::error_line;

/// Loading, attaching or reading failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The capabilities needed are not there.
    #[error("needs {missing} to trace with eBPF (have: {have}); run with sudo, or as root")]
    Capabilities {
        /// Those missing.
        missing: String,
        /// Those there.
        have: String,
    },
    /// The kernel says no although the capabilities are there.
    #[error(
        "the kernel refuses eBPF (EPERM) in spite of {have}: a container's user namespace or seccomp filter, or lockdown; run outside it"
    )]
    Denied {
        /// Those there.
        have: String,
    },
    /// tracefs is not mounted, and cannot be.
    #[error(
        "tracefs is not mounted on /sys/kernel/tracing and cannot be mounted for this run ({0}); mount it: mount -t tracefs none /sys/kernel/tracing"
    )]
    NoTracefs(io::Error),
    /// The kernel is older than the oldest that has what is needed.
    #[error(
        "Linux {release} has no BPF ring buffer (needs 5.8); record with strace there, and use: wrapwatch import strace LOG -o FILE.wwt"
    )]
    OldKernel {
        /// `uname -r`.
        release: String,
    },
    /// The object is of another version than the loader: a broken build.
    #[error(
        "the eBPF object inside this binary speaks ABI {found}, the binary {expected}: the build is broken"
    )]
    Abi {
        /// The object's.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The kernel refused the object.
    #[error("the kernel refused the eBPF object: {0}")]
    Load(Box<EbpfError>),
    /// The verifier refused a program, or it could not be attached.
    #[error("cannot attach {hook}: {}", error_line(&**why))]
    Attach {
        /// `category:event` or the function.
        hook: String,
        /// Why not: of the verifier's many lines the first. Not called the source, for then they would be printed behind it.
        why: Box<ProgramError>,
    },
    /// A tracepoint that nothing works without.
    #[error(
        "this kernel has no tracepoint {0}; it needs CONFIG_FTRACE_SYSCALLS (wrapwatch doctor shows what is there)"
    )]
    NoTracepoint(String),
    /// The kernel lets nobody trace.
    #[error(
        "this kernel is locked down to confidentiality and lets nobody trace (kernel_lockdown(7)); boot it with lockdown=integrity, or record with strace, and use: wrapwatch import strace LOG -o FILE.wwt"
    )]
    LockedDown,
    /// Trampolines are not to be had here; none was attached.
    #[error("trampolines cannot be used: {0}")]
    NoTrampolines(String),
    /// Trampolines were attached, and nothing came of it.
    #[error("trampolines cannot be used: they are attached, but this kernel does not run them")]
    NotRun,
    /// The kernel takes none of the sets of hooks.
    #[error("no usable hook on system calls: {refused}")]
    NoHooks {
        /// Each set, and why not.
        refused: String,
    },
    /// /proc is of another PID namespace than this process.
    #[error(
        "/proc shows the processes of another PID namespace than wrapwatch's own, so their numbers mean other processes here; give this namespace \
         a /proc of its own (unshare --mount-proc; nsenter with -m beside -p), or run wrapwatch on the host"
    )]
    OtherProc,
    /// The process lives in a namespace within that of this process, which is not the first one.
    #[error(
        "pid {pid} lives in a PID namespace of its own within wrapwatch's, and this kernel does not say which number it has here; run \
         wrapwatch on the host, or in that namespace: nsenter -t {pid} -p -m wrapwatch"
    )]
    OtherPidNamespace {
        /// By its number here.
        pid: u32,
    },
    /// The process runs a 32-bit program.
    #[error(
        "pid {pid} runs a 32-bit program, and no hook shows the system calls of such a program; record it with strace, and use: wrapwatch import strace LOG \
         -o FILE.wwt"
    )]
    Program32 {
        /// Process.
        pid: u32,
    },
    /// A map has no room for another target.
    #[error("no room for another target: eBPF map {map} is full; a second wrapwatch can trace it")]
    Full {
        /// The map's name.
        map: &'static str,
    },
    /// A map could not be read or written.
    #[error("eBPF map {map}: {source}")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why not.
        source: Box<MapError>,
    },
    /// The object lacks something that this version expects.
    #[error("the eBPF object inside this binary lacks {0}: the build is broken")]
    Missing(String),
    /// A target's library has no such function, or its symbols could not be read.
    #[error("{library} has no function {function} that a uprobe could be put on")]
    NoFunction {
        /// Its path in the target.
        library: String,
        /// What is missing.
        function: &'static str,
    },
    /// Whose processes are meant cannot be told without /proc.
    #[error("cannot read /proc/self/status: {0}")]
    NoProc(io::Error),
    /// Waiting for the ring failed.
    #[error("cannot wait for events: {0}")]
    Wait(#[from] io::Error),
}

impl ProbeError {
    /// None of these sets of hooks was taken. Of a single one that was tried its own error says all.
    pub(super) fn none_of(mut refused: Vec<(&'static str, Self)>, lockdown: Option<&str>) -> Self {
        if let [_] = &refused[..]
            && let Some((_, only)) = refused.pop()
        {
            return only;
        }
        if lockdown == Some("confidentiality") {
            return Self::LockedDown;
        }
        let refused: Vec<String> = refused.iter().map(|(set, why)| format!("{set}: {why}")).collect();
        Self::NoHooks { refused: refused.join("; ") }
    }

    /// Whether it is about the hooks tried, so that others may still be had.
    pub(super) const fn is_about_hooks(&self) -> bool {
        matches!(
            self,
            Self::Attach { .. }
                | Self::NoTracefs(_)
                | Self::NoTracepoint(_)
                | Self::NoTrampolines(_)
                | Self::NotRun
        )
    }

    pub(crate) fn map(map: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| match &source {
            MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::E2BIG) => {
                Self::Full { map }
            }
            _ => Self::Map { map, source: Box::new(source) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sets_refused_is_one_line_that_says_why() {
        let refused = |hook: &str| ProbeError::NoTracepoint(hook.to_owned());
        let all =
            || vec![("raw tracepoints", refused("sys_enter")), ("tracepoints", refused("sys_enter_read"))];
        let said = ProbeError::none_of(all(), Some("integrity")).to_string();
        assert!(said.contains("raw tracepoints: ") && said.contains("; tracepoints: "), "{said}");
        assert!(said.contains("sys_enter;") && said.contains("sys_enter_read"), "{said}");
        // With lockdown=confidentiality Linux has neither kernel memory for programs nor tracefs.
        let said = ProbeError::none_of(all(), Some("confidentiality")).to_string();
        assert!(said.contains("locked down") && said.contains("import strace"), "{said}");
        // What was asked for alone is refused in its own words.
        let said = ProbeError::none_of(vec![("tracepoints", refused("sys_enter_read"))], None).to_string();
        assert_eq!(said, refused("sys_enter_read").to_string());
    }

    #[test]
    fn what_the_verifier_said_does_not_spoil_the_line() {
        let why = Box::new(ProgramError::IOError(io::Error::other("refused\n0: R1=ctx()\n1: (79) r3")));
        let said = ProbeError::Attach { hook: "sys_enter".to_owned(), why };
        assert!(std::error::Error::source(&said).is_none());
        let said = said.to_string();
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
