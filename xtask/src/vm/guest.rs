//! The guest's files: wrapwatch as users get it, the tests, a server behind the real libwrap, busybox.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{initramfs::Initramfs, kernel::Ready};
use crate::{
    demo,
    dist::{self, Profile},
    process::run,
    toolchain, workspace,
};

/// Empty directories: where file systems are mounted, and for files that tests make.
const DIRECTORIES: [&str; 7] = ["/dev", "/etc", "/proc", "/root", "/run", "/sys", "/tmp"];
/// The server, and a file that it does not start without.
const MARIADB: &str = "/usr/sbin/mariadbd";
const MARIADB_MESSAGES: &str = "/usr/share/mysql/english/errmsg.sys";

/// What was built for guests.
pub(crate) struct Guest {
    /// wrapwatch, linked statically.
    wrapwatch: PathBuf,
    /// Where everything else is.
    built: PathBuf,
    busybox: PathBuf,
}

/// Builds it. wrapwatch is the file that users get, or for whoever changes it a debug build, which takes less long.
pub(crate) fn build(debug: bool) -> Result<Guest> {
    eprintln!("building for the guests …");
    let wrapwatch = dist::file(if debug { Profile::Dev } else { Profile::Release })?;
    demo::build(&["--quiet"])?;
    let busybox = toolchain::on_path("busybox").into_iter().next().context("no busybox")?;
    Ok(Guest { wrapwatch, built: workspace::target_dir()?.join("debug"), busybox })
}

impl Guest {
    /// The archive that a kernel starts with.
    pub(crate) fn initramfs(&self, kernel: &Ready, mariadb: bool, dir: &Path) -> Result<PathBuf> {
        let mut files = Initramfs::new(&DIRECTORIES);
        files.copy(&self.wrapwatch, "/bin/wrapwatch");
        files.copy(&self.busybox, "/bin/busybox");
        for (name, to) in [
            ("wrapwatch-guest", "/init"),
            ("wrapwatch-stand-in", "/bin/wrapwatch-stand-in"),
            ("libwrapwatch_preload.so", "/lib/libwrapwatch_preload.so"),
        ] {
            files.dynamic(&stripped(&self.built.join(name), dir)?, to)?;
        }
        if mariadb {
            files.dynamic(Path::new(MARIADB), MARIADB)?;
            files.copy(Path::new(MARIADB_MESSAGES), MARIADB_MESSAGES);
        }
        for (number, module) in kernel.modules.iter().enumerate() {
            files.copy(module, &format!("/modules/{number}.ko"));
        }
        let archive = dir.join(format!("{}.cpio", kernel.series));
        files.write(&archive)?;
        Ok(archive)
    }
}

/// Without what only debuggers read: nine tenths of it.
fn stripped(file: &Path, dir: &Path) -> Result<PathBuf> {
    let stripped = dir.join(file.file_name().context("a file without a name")?);
    let _ = fs::remove_file(&stripped);
    run(Command::new("strip").arg("-o").arg(&stripped).arg(file))?;
    Ok(stripped)
}
