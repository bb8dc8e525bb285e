//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::toolchain::Target;

/// The repository's top level.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not inside its workspace")
}

/// Cargo's target directory, wherever it was configured to be: this very program lies in its `debug`.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let program = std::env::current_exe().context("where is this program?")?;
    let target = program.parent().and_then(Path::parent);
    target.map(Path::to_owned).with_context(|| format!("{} is not in a target directory", program.display()))
}

/// A directory for xtask's own files, made if need be.
pub(crate) fn scratch_dir() -> Result<PathBuf> {
    let dir = target_dir()?.join("xtask");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// What the lab and the demo are told about a build, as environment variables. `dir` is where cargo put it.
pub(crate) fn artefacts(dir: &Path) -> [(&'static str, PathBuf); 3] {
    [
        ("WRAPWATCH_BIN", dir.join("wrapwatch")),
        ("WRAPWATCH_LAB", dir.join("wrapwatch-lab")),
        ("WRAPWATCH_PRELOAD", dir.join("libwrapwatch_preload.so")),
    ]
}

/// What the kernel side is compiled for when wrapwatch is compiled for this machine.
pub(crate) fn host_target() -> Target {
    Target::new(std::env::consts::ARCH, if cfg!(target_endian = "big") { "big" } else { "little" })
}
