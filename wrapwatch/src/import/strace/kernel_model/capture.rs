//! What was read of a file.

use crate::import::strace::text;
use crate::trace::SnapshotRole;

/// Most bytes kept of a file.
const CAPTURE_MAX: usize = 1 << 20;

/// A file as it is being read.
#[derive(Debug)]
pub(super) struct Capture {
    pub path: String,
    pub role: SnapshotRole,
    pub at: u64,
    pub bytes: Vec<u8>,
    /// To the end, and nothing of it cut.
    pub complete: bool,
    pub cut: bool,
}

impl Capture {
    pub(super) fn of(path: &[u8], at: u64) -> Option<Self> {
        let path = std::str::from_utf8(path).ok()?;
        let role = match path.rsplit('/').next()? {
            "hosts.allow" => SnapshotRole::HostsAllow,
            "hosts.deny" => SnapshotRole::HostsDeny,
            "resolv.conf" => SnapshotRole::ResolvConf,
            "nsswitch.conf" => SnapshotRole::NsswitchConf,
            "hosts" => SnapshotRole::Hosts,
            _ => return None,
        };
        Some(Self { path: path.to_owned(), role, at, bytes: Vec::new(), complete: false, cut: false })
    }

    pub(super) fn read(&mut self, buffer: &str, size: &str, ret: i64) {
        let Ok(got) = usize::try_from(ret) else { return };
        let Some((bytes, _)) = text::string(buffer, CAPTURE_MAX) else { return };
        if self.cut || self.bytes.len() + bytes.len() > CAPTURE_MAX {
            self.cut = true;
            return;
        }
        self.cut = bytes.len() < got;
        self.bytes.extend_from_slice(&bytes);
        // A regular file gives less than was asked for at its end only.
        self.complete |= got == 0 || text::int(size).is_some_and(|size| ret < size);
    }
}
