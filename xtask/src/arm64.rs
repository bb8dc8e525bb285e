//! `cargo xtask arm64`: both sides compiled for 64-bit ARM on another machine, and the program run by an emulator of that processor as far as it goes
//! without a kernel of that kind: traces read, the command line. With such a kernel: `cargo xtask vm --kernel 6.1-arm64`.
//!
//! rustup's toolchain has no standard library for that target unless somebody added it; Debian's has one, of the same version as the compiler
//! that compiles the kernel side, in a package for the other architecture. It is unpacked, not installed; so are the C library, libwrap and busybox of guests.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    dist::Profile,
    process::{cargo, output, run as run_command},
    setup::{self, Purpose},
    toolchain::{self, Compiler},
    vm::{archive::Index, pins::Architecture},
    workspace,
};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LIBRARY: &str = "libstd-rust-web-dev";
const LINKER: &str = "aarch64-linux-gnu-gcc";
/// What runs its programs here.
pub(crate) const EMULATOR: &str = "qemu-aarch64-static";
/// What a guest takes from Debian: the C library, libwrap and whatever that needs, busybox.
const PARTS: [&str; 14] = [
    "busybox-static",
    "libc6",
    "libcom-err2",
    "libgcc-s1",
    "libgssapi-krb5-2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libnsl2",
    "libssl3",
    "libtirpc3",
    "libwrap0",
    "libwrap0-dev",
];
/// A trace whose report has to be the same on both processors.
const TRACE: &str = "tests/data/traces/format-1-abi-1.wwt";

/// The command.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Arm64])?;
    let program = Cross::find()?.wrapwatch(Profile::Dev)?;
    let header = output(Command::new("readelf").arg("--file-header").arg(&program))?;
    if !header.contains("AArch64") {
        bail!("{} is for another processor", program.display());
    }
    compare(&program)?;
    println!("{}", program.display());
    Ok(())
}

/// Its report of a trace, beside that of the program for this machine.
fn compare(program: &Path) -> Result<()> {
    run_command(cargo(&["build", "--locked", "--quiet", "-p", "wrapwatch"])?.stdout(std::io::stderr()))?;
    let trace = workspace::root()?.join(TRACE);
    let own = workspace::target_dir()?.join("debug/wrapwatch");
    for args in [&["report", "--json"][..], &["report"], &["replay"]] {
        let here = output(Command::new(&own).args(args).arg(&trace))?;
        let there = output(Command::new(EMULATOR).arg(program).args(args).arg(&trace))?;
        if here != there || here.is_empty() {
            bail!("`wrapwatch {}` of {TRACE} is not the same on both processors", args.join(" "));
        }
    }
    eprintln!("report and replay of {TRACE} are the same on both processors");
    Ok(())
}

/// What compiles for that processor.
pub(crate) struct Cross {
    rustc: PathBuf,
    /// Where everything for it is kept.
    dir: PathBuf,
    sysroot: PathBuf,
}

impl Cross {
    /// Finds the compiler, and fetches what it lacks.
    pub(crate) fn find() -> Result<Self> {
        let Some(Compiler::Prebuilt(rustc)) = toolchain::find_compiler(&workspace::host_target()) else {
            bail!("this takes Debian's rustc-web, to which the package {LIBRARY} for arm64 belongs");
        };
        let dir = workspace::target_dir()?.join("arm64");
        let sysroot = sysroot(&rustc, &dir)?;
        Ok(Self { rustc, dir, sysroot })
    }

    /// Builds wrapwatch, linked statically, and says where it is.
    pub(crate) fn wrapwatch(&self, profile: Profile) -> Result<PathBuf> {
        let (name, folder) = profile.name_and_folder();
        let dir = self.dir.join("static");
        let args = ["-p", "wrapwatch", "--profile", name];
        self.build(&args, &["-Ctarget-feature=+crt-static", "-Cstrip=symbols"], &dir)?;
        Ok(dir.join(TARGET).join(folder).join("wrapwatch"))
    }

    /// Builds what runs in a guest beside it, and says in which directory that is.
    pub(crate) fn guest(&self, parts: &Path) -> Result<PathBuf> {
        let dir = self.dir.join("guest");
        let libraries = parts.join("usr/lib/aarch64-linux-gnu");
        let search = format!("-Lnative={}", libraries.display());
        self.build(&["-p", "wrapwatch-guest", "-p", "wrapwatch-preload"], &[&search], &dir)?;
        Ok(dir.join(TARGET).join("debug"))
    }

    fn build(&self, args: &[&str], flags: &[&str], dir: &Path) -> Result<()> {
        let sysroot = format!("--sysroot={}", self.sysroot.display());
        let flags: Vec<String> = [&*sysroot].iter().chain(flags).map(|flag| format!("'{flag}'")).collect();
        run_command(
            cargo(&["build", "--locked", "--quiet", "--target", TARGET])?
                .args(args)
                .arg("--target-dir")
                .arg(dir)
                .args(["--config", &format!("target.{TARGET}.rustflags=[{}]", flags.join(", "))])
                .args(["--config", &format!("target.{TARGET}.linker='{LINKER}'")])
                .env("RUSTC", &self.rustc)
                .env_remove("RUSTFLAGS")
                .stdout(std::io::stderr()),
        )
    }

    /// Where the parts of Debian are unpacked that guests take: as in a system, for that processor. Fetched once.
    pub(crate) fn parts(&self) -> Result<PathBuf> {
        let parts = self.dir.join("parts");
        once(&parts, &PARTS.join(" "), || {
            let index = Index::fetch_of_machine(Architecture::Arm64)?;
            for name in PARTS {
                let package = index.download(name, &parts)?;
                run_command(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&parts))?;
                fs::remove_file(&package).context("cannot remove a package")?;
            }
            Ok(())
        })?;
        Ok(parts)
    }
}

/// A compiler's directory with the standard library for the target, made once for each version of the compiler.
fn sysroot(rustc: &Path, dir: &Path) -> Result<PathBuf> {
    let found = output(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "rustc-web"]))?;
    let sysroot = dir.join("sysroot");
    once(&sysroot, &found, || {
        let libraries = sysroot.join("lib/rustlib");
        fs::create_dir_all(&libraries).with_context(|| format!("cannot make {}", libraries.display()))?;
        let unpacked = sysroot.join("unpacked");
        eprintln!("fetching {LIBRARY} {found} for arm64, to go with {}", rustc.display());
        let index = Index::fetch_of_machine(Architecture::Arm64)?;
        let package = index.download(&format!("{LIBRARY}={found}"), &sysroot)?;
        run_command(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked))?;
        symlink(unpacked.join("usr/lib/rustlib").join(TARGET), libraries.join(TARGET))
            .context("cannot link the library")
    })?;
    Ok(sysroot)
}

/// Makes a directory, empty at first, unless it has been made of the same before.
fn once(dir: &Path, of: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let mark = dir.join("made-of");
    if fs::read_to_string(&mark).is_ok_and(|made_of| made_of == of) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    make()?;
    fs::write(&mark, of).with_context(|| format!("cannot write {}", mark.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_again_only_of_something_else_or_where_making_it_failed() {
        let dir = std::env::temp_dir().join(format!("xtask-once-{}", std::process::id()));
        let file = dir.join("file");
        let make = |of: &str, text: &str| once(&dir, of, || Ok(fs::write(&file, text)?));
        make("a", "1").unwrap();
        make("a", "2").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        once(&dir, "b", || bail!("half of it")).unwrap_err();
        assert!(!file.exists());
        make("b", "3").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "3");
        fs::remove_dir_all(&dir).unwrap();
    }
}
