//! The server's own `/etc` and `/dev`, and changes of them.
//!
//! Both are directories of the lab's file system, bound over the machine's in the server's mount namespace only. A whole
//! `/etc`, so that files can also be replaced, which a file that is a mount point itself cannot be.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};

use crate::lab::{Files, Write};

/// Where the lab keeps everything, on a file system of its own.
pub(super) const HOME: &str = "/run/lab";
/// What of the machine's `/etc` the server has too; what is not there is left out.
const COPIED: [&str; 11] = [
    "passwd",
    "group",
    "host.conf",
    "gai.conf",
    "ld.so.cache",
    "ld.so.conf",
    "localtime",
    "networks",
    "protocols",
    "rpc",
    "services",
];
/// Devices that are the machine's.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Names of the descriptors, as usual in `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

fn etc() -> PathBuf {
    Path::new(HOME).join("etc")
}

fn dev() -> PathBuf {
    Path::new(HOME).join("dev")
}

/// Path of the server's `/dev/log`, as init sees it.
pub(super) fn dev_log() -> PathBuf {
    dev().join("log")
}

/// Makes the directories, with the default files.
pub(super) fn make() -> Result<()> {
    for directory in ["etc", "dev", "tmp", "pcap"] {
        fs::create_dir_all(Path::new(HOME).join(directory))?;
    }
    fs::create_dir(dev().join("shm"))?;
    fs::set_permissions(dev().join("shm"), fs::Permissions::from_mode(0o1777))?;
    for name in COPIED {
        match fs::copy(Path::new("/etc").join(name), etc().join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot copy /etc/{name}"));
            }
            _ => {}
        }
    }
    for name in DEVICES {
        fs::write(dev().join(name), "")?;
    }
    for (target, name) in LINKS {
        symlink(target, dev().join(name))?;
    }
    let default = |text: &str| Some(text.to_owned());
    change(&Files {
        allow: default("ALL: .lab.example\n"),
        deny: default("ALL: ALL\n"),
        resolv: default("nameserver 10.1.1.53\n"),
        hosts: default("127.0.0.1 localhost\n::1 localhost\n"),
        nsswitch: default(
            "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nservices: files\nprotocols: files\n\
             netgroup: files\n",
        ),
        ..Files::default()
    })
}

/// Binds both over the machine's, in the calling thread's mount namespace.
pub(super) fn mount_over() -> Result<()> {
    let none = None::<&str>;
    for name in DEVICES {
        let device = Path::new("/dev").join(name);
        mount(Some(&device), &dev().join(name), none, MsFlags::MS_BIND, none)
            .with_context(|| format!("cannot bind {}", device.display()))?;
    }
    for (from, to) in [(etc(), "/etc"), (dev(), "/dev")] {
        // Recursive: with the devices bound into it.
        mount(Some(&from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
            .with_context(|| format!("cannot bind {} to {to}", from.display()))?;
    }
    Ok(())
}

/// Does what it says.
pub(super) fn change(files: &Files) -> Result<()> {
    let named = [
        ("hosts.allow", &files.allow),
        ("hosts.deny", &files.deny),
        ("resolv.conf", &files.resolv),
        ("hosts", &files.hosts),
        ("nsswitch.conf", &files.nsswitch),
    ];
    let named = named.iter().filter_map(|(name, text)| text.as_deref().map(|text| (*name, text)));
    let other = files.other.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    for (name, text) in named.chain(other) {
        write(name, text, files.how).with_context(|| format!("cannot write the server's /etc/{name}"))?;
    }
    for name in &files.remove {
        fs::remove_file(path_of(name)?).with_context(|| format!("cannot remove the server's /etc/{name}"))?;
    }
    Ok(())
}

fn path_of(name: &str) -> Result<PathBuf> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(plain && !name.is_empty(), "{name:?} is not a name within /etc");
    Ok(etc().join(name))
}

fn write(name: &str, text: &str, how: Write) -> Result<()> {
    let path = path_of(name)?;
    match how {
        Write::InPlace => {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
            file.write_all(text.as_bytes())?;
        }
        Write::Replace => {
            let new = path.with_extension("lab-new");
            fs::write(&new, text)?;
            fs::rename(&new, &path)?;
        }
    }
    Ok(())
}
