//! Compiles the kernel side, so that the binary carries it and one `cargo build` is enough.
//!
//! The object ends up as `$OUT_DIR/wrapwatch-ebpf`. See `build/toolchain.rs` for what compiles it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use toolchain::{Compiler, PACKAGE, PROFILE, Target, Toolchain};

#[path = "build/toolchain.rs"]
mod toolchain;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Cargo prints this as one `error:` line and nothing else of the build script.
            println!("cargo::error={error}");
            ExitCode::SUCCESS
        }
    }
}

fn build() -> Result<(), Box<dyn std::error::Error>> {
    let workspace = workspace()?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let target = Target::new(&variable("CARGO_CFG_TARGET_ARCH")?, &variable("CARGO_CFG_TARGET_ENDIAN")?);

    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    for source in ["Cargo.toml", "Cargo.lock", "wrapwatch-common", "wrapwatch-ebpf"] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }

    let toolchain = Toolchain::find(&target)?;
    println!("cargo::rerun-if-changed={}", toolchain.linker.display());
    if let Compiler::Prebuilt(rustc) = &toolchain.compiler {
        println!("cargo::rerun-if-changed={}", rustc.display());
    }

    let target_dir = shared_target_dir(&out_dir);
    let status = toolchain
        .cargo("build", &target, &target_dir)
        .current_dir(&workspace)
        .status()
        .map_err(|error| format!("cannot run cargo for the kernel side: {error}"))?;
    if !status.success() {
        // Cargo prints what a build script wrote to stderr only where it exits as failed.
        eprintln!("the kernel side does not compile ({}): see above", toolchain.compiler);
        std::process::exit(1);
    }
    let object = target_dir.join(&target.triple).join(PROFILE).join(PACKAGE);
    fs::copy(&object, out_dir.join(PACKAGE))
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    Ok(())
}

fn workspace() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.parent().ok_or("wrapwatch is not inside its workspace")?;
    Ok(workspace.to_owned())
}

/// One directory for all profiles of the user side, since the kernel side has one profile only: `ebpf` in the
/// enclosing build's target directory, which cargo marks with a tag.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    let tagged = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    tagged.unwrap_or(out_dir).join("ebpf")
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}
