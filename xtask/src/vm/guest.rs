//! The guest's files: wrapwatch as users get it, the tests, a server behind the real libwrap, busybox.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    initramfs::{Initramfs, Libraries},
    kernel::Ready,
    pins::Architecture,
};
use crate::{
    arm64::Cross,
    demo,
    dist::{self, Profile},
    process::run,
    setup, toolchain, workspace,
};

/// Empty directories: where file systems are mounted, and for files that tests make.
const DIRECTORIES: [&str; 7] = ["/dev", "/etc", "/proc", "/root", "/run", "/sys", "/tmp"];
/// The server, and a file that it does not start without.
const MARIADB: &str = "/usr/sbin/mariadbd";
const MARIADB_MESSAGES: &str = "/usr/share/mysql/english/errmsg.sys";

/// What only some guests have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra {
    /// A real MariaDB.
    pub(crate) mariadb: bool,
    /// What loads AppArmor's profiles.
    pub(crate) apparmor: bool,
}

/// What was built for guests, by their processor.
pub(crate) struct Guests {
    profile: Profile,
    built: BTreeMap<Architecture, Guest>,
}

impl Guests {
    /// Nothing yet. wrapwatch will be the file that users get, or for whoever changes it a debug build, which takes less long.
    pub(crate) fn new(debug: bool) -> Self {
        let profile = if debug { Profile::Dev } else { Profile::Release };
        Self { profile, built: BTreeMap::new() }
    }

    /// What is for this processor; builds it the first time.
    pub(crate) fn of(&mut self, architecture: Architecture) -> Result<&Guest> {
        match self.built.entry(architecture) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                eprintln!("building for the guests ({}) …", architecture.debian());
                Ok(unknown.insert(match architecture {
                    Architecture::Amd64 => of_this_machine(self.profile)?,
                    Architecture::Arm64 => of_arm64(self.profile)?,
                }))
            }
        }
    }
}

fn of_this_machine(profile: Profile) -> Result<Guest> {
    let wrapwatch = dist::file(profile)?;
    demo::build(&["--quiet"])?;
    Ok(Guest {
        wrapwatch,
        built: workspace::target_dir()?.join("debug"),
        busybox: toolchain::on_path("busybox").into_iter().next().context("no busybox")?,
        libraries: Libraries::OfThisMachine,
        strip: "strip",
    })
}

fn of_arm64(profile: Profile) -> Result<Guest> {
    let cross = Cross::find()?;
    let parts = cross.parts()?;
    Ok(Guest {
        wrapwatch: cross.wrapwatch(profile)?,
        built: cross.guest(&parts)?,
        busybox: parts.join("bin/busybox"),
        libraries: Libraries::Under(parts),
        strip: "aarch64-linux-gnu-strip",
    })
}

/// What was built for one kind of processor.
pub(crate) struct Guest {
    /// wrapwatch, linked statically.
    wrapwatch: PathBuf,
    /// Where everything else is.
    built: PathBuf,
    busybox: PathBuf,
    /// Where the libraries are that it needs.
    libraries: Libraries,
    /// What takes off what only debuggers read.
    strip: &'static str,
}

impl Guest {
    /// The archive that a kernel starts with.
    pub(crate) fn initramfs(&self, kernel: &Ready, extra: Extra, dir: &Path) -> Result<PathBuf> {
        let mut files = Initramfs::new(&DIRECTORIES);
        files.copy(&self.wrapwatch, "/bin/wrapwatch");
        files.copy(&self.busybox, "/bin/busybox");
        for (name, to) in [
            ("wrapwatch-guest", "/init"),
            ("wrapwatch-stand-in", "/bin/wrapwatch-stand-in"),
            ("wrapwatch-plain", "/usr/sbin/mysqld"),
            ("libwrapwatch_preload.so", "/lib/libwrapwatch_preload.so"),
        ] {
            files.dynamic(&self.stripped(name, dir)?, to, &self.libraries)?;
        }
        if extra.apparmor {
            let parser = setup::parts_directory().join(setup::APPARMOR_PARSER);
            files.dynamic(&parser, "/bin/apparmor_parser", &self.libraries)?;
        }
        if extra.mariadb {
            files.dynamic(Path::new(MARIADB), MARIADB, &self.libraries)?;
            files.copy(Path::new(MARIADB_MESSAGES), MARIADB_MESSAGES);
        }
        for (number, module) in kernel.modules.iter().enumerate() {
            files.copy(module, &format!("/modules/{number}.ko"));
        }
        let archive = dir.join(format!("{}.cpio", kernel.series));
        files.write(&archive)?;
        Ok(archive)
    }

    /// A file without what only debuggers read: nine tenths of it.
    fn stripped(&self, name: &str, dir: &Path) -> Result<PathBuf> {
        let stripped = dir.join(name);
        let _ = fs::remove_file(&stripped);
        run(Command::new(self.strip).arg("-o").arg(&stripped).arg(self.built.join(name)))?;
        Ok(stripped)
    }
}
