//! The kernels that guests boot, pinned by digest: `xtask/kernels.toml`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace;

/// A kernel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    /// How it is called here: `6.1`; `6.1-arm64` where it is for another processor than those of the matrix.
    pub(crate) series: String,
    /// What it runs on.
    #[serde(default)]
    pub(crate) architecture: Architecture,
    /// Where its packages are.
    pub(crate) archive: Archive,
    /// The suite in which newer ones are looked for.
    pub(crate) suite: String,
    /// Regular expression of the packages' names, `VERSION` standing for what differs: the kernel, then its modules where they are in
    /// another package.
    pub(crate) names: Vec<String>,
    /// The packages.
    #[serde(default, rename = "package")]
    pub(crate) packages: Vec<Package>,
}

/// A kind of processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Architecture {
    /// x86-64: the matrix.
    #[default]
    Amd64,
    /// 64-bit ARM: booted where it is asked for.
    Arm64,
}

impl Architecture {
    /// Debian's name of it.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// One of Debian's two archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Archive {
    /// `debian`
    Main,
    /// `debian-security`
    Security,
}

/// One package file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    /// Where it is in its archive.
    pub(crate) path: String,
    /// Digest of the file.
    pub(crate) sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "kernel")]
    kernels: Vec<Kernel>,
}

/// What stands above the pins.
const HEAD: &str = "\
# The kernels that `cargo xtask vm` boots, from Debian's archive. `cargo xtask vm --update-pins` moves the packages to the newest
# of each suite; everything else is edited by hand. `names` finds the packages: the kernel, then its modules.
";

impl Package {
    /// The file's name.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl Kernel {
    /// The version as the kernel package's file name has it.
    pub(crate) fn version(&self) -> &str {
        self.packages.first().and_then(|package| package.file_name().split('_').nth(1)).unwrap_or("unknown")
    }

    fn to_toml(&self) -> String {
        let archive = match self.archive {
            Archive::Main => "main",
            Archive::Security => "security",
        };
        let names = self.names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let mut text = format!("\n[[kernel]]\nseries = \"{}\"\n", self.series);
        if self.architecture != Architecture::default() {
            text.push_str(&format!("architecture = \"{}\"\n", self.architecture.debian()));
        }
        text.push_str(&format!("archive = \"{archive}\"\nsuite = \"{}\"\nnames = [{names}]\n", self.suite));
        for Package { path, sha256 } in &self.packages {
            text.push_str(&format!("[[kernel.package]]\npath = \"{path}\"\nsha256 = \"{sha256}\"\n"));
        }
        text
    }
}

fn path() -> Result<PathBuf> {
    Ok(workspace::root()?.join("xtask/kernels.toml"))
}

/// All kernels, oldest first.
pub(crate) fn read() -> Result<Vec<Kernel>> {
    let path = path()?;
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("bad {}", path.display()))
}

fn parse(text: &str) -> Result<Vec<Kernel>> {
    let file: File = toml::from_str(text)?;
    for kernel in &file.kernels {
        if kernel.names.is_empty() || kernel.names.len() != kernel.packages.len() {
            bail!("{} has {} names, {} packages", kernel.series, kernel.names.len(), kernel.packages.len());
        }
        if kernel.packages.iter().any(|package| package.sha256.len() != 64) {
            bail!("{} has something else than a SHA-256 digest", kernel.series);
        }
    }
    Ok(file.kernels)
}

/// Writes them; says whether anything is new.
pub(crate) fn write(kernels: &[Kernel]) -> Result<bool> {
    let path = path()?;
    let text: String = [HEAD.to_owned()].into_iter().chain(kernels.iter().map(Kernel::to_toml)).collect();
    let old = fs::read_to_string(&path).unwrap_or_default();
    if old == text {
        return Ok(false);
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

/// What sorts series by age: 5.10 is older than 6.1, and 6.12 newer.
pub(crate) fn by_age(series: &str) -> Vec<u32> {
    series.split(['.', '-']).filter_map(|part| part.parse().ok()).collect()
}

/// Those of the series asked for, the whole matrix if none was.
pub(crate) fn chosen(wanted: &[String]) -> Result<Vec<Kernel>> {
    let all = read()?;
    if wanted.is_empty() {
        return Ok(all.into_iter().filter(|kernel| kernel.architecture == Architecture::default()).collect());
    }
    let known = || all.iter().map(|kernel| kernel.series.as_str()).collect::<Vec<_>>().join(", ");
    wanted
        .iter()
        .map(|series| {
            let found = all.iter().find(|kernel| kernel.series == *series);
            found.cloned().with_context(|| format!("no kernel {series}; there are {}", known()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let kernels = read().unwrap();
        let text: String = kernels.iter().map(Kernel::to_toml).collect();
        assert_eq!(parse(&text).unwrap(), kernels);
        for kernel in &kernels {
            let version = kernel.series.split('-').next().unwrap();
            assert!(kernel.version().contains(version), "{kernel:?}");
            let architecture = kernel.architecture.debian();
            assert!(kernel.packages.iter().all(|package| package.path.contains(architecture)), "{kernel:?}");
        }
    }

    #[test]
    fn a_pin_without_a_digest_is_refused() {
        let digest = "0".repeat(64);
        let text = |sha256: &str, packages: usize| {
            let package = format!("[[kernel.package]]\npath = 'p/k_1_amd64.deb'\nsha256 = '{sha256}'\n");
            format!(
                "[[kernel]]\nseries = '1'\narchive = 'main'\nsuite = 's'\nnames = ['n']\n{}",
                package.repeat(packages)
            )
        };
        parse(&text(&digest, 1)).unwrap();
        parse(&text(&digest, 0)).unwrap_err();
        parse(&text("", 1)).unwrap_err();
    }
}
