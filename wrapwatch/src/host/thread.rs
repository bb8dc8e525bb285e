//! What a target has open right now that belongs to a check in progress: used at attach, when one may have begun before.

use std::net::SocketAddr;

use netlink_packet_sock_diag::{
    constants::{IPPROTO_TCP, IPPROTO_UDP},
    inet::StateFlags,
};
use procfs::process::{FDTarget, Process};

use super::{
    HostError,
    sockdiag::{SockDiag, socket_fds},
};

/// Port of nameservers.
const DOMAIN: u16 = 53;

/// A check in progress, as far as its descriptors show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InProgress {
    /// Open tables: descriptor and path.
    pub tables: Vec<(i32, String)>,
    /// UDP sockets connected to nameservers: descriptor and nameserver.
    pub dns: Vec<(i32, SocketAddr)>,
    /// Accepted connections to which nothing was sent yet: descriptor, this side, the other side.
    pub ungreeted: Vec<(i32, SocketAddr, SocketAddr)>,
}

/// What is open; None where no table is, for then no check is in progress.
pub fn in_progress(
    pid: u32,
    diag: &mut SockDiag,
    tables: &[String],
    ports: &[u16],
) -> Result<Option<InProgress>, HostError> {
    let tables = open_files(pid, tables)?;
    if tables.is_empty() {
        return Ok(None);
    }
    let fds = socket_fds(pid)?;
    let dns = diag
        .dump(IPPROTO_UDP, &StateFlags::all(), 0)?
        .into_iter()
        .filter(|socket| socket.peer.port() == DOMAIN)
        .filter_map(|socket| Some((*fds.get(&socket.inode)?, socket.peer)))
        .collect();
    let mut ungreeted = Vec::new();
    for &port in ports {
        let states = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT;
        for socket in diag.dump(IPPROTO_TCP, &states, port)? {
            if let Some(&fd) = fds.get(&socket.inode)
                && socket.data_segments_out == Some(0)
            {
                ungreeted.push((fd, socket.local, socket.peer));
            }
        }
    }
    Ok(Some(InProgress { tables, dns, ungreeted }))
}

/// The descriptors on files of these paths.
fn open_files(pid: u32, paths: &[String]) -> Result<Vec<(i32, String)>, HostError> {
    let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
    let process = Process::new(raw).map_err(|e| HostError::proc(pid, "fd", e))?;
    let fds = process.fd().map_err(|e| HostError::proc(pid, "fd", e))?;
    Ok(fds
        .filter_map(Result::ok)
        .filter_map(|info| match info.target {
            FDTarget::Path(path) => {
                let path = path.display().to_string();
                paths.contains(&path).then_some((info.fd, path))
            }
            _ => None,
        })
        .collect())
}
