//! Whose processes are looked at without being named by their number.
//!
//! Any user can call a process mysqld. What is looked for by name is a server of this machine: a process of root or of one of the users that packages make, or
//! one whose program nobody but root can put in its place. Whoever means another one says so with `-p`.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use procfs::process::Process;

/// Where the numbers of users that packages make end (login.defs(5)).
const LOGIN_DEFS: &str = "/etc/login.defs";
/// As Debian's and most others' have it.
const SYS_UID_MAX: u32 = 999;
/// Processes that were named as left out; more are left out without a word.
const NAMED_MAX: usize = 256;

/// Whether a process found by its name is a server of this machine; what is not is named once, on stderr.
pub(super) fn is_of_the_machine(process: &Process, comm: &str) -> bool {
    // By the effective user, as for everything that a process may do.
    let Some(uid) = process.status().ok().map(|status| status.euid) else { return false };
    if uid <= *last_system_uid() || exe_is_root_s(process) {
        return true;
    }
    name_once(u32::try_from(process.pid).unwrap_or(0), comm, uid);
    false
}

fn last_system_uid() -> &'static u32 {
    static LAST: OnceLock<u32> = OnceLock::new();
    LAST.get_or_init(|| {
        fs::read_to_string(LOGIN_DEFS).ok().and_then(|text| sys_uid_max(&text)).unwrap_or(SYS_UID_MAX)
    })
}

fn sys_uid_max(text: &str) -> Option<u32> {
    let mut values = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "SYS_UID_MAX").then(|| words.next()?.parse().ok())?
    });
    values.next_back()
}

/// Whether the program that runs lies where only root can put anything. A process of another mount namespace has its own root, and is not believed.
fn exe_is_root_s(process: &Process) -> bool {
    let pid = process.pid.to_string();
    let namespace = |who: &str| super::kernel::namespace(who, "mnt");
    if namespace(&pid).is_none() || namespace(&pid) != namespace("self") {
        return false;
    }
    let Ok(exe) = process.exe() else { return false };
    let running = fs::metadata(format!("/proc/{pid}/exe")).map(|meta| (meta.dev(), meta.ino())).ok();
    let there = fs::symlink_metadata(&exe);
    let same = there.as_ref().ok().map(|meta| (meta.dev(), meta.ino())) == running && running.is_some();
    same && there.is_ok_and(|meta| is_root_s(&meta)) && ancestors_are_root_s(&exe)
}

fn ancestors_are_root_s(path: &Path) -> bool {
    let mut above: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_path_buf).collect();
    above.retain(|path| path.is_absolute());
    !above.is_empty()
        && above.iter().all(|path| fs::symlink_metadata(path).is_ok_and(|meta| is_root_s(&meta)))
}

/// Nobody but root can change it.
fn is_root_s(meta: &Metadata) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    meta.uid() == 0 && meta.mode() & OTHERS_WRITE == 0 && !meta.is_symlink()
}

fn name_once(pid: u32, comm: &str, uid: u32) {
    static NAMED: OnceLock<Mutex<BTreeSet<u32>>> = OnceLock::new();
    let named = NAMED.get_or_init(|| Mutex::new(BTreeSet::new()));
    let mut named = named.lock().unwrap_or_else(PoisonError::into_inner);
    if named.len() < NAMED_MAX && named.insert(pid) {
        log::warn!(
            "pid {pid} ({comm}) is left out: ordinary user {uid} runs it, and can give a process any name; use -p {pid} to trace it"
        );
    }
}

/// Whether a control group is this unit of the system's own manager: whatever it lies in is a slice. Units of a user's manager lie in that manager's service.
pub(super) fn is_system_unit(group: &str, unit: &str) -> bool {
    let mut parts = group.split('/').filter(|part| !part.is_empty());
    let mut slices = 0_usize;
    parts.find_map(|part| {
        if part == unit {
            return Some(slices > 0);
        }
        slices = slices.saturating_add(1);
        let user = part == "user.slice" || part == "machine.slice";
        (user || part.strip_suffix(".slice").is_none()).then_some(false)
    }) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_systems_own() {
        for (group, is) in [
            ("/system.slice/mysql.service", true),
            ("/system.slice/mysql.service/workers", true),
            ("/system.slice/system-mysql.slice/mysql.service", true),
            ("/database.slice/mysql.service", true),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/mysql.service", false),
            ("/user.slice/user-1000.slice/mysql.service", false),
            ("/machine.slice/box.scope/system.slice/mysql.service", false),
            ("/docker/4711/system.slice/mysql.service", false),
            ("/mysql.service", false),
            ("/system.slice/mysql.service.slice/other.service", false),
            ("/", false),
        ] {
            assert_eq!(is_system_unit(group, "mysql.service"), is, "{group}");
        }
    }

    #[test]
    fn the_last_system_user_is_read_as_the_tools_for_users_read_it() {
        assert_eq!(sys_uid_max("UID_MIN 1000\nSYS_UID_MAX\t\t  499 # no more\n#SYS_UID_MAX 7\n"), Some(499));
        assert_eq!(sys_uid_max("SYS_UID_MAX x\n"), None);
        assert_eq!(sys_uid_max(""), None);
    }

    #[test]
    fn a_program_is_roots_where_only_root_can_put_one() {
        assert!(ancestors_are_root_s(Path::new("/usr/bin/env")));
        // Everybody may put something there.
        assert!(!ancestors_are_root_s(Path::new("/tmp/env")));
        assert!(!ancestors_are_root_s(Path::new("env")));
        assert!(is_root_s(&fs::symlink_metadata("/etc/passwd").unwrap()));
        assert!(!is_root_s(&fs::symlink_metadata("/proc/self/exe").unwrap()), "a link");
    }
}
