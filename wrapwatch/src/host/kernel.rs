//! What the kernel is, what it allows, and whether wrapwatch itself runs in a container. Only files that anybody may read, as far as there are any.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// securityfs' file (kernel_lockdown(7)).
pub const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// The kernel's types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";
/// perf_event_open(2).
pub const PERF_EVENT_PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
/// bpf(2).
pub const UNPRIVILEGED_BPF: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";

/// Inodes of the first namespaces (`include/linux/proc_ns.h`): whoever has others is in a container of some kind.
const FIRST: [(&str, u64); 3] = [("pid", 0xEFFF_FFFC), ("user", 0xEFFF_FFFD), ("cgroup", 0xEFFF_FFFB)];

/// `uname -r` and `uname -m`.
pub fn release() -> (String, String) {
    nix::sys::utsname::uname().map_or_else(
        |_| (String::new(), String::new()),
        |u| (u.release().to_string_lossy().into_owned(), u.machine().to_string_lossy().into_owned()),
    )
}

/// The state of lockdown; None where securityfs is not mounted or not readable.
pub fn lockdown() -> Option<String> {
    chosen(&fs::read_to_string(LOCKDOWN).ok()?)
}

/// The word in brackets: `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// A number from /proc/sys.
pub fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether the kernel describes its types.
pub fn has_btf() -> bool {
    Path::new(BTF).exists()
}

/// Signs that this process runs in a container, each a few words.
pub fn container_signs() -> Vec<String> {
    let mut signs = Vec::new();
    for (path, says) in [("/.dockerenv", "Docker"), ("/run/.containerenv", "Podman")] {
        if Path::new(path).exists() {
            signs.push(format!("{says} ({path})"));
        }
    }
    if let Ok(manager) = fs::read_to_string("/run/systemd/container") {
        signs.push(format!("{} (/run/systemd/container)", manager.trim()));
    }
    for (kind, _) in FIRST {
        if is_first_namespace(kind) == Some(false) {
            signs.push(format!("{kind} namespace of its own"));
        }
    }
    signs
}

/// Whether this process is in the first namespace of a kind; None where it cannot be told.
pub fn is_first_namespace(kind: &str) -> Option<bool> {
    let (_, first) = FIRST.iter().find(|(known, _)| *known == kind)?;
    Some(namespace("self", kind)? == *first)
}

/// Room for what most files of /proc say, and the most that is read of one.
const ROOM: usize = 4096;
const MAX_BYTES: u64 = 1 << 20;

/// A file of /proc, whose size nobody knows before: with room for all of it, it is read by one call, and a second one sees that this was all.
pub fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROOM);
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The inode of a namespace of a process; None where it cannot be told.
pub fn namespace(pid: &str, kind: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok().map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_lockdown_state_is_the_one_in_brackets() {
        assert_eq!(chosen("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(chosen("[none] integrity confidentiality\n").as_deref(), Some("none"));
        for broken in ["", "none", "[none", "none]"] {
            assert_eq!(chosen(broken), None, "{broken}");
        }
    }
}
