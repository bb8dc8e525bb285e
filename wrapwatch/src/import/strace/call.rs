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
    Close,
    CloseRange,
    Dup2,
    Shutdown,
    GetPeer,
    Wait,
    Exec,
    Clone,
    Fork,
}

impl Name {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "accept" | "accept4" => Self::Accept,
            "open" | "creat" => Self::Open,
            "openat" | "openat2" => Self::OpenAt,
            "socket" => Self::Socket,
            "connect" => Self::Connect,
            "sendto" | "send" | "write" => Self::Send,
            "sendmsg" | "sendmmsg" | "writev" => Self::SendMsg,
            "recvfrom" | "recv" | "read" => Self::Recv,
            "recvmsg" | "recvmmsg" | "readv" => Self::RecvMsg,
            "close" => Self::Close,
            "close_range" => Self::CloseRange,
            "dup2" | "dup3" => Self::Dup2,
            "shutdown" => Self::Shutdown,
            "getpeername" => Self::GetPeer,
            "wait4" | "waitpid" => Self::Wait,
            "execve" | "execveat" => Self::Exec,
            "clone" | "clone3" => Self::Clone,
            "fork" | "vfork" => Self::Fork,
            _ => return None,
        })
    }
}
