//! What a process has open, as `/proc/PID/fd` shows it: in one look, for a server has thousands of descriptors and opens others meanwhile.

use std::collections::HashMap;

use procfs::process::{FDTarget, Process};

use super::HostError;

/// What is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// Inode → descriptor of the sockets.
    pub sockets: HashMap<u64, i32>,
    /// Descriptor and path of the files that were asked for.
    pub files: Vec<(i32, String)>,
}

impl Descriptors {
    /// The sockets of a process, and its files of these paths.
    pub fn read(pid: u32, paths: &[String]) -> Result<Self, HostError> {
        let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
        let process = Process::new(raw).map_err(|e| HostError::proc(pid, "fd", e))?;
        let mut found = Self::default();
        for info in process.fd().map_err(|e| HostError::proc(pid, "fd", e))?.filter_map(Result::ok) {
            match info.target {
                FDTarget::Socket(inode) => drop(found.sockets.insert(inode, info.fd)),
                FDTarget::Path(path) => {
                    let known = paths.iter().find(|known| path.as_os_str() == known.as_str());
                    found.files.extend(known.map(|known| (info.fd, known.clone())));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, net::TcpListener, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn one_look_finds_sockets_and_the_files_asked_for() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (asked, other) = (File::open("/etc/passwd").unwrap(), File::open("/etc/group").unwrap());
        let found = Descriptors::read(std::process::id(), &["/etc/passwd".to_owned()]).unwrap();
        assert!(found.sockets.values().any(|&fd| fd == socket.as_raw_fd()));
        assert!(found.files.contains(&(asked.as_raw_fd(), "/etc/passwd".to_owned())));
        assert!(found.files.iter().all(|&(fd, _)| fd != other.as_raw_fd()));
    }
}
