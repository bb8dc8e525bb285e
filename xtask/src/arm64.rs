//! `cargo xtask arm64`: both sides compiled for 64-bit ARM on another machine, and the program run by an emulator of that processor as far as it goes
//! without a kernel of that kind: traces read, the command line.
//!
//! rustup's toolchain has no standard library for that target unless somebody added it; Debian's has one, of the same version as the compiler
//! that compiles the kernel side, in a package for the other architecture. It is unpacked, not installed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{cargo, output, run as run_command},
    setup::{self, Purpose},
    toolchain::{self, Compiler},
    vm::archive::Index,
    workspace,
};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Debian's name of the architecture.
const ARCHITECTURE: &str = "arm64";
const LIBRARY: &str = "libstd-rust-web-dev";
/// What runs its programs here.
const EMULATOR: &str = "qemu-aarch64-static";
/// A trace whose report has to be the same on both processors.
const TRACE: &str = "tests/data/traces/format-1-abi-1.wwt";

/// The command.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Arm64])?;
    let Some(Compiler::Prebuilt(rustc)) = toolchain::find_compiler(&workspace::host_target()) else {
        bail!("this takes Debian's rustc-web, to which the package {LIBRARY} for {ARCHITECTURE} belongs");
    };
    let dir = workspace::target_dir()?.join("arm64");
    let sysroot = sysroot(&rustc, &dir)?;
    let flags = format!(
        "target.{TARGET}.rustflags=['--sysroot={}', '-Ctarget-feature=+crt-static']",
        sysroot.display()
    );
    let args = ["build", "--locked", "-p", "wrapwatch", "--target", TARGET, "--target-dir"];
    run_command(
        cargo(&args)?
            .arg(&dir)
            .args(["--config", &flags])
            .args(["--config", &format!("target.{TARGET}.linker='aarch64-linux-gnu-gcc'")])
            .env("RUSTC", &rustc)
            .env_remove("RUSTFLAGS"),
    )?;
    let program = dir.join(TARGET).join("debug/wrapwatch");
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

/// A compiler's directory with the standard library for the target, made once for each version of the compiler.
fn sysroot(rustc: &Path, dir: &Path) -> Result<PathBuf> {
    let found = output(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "rustc-web"]))?;
    let sysroot = dir.join("sysroot");
    let libraries = sysroot.join("lib/rustlib");
    let marked = sysroot.join("version");
    if fs::read_to_string(&marked).is_ok_and(|version| version == found) {
        return Ok(sysroot);
    }
    let _ = fs::remove_dir_all(&sysroot);
    fs::create_dir_all(&libraries).with_context(|| format!("cannot make {}", libraries.display()))?;
    let unpacked = sysroot.join("unpacked");
    eprintln!("fetching {LIBRARY} {found} for {ARCHITECTURE}, to go with {}", rustc.display());
    let package = Index::fetch_of_machine(ARCHITECTURE)?.download(&format!("{LIBRARY}={found}"), &sysroot)?;
    run_command(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked))?;
    symlink(unpacked.join("usr/lib/rustlib").join(TARGET), libraries.join(TARGET))
        .context("cannot link the library")?;
    fs::write(&marked, found).context("cannot mark it")?;
    Ok(sysroot)
}
