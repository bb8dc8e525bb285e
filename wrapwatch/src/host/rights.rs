//! A target's own rights to files, taken on by one thread for as long as it reads them.
//!
//! What a target names is the target's word: with wrapwatch's rights every file of the machine could be named, and would be quoted in a report. So the
//! thread that opens such a file has the target's fsuid, fsgid and groups meanwhile, and no capability of its own (credentials(7), setfsuid(2)). These
//! are a thread's in the kernel; the C library's functions would change all threads, so system calls are made directly. Only threads of
//! [`super::reader`] may do it: they end should their own rights not come back.

use std::{cell::Cell, io, ptr, sync::OnceLock};

use caps::{CapSet, Capability, CapsHashSet};

use super::{HostError, kernel};

/// CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (capabilities(7)): either reads every file.
const READS_ALL: u64 = 0b110;

thread_local! {
    /// The thread's own rights did not come back.
    static SPOILED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread must not do anything more.
pub(super) fn is_spoiled() -> bool {
    SPOILED.get()
}

/// Whether a thread can become someone else: the kernel then decides as for the target.
pub fn can_become_another() -> bool {
    let has = |cap| caps::has_cap(None, CapSet::Effective, cap).unwrap_or(false);
    has(Capability::CAP_SETUID) && has(Capability::CAP_SETGID)
}

/// Who a process is to the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// It may read whatever it finds, as a root of this very user namespace may.
    reads_all: bool,
}

/// What `/proc/PID/status` says of it.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    /// To the file system: the last of four.
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// Capabilities in effect.
    effective: u64,
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        let (mut uid, mut gid, mut groups, mut effective) = (None, None, None, None);
        // Of some sixty lines.
        for line in text.lines().filter(|line| line.starts_with(['U', 'G', 'C'])) {
            let Some((name, values)) = line.split_once(':') else { continue };
            let last = || values.split_whitespace().nth(3)?.parse().ok();
            match name {
                "Uid" => uid = last(),
                "Gid" => gid = last(),
                "Groups" => groups = values.split_whitespace().map(|group| group.parse().ok()).collect(),
                "CapEff" => effective = u64::from_str_radix(values.trim(), 16).ok(),
                _ => {}
            }
        }
        Some(Self { uid: uid?, gid: gid?, groups: groups?, effective: effective? })
    }
}

/// How far a thread has become someone else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The kernel decides as for the target.
    Same,
    /// Changing users takes CAP_SETUID and CAP_SETGID, which are not there: the kernel decides as for wrapwatch's own user without capabilities, and what
    /// the target may do has to be looked at besides.
    Checked,
}

impl Identity {
    /// Of process `pid`.
    pub fn of(pid: u32) -> Result<Self, HostError> {
        // Ten times a second: of all that stands there only this is looked at.
        let status =
            kernel::read(&format!("/proc/{pid}/status")).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT | libc::ESRCH) => HostError::Exited(pid),
                Some(libc::EACCES | libc::EPERM) => HostError::Permission { pid, what: "status" },
                _ => HostError::io(format!("/proc/{pid}/status"), error),
            })?;
        let status = Status::parse(&String::from_utf8_lossy(&status)).ok_or_else(|| HostError::Unusable {
            what: format!("/proc/{pid}/status"),
            why: "its users, groups or capabilities are missing".to_owned(),
        })?;
        let same_namespace =
            kernel::namespace(&pid.to_string(), "user").is_some_and(|theirs| own_namespace() == Some(theirs));
        Ok(Self {
            uid: status.uid,
            gid: status.gid,
            groups: status.groups,
            // A capability in a user namespace of its own is none here.
            reads_all: same_namespace && status.effective & READS_ALL != 0,
        })
    }

    /// Somebody without any group, for tests.
    #[cfg(test)]
    pub(super) const fn of_another(uid: u32) -> Self {
        Self { uid, gid: uid, groups: Vec::new(), reads_all: false }
    }

    /// Whether it may do what `bit` (4 read, 1 search) stands for, by the mode of a file (path_resolution(7); access control lists are not looked at).
    pub fn may(&self, bit: u32, meta: &std::fs::Metadata) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let shift = if self.uid == meta.uid() {
            6
        } else if self.gid == meta.gid() || self.groups.contains(&meta.gid()) {
            3
        } else {
            0
        };
        self.reads_all || (meta.mode() >> shift) & bit != 0
    }

    /// Does `work` with these rights on this thread, and takes its own back.
    pub fn within<T>(&self, work: impl FnOnce(Manner) -> T) -> io::Result<T> {
        let own = Own::read()?;
        let manner = self.take(&own);
        let done = manner.map(work);
        if let Err(error) = own.take_back() {
            SPOILED.set(true);
            return Err(error);
        }
        done
    }

    fn take(&self, own: &Own) -> io::Result<Manner> {
        let same = (self.uid, self.gid) == (own.uid, own.gid) && self.groups == own.groups;
        let can = [Capability::CAP_SETUID, Capability::CAP_SETGID].iter().all(|cap| own.caps.contains(cap));
        // A namespace may forbid it all the same: user_namespaces(7) of setgroups.
        let manner = if same || (can && become_one(self.uid, self.gid, &self.groups).is_ok()) {
            Manner::Same
        } else {
            Manner::Checked
        };
        let mut keep = CapsHashSet::new();
        if self.reads_all && own.caps.contains(&Capability::CAP_DAC_READ_SEARCH) {
            keep.insert(Capability::CAP_DAC_READ_SEARCH);
        }
        caps::set(None, CapSet::Effective, &keep).map_err(io::Error::other)?;
        Ok(manner)
    }
}

/// What a thread was before.
struct Own {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    caps: CapsHashSet,
}

impl Own {
    fn read() -> io::Result<Self> {
        Ok(Self {
            // An impossible number changes nothing, and the answer is what there is (setfsuid(2)).
            uid: set_fs(libc::SYS_setfsuid, u32::MAX),
            gid: set_fs(libc::SYS_setfsgid, u32::MAX),
            groups: groups()?,
            caps: caps::read(None, CapSet::Effective).map_err(io::Error::other)?,
        })
    }

    fn take_back(&self) -> io::Result<()> {
        caps::set(None, CapSet::Effective, &self.caps).map_err(io::Error::other)?;
        let changed = set_fs(libc::SYS_setfsuid, u32::MAX) != self.uid
            || set_fs(libc::SYS_setfsgid, u32::MAX) != self.gid
            || groups().ok().as_ref() != Some(&self.groups);
        if changed {
            become_one(self.uid, self.gid, &self.groups)?;
            // Becoming root again gives capabilities on files that were perhaps not in effect (capabilities(7)).
            caps::set(None, CapSet::Effective, &self.caps).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// This thread's groups. nix asks a file each time how many there may be.
fn groups() -> io::Result<Vec<u32>> {
    // SAFETY: where there is no room nothing is written.
    let many = unsafe { libc::getgroups(0, ptr::null_mut()) };
    let mut groups = vec![0; usize::try_from(many).map_err(|_| io::Error::last_os_error())?];
    if !groups.is_empty() {
        // SAFETY: there is room for as many as are asked for.
        let many = unsafe { libc::getgroups(many, groups.as_mut_ptr()) };
        groups.truncate(usize::try_from(many).map_err(|_| io::Error::last_os_error())?);
    }
    Ok(groups)
}

/// The user namespace of wrapwatch, which it never leaves.
fn own_namespace() -> Option<u64> {
    static OWN: OnceLock<Option<u64>> = OnceLock::new();
    *OWN.get_or_init(|| kernel::namespace("self", "user"))
}

/// The groups first, and the user last: with the user goes the right to change the others.
fn become_one(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads as many numbers of 32 bits as the slice has.
    let set = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    set_fs(libc::SYS_setfsgid, gid);
    set_fs(libc::SYS_setfsuid, uid);
    // Neither says whether it did anything.
    if set_fs(libc::SYS_setfsgid, u32::MAX) == gid && set_fs(libc::SYS_setfsuid, u32::MAX) == uid {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }
}

/// setfsuid(2) or setfsgid(2): sets one, and says what it was.
fn set_fs(call: libc::c_long, id: u32) -> u32 {
    // SAFETY: one integer; no memory of ours is touched.
    let before = unsafe { libc::syscall(call, id) };
    u32::try_from(before & i64::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
            && caps::has_cap(None, CapSet::Effective, Capability::CAP_SETUID).unwrap()
    }

    #[test]
    fn a_thread_reads_as_another_user_and_is_itself_again() {
        if !is_root() {
            // Without root there is nobody else to become: the other manner is tested below.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "x").unwrap();
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let nobody = Identity { uid: 12_345, gid: 12_345, groups: vec![7, 12_345], reads_all: false };
        on_a_thread(|| {
            let before = caps::read(None, CapSet::Effective).unwrap();
            let read =
                nobody.within(|manner| (manner, fs::read(&secret).map_err(|error| error.kind()))).unwrap();
            assert_eq!(read, (Manner::Same, Err(io::ErrorKind::PermissionDenied)));
            assert_eq!(fs::read(&secret).unwrap(), b"x");
            assert_eq!(caps::read(None, CapSet::Effective).unwrap(), before);
            assert!(!is_spoiled());
        });
        // Nothing of it was another thread's.
        assert_eq!(fs::read(&secret).unwrap(), b"x");
    }

    #[test]
    fn who_a_process_is_stands_in_its_status() {
        let text = "Name:\tUid: 7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t8 9 \nCapInh:\t1\nCapEff:\t0000000000000004\n";
        let wanted = Status { uid: 4, gid: 8, groups: vec![8, 9], effective: 4 };
        assert_eq!(Status::parse(text), Some(wanted));
        for line in ["Uid", "Gid", "Groups", "CapEff"] {
            assert_eq!(Status::parse(&text.replace(&format!("\n{line}"), "\nOther")), None, "{line}");
        }
        let no_groups = text.replace("8 9 ", "");
        assert_eq!(Status::parse(&no_groups).unwrap().groups, [0_u32; 0]);
        assert_eq!(Identity::of(std::process::id()).unwrap().uid, set_fs(libc::SYS_setfsuid, u32::MAX));
    }

    #[test]
    fn the_root_of_no_capability_reads_its_own_files_only() {
        if !is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let theirs = directory.path().join("theirs");
        fs::write(&theirs, "x").unwrap();
        fs::set_permissions(&theirs, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        nix::unistd::chown(&theirs, Some(12_345.into()), None).unwrap();
        let root = |reads_all| Identity { uid: 0, gid: 0, groups: Vec::new(), reads_all };
        on_a_thread(|| {
            assert!(root(false).within(|_| fs::read(&theirs)).unwrap().is_err());
            assert!(root(true).within(|_| fs::read(&theirs)).unwrap().is_ok());
        });
    }

    #[test]
    fn modes_are_read_as_the_kernel_reads_them() {
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::metadata("/etc/passwd").unwrap();
        let identity =
            |uid, gid, groups: &[u32]| Identity { uid, gid, groups: groups.to_vec(), reads_all: false };
        assert!(identity(meta.uid(), 1, &[]).may(4, &meta));
        assert!(identity(12_345, meta.gid(), &[]).may(4, &meta));
        assert!(identity(12_345, 12_345, &[meta.gid()]).may(4, &meta));
        assert!(!identity(12_345, 12_345, &[]).may(1, &meta));
        let shadow = fs::metadata("/etc/shadow").unwrap();
        assert!(!identity(12_345, 12_345, &[]).may(4, &shadow));
    }
}
