//! What can go wrong when the machine is asked.

use std::io;

/// A question about a process or a file that got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// No process has this PID.
    #[error("no process with pid {0}")]
    NoProcess(u32),
    /// The process ended meanwhile.
    #[error("pid {0} has exited")]
    Exited(u32),
    /// Another user's process, without the capability to look into it.
    #[error("no permission to look into pid {pid} ({what}): needs root, or CAP_SYS_PTRACE; run with sudo")]
    Permission {
        /// Process.
        pid: u32,
        /// What was asked.
        what: &'static str,
    },
    /// No process of the kind that was asked for.
    #[error("{0}")]
    NotFound(String),
    /// A process that accepts nothing.
    #[error(
        "pid {pid} ({comm}) has no listening TCP socket, and no libwrap that it asks about datagrams: there is nothing to show"
    )]
    NotListening {
        /// Process.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// Anything else.
    #[error("cannot read {what}: {source}")]
    Io {
        /// What was asked.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A file, or what the kernel says of a process, that does not come.
    #[error(
        "{what} could not be read within {limit:?}: what it is on does not answer, or the machine is overloaded"
    )]
    Slow {
        /// What was asked.
        what: String,
        /// How long it was waited for.
        limit: std::time::Duration,
    },
    /// Too many questions about one process have no answer yet.
    #[error("wrapwatch reads nothing more for pid {0}: too many of its files do not come")]
    Stuck(u32),
    /// A file that is not what it should be.
    #[error("{what} is not usable: {why}")]
    Unusable {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
}

impl HostError {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// The reason alone, where what it is about was said already.
    pub fn why(&self) -> String {
        match self {
            Self::Io { source, .. } => {
                let text = source.to_string();
                text.split_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
            }
            Self::Unusable { why, .. } => why.clone(),
            other => other.to_string(),
        }
    }

    /// The kernel refused for want of privilege, or has no such thing (a module that is not to be had): another way may still lead there.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Permission { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
            }
            _ => false,
        }
    }

    /// What made all files of a process unreadable, said of one of them.
    pub(crate) fn again(path: &str, error: &Self) -> Self {
        match error {
            Self::Permission { pid, what } => Self::Permission { pid: *pid, what },
            other => Self::Unusable { what: path.to_owned(), why: other.to_string() },
        }
    }

    /// From procfs, about one process.
    pub(crate) fn proc(pid: u32, what: &'static str, error: procfs::ProcError) -> Self {
        match error {
            procfs::ProcError::NotFound(_) => Self::Exited(pid),
            procfs::ProcError::PermissionDenied(_) => Self::Permission { pid, what },
            procfs::ProcError::Io(source, _) if source.raw_os_error() == Some(libc::ESRCH) => {
                Self::Exited(pid)
            }
            procfs::ProcError::Io(source, _) => Self::io(format!("/proc/{pid}/{what}"), source),
            other => Self::Unusable { what: format!("/proc/{pid}/{what}"), why: other.to_string() },
        }
    }
}
