//! From a pin to a kernel that can be booted: fetched, checked, unpacked; kept between runs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{
    archive::{self, Index},
    pins::{Architecture, Kernel, Package},
};
use crate::process::{output, probe, run};

/// Modules that guests need, in the order in which they have to be loaded: asking the kernel for sockets.
const MODULES: [&str; 2] = ["inet_diag", "tcp_diag"];

/// A kernel that can be booted.
#[derive(Debug)]
pub(crate) struct Ready {
    /// As in the pins.
    pub(crate) series: String,
    /// What it runs on.
    pub(crate) architecture: Architecture,
    /// Version of its package.
    pub(crate) version: String,
    /// The kernel.
    pub(crate) image: PathBuf,
    /// Modules in the order in which they have to be loaded.
    pub(crate) modules: Vec<PathBuf>,
    /// Said where it is not the one that is pinned.
    pub(crate) moved: Option<String>,
}

/// What files are kept in between runs: the user's cache.
fn cache() -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME is set"),
    };
    let dir = base.join("wrapwatch/kernels");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Has a kernel ready. Where its pin has gone from the archive, the newest of its suite takes its place and says so.
pub(crate) fn ready(kernel: &Kernel) -> Result<Ready> {
    if let Some(dir) = unpacked(kernel)? {
        return find(kernel, &dir, None);
    }
    let newer = archive::newest(kernel, &Index::fetch(std::slice::from_ref(kernel), kernel.architecture)?)?;
    let moved = format!(
        "the pinned {} has gone from {}; booting {} instead; to move the pin: cargo xtask vm --update-pins",
        kernel.version(),
        kernel.suite,
        newer.version()
    );
    let dir = unpacked(&newer)?.with_context(|| format!("the archive has no {} either", newer.version()))?;
    find(&newer, &dir, Some(moved))
}

/// Its packages' files, unpacked. None where the archive does not have one of them any more.
fn unpacked(kernel: &Kernel) -> Result<Option<PathBuf>> {
    let cache = cache()?;
    let digest = kernel.packages.first().map_or("", |package| package.sha256.as_str());
    let dir = cache.join(format!("{}-{}", kernel.version(), digest.get(..12).unwrap_or_default()));
    if dir.is_dir() {
        return Ok(Some(dir));
    }
    let mut files = Vec::new();
    for package in &kernel.packages {
        let Some(file) = fetched(kernel, package, &cache)? else { return Ok(None) };
        files.push(file);
    }
    // Made whole under another name, so that what is there is never half of it.
    let making = dir.with_extension("partial");
    let _ = fs::remove_dir_all(&making);
    for file in &files {
        run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&making))?;
    }
    prune(&making)?;
    fs::rename(&making, &dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for file in files {
        let _ = fs::remove_file(file);
    }
    Ok(Some(dir))
}

fn fetched(kernel: &Kernel, package: &Package, cache: &Path) -> Result<Option<PathBuf>> {
    let file = cache.join(package.file_name());
    if digest(&file).as_deref() == Some(package.sha256.as_str()) {
        return Ok(Some(file));
    }
    eprintln!("fetching {}", package.file_name());
    if archive::fetch(kernel.archive, package, &file)?.is_none() {
        return Ok(None);
    }
    match digest(&file) {
        Some(found) if found == package.sha256 => Ok(Some(file)),
        found => bail!("{} has the digest {found:?}, not {}", file.display(), package.sha256),
    }
}

fn digest(file: &Path) -> Option<String> {
    let said = probe(Command::new("sha256sum").arg(file))?;
    said.split(' ').next().map(ToOwned::to_owned)
}

/// Keeps of an unpacked kernel only what is used.
fn prune(dir: &Path) -> Result<()> {
    let image = find_one(dir, "vmlinuz*")?;
    fs::rename(image, dir.join("image")).context("cannot keep the kernel")?;
    for name in MODULES {
        let module = find_one(dir, &format!("{name}.ko*"))?;
        let kept = dir.join(module.file_name().context("a module without a name")?);
        fs::rename(&module, &kept).context("cannot keep a module")?;
        // Not every kernel of ours unpacks modules itself.
        if kept.extension().is_some_and(|extension| extension == "xz") {
            run(Command::new("xz").arg("--decompress").arg(&kept))?;
        }
    }
    for rest in ["boot", "lib", "usr"] {
        let rest = dir.join(rest);
        if rest.exists() {
            fs::remove_dir_all(&rest).with_context(|| format!("cannot remove {}", rest.display()))?;
        }
    }
    Ok(())
}

fn find_one(dir: &Path, name: &str) -> Result<PathBuf> {
    let found = output(Command::new("find").arg(dir).args(["-type", "f", "-name", name]))?;
    let mut lines = found.lines();
    match (lines.next(), lines.next()) {
        (Some(path), None) => Ok(path.into()),
        _ => bail!("not one {name} in {}: {found:?}", dir.display()),
    }
}

fn find(kernel: &Kernel, dir: &Path, moved: Option<String>) -> Result<Ready> {
    let modules: Vec<PathBuf> = MODULES.iter().map(|name| dir.join(format!("{name}.ko"))).collect();
    let image = dir.join("image");
    for file in modules.iter().chain([&image]) {
        if !file.is_file() {
            bail!("{} is not there; remove {} and try again", file.display(), dir.display());
        }
    }
    Ok(Ready {
        series: kernel.series.clone(),
        architecture: kernel.architecture,
        version: kernel.version().to_owned(),
        image,
        modules,
        moved,
    })
}
