//! The way from a target's root to what it names, step by step, where openat2(2) is refused: systemd does that with `RestrictSUIDSGID=`, which
//! `DynamicUser=` implies, since it cannot look into the call's arguments; so do older container runtimes.
//!
//! It comes to the same as `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`. Each name is looked up in a directory that is held open, no link is left to the kernel to follow, and `..`
//! goes back to the directory that it came from: asking the kernel for `..` would lead out of the root once that directory is moved.

use std::{
    ffi::OsString,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat},
    sys::{
        stat::{Mode, SFlag, fstat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};

/// As many links as the kernel follows (`MAXSYMLINKS`).
const LINKS_MAX: u32 = 40;
/// Names of one way, those of links included. Real ones have some ten.
const NAMES_MAX: usize = 1024;

/// Finds what is at `path`, without opening it (`O_PATH`).
pub(super) fn find(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let mut way: Vec<OwnedFd> = Vec::new();
    let mut rest = names(path.as_bytes());
    let mut links = 0_u32;
    while let Some(name) = rest.pop() {
        match name.as_bytes() {
            b"" | b"." => continue,
            b".." => {
                way.pop();
                continue;
            }
            _ => {}
        }
        let here = way.last().map_or(root, |directory| directory.as_fd());
        let found = step(here, &name)?;
        let Some(to) = link(&found)? else {
            way.push(found);
            continue;
        };
        links = links.saturating_add(1);
        if links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        if to.as_bytes().starts_with(b"/") {
            way.clear();
        }
        rest.extend(names(to.as_bytes()));
        if rest.len().saturating_add(way.len()) > NAMES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
    }
    way.pop().map_or_else(|| step(root, &OsString::from(".")), Ok)
}

/// The names of a path, the first one last.
fn names(path: &[u8]) -> Vec<OsString> {
    path.split(|byte| *byte == b'/').rev().map(|name| OsString::from_vec(name.to_vec())).collect()
}

fn step(here: BorrowedFd<'_>, name: &OsString) -> Result<OwnedFd, Errno> {
    openat(here, name.as_os_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// Where a link leads; `None` for what is none. Those of procfs lead where their text does not say.
fn link(found: &OwnedFd) -> Result<Option<OsString>, Errno> {
    if SFlag::from_bits_truncate(fstat(found)?.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
        return Ok(None);
    }
    if fstatfs(found)?.filesystem_type() == PROC_SUPER_MAGIC {
        return Err(Errno::ELOOP);
    }
    readlinkat(found, "").map(Some)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use nix::fcntl::{OpenHow, ResolveFlag, openat2};

    use super::*;

    /// What the kernel finds.
    fn by_the_kernel(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(root, path, how)
    }

    fn which(found: Result<OwnedFd, Errno>) -> Result<(u64, u64), Errno> {
        let stat = fstat(found?)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    #[test]
    fn it_finds_what_the_kernel_finds() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "").unwrap();
        fs::write(at("file"), "").unwrap();
        for (link, to) in [
            ("absolute", "/a/b/file"),
            ("a/relative", "b/file"),
            ("a/b/up", "../../file"),
            ("out", "../../../../../etc/passwd"),
            ("out-absolute", "/etc/passwd"),
            ("folder", "/a/b"),
            ("a/folder", "b/"),
            ("loop", "loop"),
            ("ping", "pong"),
            ("pong", "ping"),
            ("nowhere", "none/none"),
            ("root", "/"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        let mut links = String::from("file");
        for number in 0..45 {
            symlink(&links, at(&format!("chain{number}"))).unwrap();
            links = format!("chain{number}");
        }
        let root = fs::File::open(directory.path()).unwrap();
        let folders = [
            "",
            "/",
            "a/",
            "a/b/",
            "/a/./b/",
            "folder/",
            "a/folder/",
            "folder/../",
            "../",
            "a/../..//",
            "root/",
        ];
        let names = [
            "",
            "file",
            "absolute",
            "relative",
            "up",
            "out",
            "out-absolute",
            "loop",
            "ping",
            "nowhere",
            "none",
            "chain39",
            "chain40",
            "file/x",
            "..",
        ];
        let mut same = 0;
        for path in folders.iter().flat_map(|folder| names.map(|name| format!("{folder}{name}"))) {
            if path.is_empty() {
                continue;
            }
            let kernel = which(by_the_kernel(root.as_fd(), &path));
            assert_eq!(which(find(root.as_fd(), &path)), kernel, "{path}");
            same += u32::from(kernel.is_ok());
        }
        assert!(same > 40, "{same}");
    }

    #[test]
    fn links_of_the_kernels_own_lead_nowhere() {
        let root = fs::File::open("/").unwrap();
        for path in ["/proc/self/root/etc", "/proc/self/fd/0", "/proc/self/exe"] {
            assert_eq!(find(root.as_fd(), path).unwrap_err(), Errno::ELOOP, "{path}");
        }
        assert!(find(root.as_fd(), "/proc/version").is_ok());
    }

    #[test]
    fn a_way_without_end_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        symlink("./".repeat(2_000), directory.path().join("long")).unwrap();
        let root = fs::File::open(directory.path()).unwrap();
        assert_eq!(find(root.as_fd(), "long").unwrap_err(), Errno::ENAMETOOLONG);
    }
}
