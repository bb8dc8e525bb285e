//! The calls that matter.

/// A call that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Accept,
    Open,
    OpenAt,
    Socket,
    Connect,
    Send,
    SendMsg,
    Recv,
    RecvMsg,
    Poll,
    Close,
    CloseRange,
    Dup,
    Fcntl,
    /// What a thread was in when strace attached goes on.
    Restart,
    Shutdown,
    GetPeer,
    Wait,
    Exec,
    Clone,
    Fork,
    /// Of which only the time matters: what its thread does next is after it.
    Other,
}

impl Name {
    pub(super) fn parse(name: &str) -> Self {
        match name {
            "accept" | "accept4" => Self::Accept,
            "open" | "creat" => Self::Open,
            "openat" | "openat2" => Self::OpenAt,
            "socket" => Self::Socket,
            "connect" => Self::Connect,
            "sendto" | "send" | "write" => Self::Send,
            "sendmsg" | "sendmmsg" | "writev" => Self::SendMsg,
            "recvfrom" | "recv" | "read" => Self::Recv,
            "recvmsg" | "recvmmsg" | "readv" => Self::RecvMsg,
            "poll" | "ppoll" => Self::Poll,
            "close" => Self::Close,
            "close_range" => Self::CloseRange,
            "dup" | "dup2" | "dup3" => Self::Dup,
            "fcntl" | "fcntl64" => Self::Fcntl,
            "restart_syscall" => Self::Restart,
            "shutdown" => Self::Shutdown,
            "getpeername" => Self::GetPeer,
            "wait4" | "waitpid" => Self::Wait,
            "execve" | "execveat" => Self::Exec,
            "clone" | "clone3" => Self::Clone,
            "fork" | "vfork" => Self::Fork,
            _ => Self::Other,
        }
    }
}

/// What calls show. A kind of which a log has none was not traced, and what it would have shown is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// Clients: `accept`, `accept4`.
    Accept,
    /// Files: `open`, `openat`, `openat2`.
    Open,
    /// Whom a socket talks to: `connect`.
    Connect,
    /// Messages that leave: `sendto`, `sendmsg`, `sendmmsg`.
    Send,
    /// Messages that come in: `recvfrom`, `recvmsg`, `recvmmsg`.
    Recv,
    /// `write`, `writev`.
    Write,
    /// `read`, `readv`.
    Read,
    /// The end of what is open: `close`.
    Close,
    /// Waiting: `poll`, `select`, `epoll_wait` and the like.
    Poll,
    /// Threads and processes: `clone`, `fork`.
    Clone,
}

impl CallKind {
    /// The kind of a call by its name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "accept" | "accept4" => Self::Accept,
            "open" | "creat" | "openat" | "openat2" => Self::Open,
            "connect" => Self::Connect,
            "sendto" | "send" | "sendmsg" | "sendmmsg" => Self::Send,
            "recvfrom" | "recv" | "recvmsg" | "recvmmsg" => Self::Recv,
            "write" | "writev" => Self::Write,
            "read" | "readv" | "pread64" => Self::Read,
            "close" => Self::Close,
            "poll" | "ppoll" | "select" | "pselect6" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => {
                Self::Poll
            }
            "clone" | "clone3" | "fork" | "vfork" => Self::Clone,
            _ => return None,
        })
    }
}
