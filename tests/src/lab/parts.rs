//! What a lab is made of and where it is found: programs of the machine, and binaries of this workspace.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::LabConfig;

/// File name of the library to preload.
const PRELOAD: &str = "libwrapwatch_preload.so";
/// File name of the lab's binary.
const LAB: &str = "wrapwatch-lab";
/// Names the library to preload, where set.
pub const PRELOAD_VARIABLE: &str = "WRAPWATCH_PRELOAD";
/// Names the lab's binary, where set.
pub const LAB_VARIABLE: &str = "WRAPWATCH_LAB";

/// Fails with one line that says what to do when the machine cannot run a lab.
pub fn check_machine(config: &LabConfig) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lab needs root: it makes namespaces and mounts of its own; run it with sudo"
    );
    let mut missing = Vec::new();
    if !Path::new("/usr/sbin/mariadbd").exists() {
        missing.push("mariadbd");
    }
    if find_program("ip").is_none() {
        missing.push("ip");
    }
    if config.server.wrapped && !has_libwrap() {
        missing.push("libwrap");
    }
    ensure!(missing.is_empty(), "not installed: {}; run: cargo xtask setup", missing.join(", "));
    Ok(())
}

fn find_program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.exists())
}

/// Whether the loader would find libwrap: Debian's multi-arch folders, or the plain ones.
fn has_libwrap() -> bool {
    let folders = ["/lib", "/usr/lib", "/lib64", "/usr/lib64"].map(PathBuf::from);
    let arch = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    folders.into_iter().chain([arch.into()]).any(|folder| folder.join("libwrap.so.0").exists())
}

/// The library to preload: as configured, from the environment, or beside this executable.
pub(crate) fn preload_library(configured: Option<&Path>) -> Result<PathBuf> {
    let named = configured.map(Path::to_owned).or_else(|| env::var_os(PRELOAD_VARIABLE).map(PathBuf::from));
    let path = match named {
        Some(path) => path,
        None => target_directory()?.join(PRELOAD),
    };
    path.canonicalize().with_context(|| {
        format!("no library to preload at {}; run: cargo build -p wrapwatch-preload", path.display())
    })
}

/// The workspace's binaries for labs: the lab's own and the library. From the environment, or else from beside this executable.
/// Under cargo the library is brought up to date first, since nothing that cargo builds for tests depends on it.
pub(super) fn binaries() -> Result<&'static (PathBuf, PathBuf)> {
    static FOUND: OnceLock<std::result::Result<(PathBuf, PathBuf), String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find_binaries().map_err(|error| format!("{error:#}")));
    found.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn find_binaries() -> Result<(PathBuf, PathBuf)> {
    let target = target_directory()?;
    let set = |variable: &str| env::var_os(variable).map(PathBuf::from);
    let lab = set(LAB_VARIABLE).unwrap_or_else(|| target.join(LAB));
    if !lab.exists() {
        build(&target, &["-p", "wrapwatch-tests", "--bin", LAB])?;
    }
    let preload = set(PRELOAD_VARIABLE).unwrap_or_else(|| target.join(PRELOAD));
    if !preload.exists() || (set(PRELOAD_VARIABLE).is_none() && env::var_os("CARGO").is_some()) {
        build(&target, &["-p", "wrapwatch-preload"])?;
    }
    for path in [&lab, &preload] {
        ensure!(path.exists(), "{} is missing; run: cargo xtask setup", path.display());
    }
    Ok((lab, preload))
}

/// `target/PROFILE`: where this executable is, or one up from `deps`.
fn target_directory() -> Result<PathBuf> {
    let exe = env::current_exe().context("cannot tell where this executable is")?;
    let folder = exe.parent().context("this executable has no folder")?;
    let in_deps = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if in_deps { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

/// A file of a Debian package that is only unpacked, never installed, because it would change the machine (nscd, libnss-resolve) or start a daemon (prometheus).
pub fn unpacked(path: &str) -> Result<PathBuf> {
    let file = target_directory()?.with_file_name("lab-parts").join(path);
    ensure!(file.exists(), "{} is missing; run: cargo xtask setup", file.display());
    Ok(file)
}

fn build(target: &Path, what: &[&str]) -> Result<()> {
    let profile = match target.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--profile", profile])
        .args(what)
        .arg("--target-dir")
        .arg(target.parent().unwrap_or(target))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .with_context(|| format!("cannot run cargo to build {}", what.join(" ")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cannot build {}:\n{}", what.join(" "), said.trim());
    Ok(())
}
