//! Packet captures that are complete: begun before `start` returns, and with everything that passed before `stop`.
//!
//! tcpdump can only be stopped, not asked whether it is done. So a marker is sent over the link, and when it is in the file, all
//! that came before is. It is taken out of the file again.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::files::HOME;
use super::namespaces::Namespaces;
use super::{exec, network};
use crate::lab::Link;
use crate::wait_for;

/// The whole of the marker's payload.
const MARKER: &[u8] = b"the lab's capture ends here";
/// Port "discard".
const MARKER_PORT: u16 = 9;
const LIMIT: Duration = Duration::from_secs(10);
/// Lengths of a pcap file's head and of a packet's.
const FILE_HEAD: usize = 24;
const PACKET_HEAD: usize = 16;

/// A running capture.
pub(super) struct Running {
    link: Link,
    child: Child,
    stderr: BufReader<ChildStderr>,
    path: PathBuf,
}

impl Running {
    /// Starts it; when this returns, it captures.
    pub(super) fn start(namespaces: &Namespaces, link: Link, number: u32) -> Result<Self> {
        let (place, interface) = network::end_of(link);
        // The buffer holds 64 MiB by the longest packet that is captured: whole DNS messages, and of the clients the beginnings.
        let (name, filter, snap_len) = match link {
            Link::Dns => ("dns", "port 53", "2048"),
            Link::Clients => ("clients", "tcp", "512"),
        };
        let path = Path::new(HOME).join(format!("pcap/{name}-{number}.pcap"));
        let mut child = namespaces
            .command(place, "tcpdump")
            .args(["-i", interface, "-n", "-s", snap_len, "-U", "-B", "65536", "-Z", "root"])
            .args(["--immediate-mode", "--time-stamp-precision=nano", "-w"])
            .arg(&path)
            .arg(format!("{filter} or udp dst port {MARKER_PORT}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run tcpdump; run: cargo xtask setup")?;
        let mut stderr = BufReader::new(child.stderr.take().context("tcpdump has no stderr")?);
        let mut said = String::new();
        // It says so when its socket is bound.
        while !said.contains("listening on") {
            if stderr.read_line(&mut said)? == 0 {
                bail!("tcpdump ended: {}", said.trim());
            }
        }
        Ok(Self { link, child, stderr, path })
    }

    /// Path of the file, from inside.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it; when this returns, everything that passed before is in the file.
    pub(super) fn stop(mut self, namespaces: &Namespaces) -> Result<PathBuf> {
        self.send_marker(namespaces)?;
        wait_for("the capture's end is in its file", || Ok(contains(&fs::read(&self.path)?, MARKER)))?;
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        if exec::wait(&mut self.child, LIMIT)?.is_none() {
            self.child.kill()?;
            bail!("tcpdump did not end");
        }
        let mut said = String::new();
        self.stderr.read_to_string(&mut said)?;
        ensure!(
            said.contains("\n0 packets dropped by kernel"),
            "the capture is not complete: {}",
            said.trim()
        );
        let whole = fs::read(&self.path)?;
        fs::write(&self.path, without_marker(&whole).context("tcpdump wrote a damaged file")?)?;
        Ok(self.path.clone())
    }

    fn send_marker(&self, namespaces: &Namespaces) -> Result<()> {
        let (place, _) = network::end_of(self.link);
        let server = match self.link {
            Link::Dns => "10.1.1.1",
            Link::Clients => "10.0.0.1",
        };
        let send = || anyhow::Ok(UdpSocket::bind("0.0.0.0:0")?.send_to(MARKER, (server, MARKER_PORT))?);
        namespaces.inside(place, send).context("cannot send the capture's marker")?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A pcap file (pcap-savefile(5), this machine's byte order) without the marker's packet; none where it is damaged.
fn without_marker(file: &[u8]) -> Option<Vec<u8>> {
    let (head, mut rest) = file.split_at_checked(FILE_HEAD)?;
    let mut kept = head.to_vec();
    while !rest.is_empty() {
        let len = rest.get(8..12)?.try_into().ok().map(u32::from_ne_bytes)?;
        let (packet, after) = rest.split_at_checked(PACKET_HEAD.checked_add(len as usize)?)?;
        if !packet.ends_with(MARKER) {
            kept.extend_from_slice(packet);
        }
        rest = after;
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_ne_bytes();
        [&[1; 8][..], &len, &len, payload].concat()
    }

    #[test]
    fn only_the_marker_is_taken_out() {
        let head = vec![7; FILE_HEAD];
        let before = [head.clone(), packet(b"a query"), packet(MARKER), packet(b"a late one")].concat();
        let after = [head.clone(), packet(b"a query"), packet(b"a late one")].concat();
        assert_eq!(without_marker(&before), Some(after));
        assert_eq!(without_marker(&before[..before.len() - 1]), None);
        assert_eq!(without_marker(&head), Some(head));
    }
}
