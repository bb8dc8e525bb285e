//! Debian's archive through the machine's own apt: its mirror, its proxy, its keys. Nothing of the machine's apt is changed: indices
//! of other suites go to a directory of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::pins::{Architecture, Archive, Kernel, Package};
use crate::{
    process::{display, output},
    workspace,
};

/// Part of Debian's package debian-archive-keyring; signs every suite, those of other releases too.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const HELPER: &str = "/usr/lib/apt/apt-helper";

/// Fetches one package to `to`, which apt leaves alone unless the digest is right. None where the archive does not have it any more.
pub(crate) fn fetch(archive: Archive, package: &Package, to: &Path) -> Result<Option<()>> {
    let uri = format!("{}{}", mirror(archive)?, package.path);
    let partial = to.with_extension("partial");
    let mut command = Command::new(HELPER);
    command.args(["-q", "download-file", &uri]).arg(&partial).arg(format!("SHA256:{}", package.sha256));
    let answer = command.output().with_context(|| format!("cannot run {HELPER}"))?;
    if answer.status.success() {
        fs::rename(&partial, to).with_context(|| format!("cannot make {}", to.display()))?;
        return Ok(Some(()));
    }
    let _ = fs::remove_file(&partial);
    let said = String::from_utf8_lossy(&answer.stderr);
    // Debian removes a version from its archive when there is a newer one.
    if said.contains("404") {
        return Ok(None);
    }
    bail!("failed ({}): {}: {}", answer.status, display(&command), said.trim())
}

/// The newest version of a kernel in its suite.
pub(crate) fn newest(kernel: &Kernel, index: &Index) -> Result<Kernel> {
    let mut packages = Vec::new();
    let mut version: Option<String> = None;
    for name in &kernel.names {
        let found = index.newest(name, version.as_deref())?;
        let found = found.with_context(|| format!("{} has no package {name}", kernel.suite))?;
        version = Some(found.version);
        packages.push(found.package);
    }
    Ok(Kernel { packages, ..kernel.clone() })
}

/// Where the machine's own apt finds an archive, with a slash at the end.
fn mirror(archive: Archive) -> Result<String> {
    let targets = index_targets()?;
    find_mirror(&targets, archive)
        .map(ToOwned::to_owned)
        .context("this machine's apt knows no Debian archive to fetch kernels from (main and security)")
}

/// What the machine's apt fetches from: address, suite and component, a line each.
fn index_targets() -> Result<String> {
    output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))
}

fn find_mirror(targets: &str, archive: Archive) -> Option<&str> {
    targets.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (uri, release, component) = (words.next()?, words.next()?, words.next()?);
        let wanted = match archive {
            Archive::Security => release.ends_with("-security"),
            Archive::Main => !release.contains('-'),
        };
        (wanted && component == "main").then_some(uri)
    })
}

/// The package indices of the suites that the kernels are from.
pub(crate) struct Index {
    dir: PathBuf,
    architecture: Architecture,
}

struct Found {
    version: String,
    package: Package,
}

impl Index {
    /// Fetches them for those of the kernels that are of this architecture; apt checks who signed them.
    pub(crate) fn fetch(kernels: &[Kernel], architecture: Architecture) -> Result<Self> {
        let kernels = kernels.iter().filter(|kernel| kernel.architecture == architecture);
        let line = |kernel: &Kernel| anyhow::Ok((mirror(kernel.archive)?, kernel.suite.clone()));
        Self::of(&kernels.map(line).collect::<Result<Vec<_>>>()?, architecture)
    }

    /// Those of the machine's own suites, for another architecture.
    pub(crate) fn fetch_of_machine(architecture: Architecture) -> Result<Self> {
        let targets = index_targets()?;
        let sources = targets.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (uri, release, component) = (words.next()?, words.next()?, words.next()?);
            (component == "main").then(|| (uri.to_owned(), release.to_owned()))
        });
        Self::of(&sources.collect::<Vec<_>>(), architecture)
    }

    fn of(sources: &[(String, String)], architecture: Architecture) -> Result<Self> {
        let dir = workspace::scratch_dir()?.join("apt").join(architecture.debian());
        let index = Self { dir, architecture };
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(index.dir.join(dir)).context("cannot make apt's directories")?;
        }
        let lines =
            sources.iter().map(|(uri, suite)| format!("deb [signed-by={KEYRING}] {uri} {suite} main\n"));
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines.dedup();
        fs::write(index.dir.join("sources.list"), lines.concat()).context("cannot write apt's sources")?;
        fs::write(index.dir.join("status"), "").context("cannot write apt's status")?;
        let mut update = index.apt("apt-get", &["-q", "update", "--error-on=any"]);
        crate::process::run(update.stdout(std::io::stderr()))?;
        Ok(index)
    }

    /// Downloads a package, `NAME` or `NAME=VERSION`, and says where it is.
    pub(crate) fn download(&self, package: &str, dir: &Path) -> Result<PathBuf> {
        let mut download = self.apt("apt-get", &["-q", "download", package]);
        crate::process::run(download.current_dir(dir).stdout(std::io::stderr()))?;
        let name = package.split('=').next().unwrap_or(package);
        let is_it = |path: &PathBuf| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}_")))
        };
        let files = dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?;
        let found = files.filter_map(|entry| Some(entry.ok()?.path())).find(is_it);
        found.with_context(|| format!("apt-get brought no {name}"))
    }

    fn apt(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (name, value) in [
            ("Dir::Etc::SourceList", self.dir.join("sources.list")),
            ("Dir::Etc::SourceParts", PathBuf::from("/dev/null")),
            ("Dir::State", self.dir.clone()),
            ("Dir::State::Lists", self.dir.join("lists")),
            ("Dir::State::Status", self.dir.join("status")),
            ("Dir::Cache", self.dir.join("cache")),
            ("Acquire::Languages", "none".into()),
            ("APT::Architecture", self.architecture.debian().into()),
            ("APT::Architectures", self.architecture.debian().into()),
            // Nothing else than the packages' index.
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".into()),
            ("Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled", "false".into()),
            // An ordinary user's files cannot be read by apt's own user.
            ("APT::Sandbox::User", "root".into()),
            ("APT::Update::Post-Invoke-Success", String::new().into()),
        ] {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        }
        command.args(args);
        command
    }

    /// The newest package whose name matches, of this version where one is given.
    fn newest(&self, name: &str, version: Option<&str>) -> Result<Option<Found>> {
        let pattern = format!("^{}$", name.replace("VERSION", "[0-9][^-]*(-[0-9]+)?"));
        let names = output(&mut self.apt("apt-cache", &["search", "--names-only", &pattern]))?;
        let mut found: Option<Found> = None;
        for name in names.lines().filter_map(|line| line.split(' ').next()) {
            let shown = output(&mut self.apt("apt-cache", &["show", name]))?;
            for candidate in shown.split("\n\n").filter_map(stanza) {
                let wanted = version.is_none_or(|version| version == candidate.version);
                if wanted && found.as_ref().is_none_or(|best| is_newer(&candidate.version, &best.version)) {
                    found = Some(candidate);
                }
            }
        }
        Ok(found)
    }
}

/// A package in apt-cache's words.
fn stanza(text: &str) -> Option<Found> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        Some(line.to_owned())
    };
    let package = Package { path: field("Filename")?, sha256: field("SHA256")? };
    Some(Found { version: field("Version")?, package })
}

/// By Debian's rules.
fn is_newer(version: &str, than: &str) -> bool {
    let mut command = Command::new("dpkg");
    command.args(["--compare-versions", version, "gt", than]);
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_told_apart_by_their_suites() {
        let targets = "http://mirror.example/debian/ bookworm-updates main\n\
            http://mirror.example/debian/ bookworm main\nhttp://other.example/sec/ bookworm-security main\n\
            http://third.example/x/ nodistro contrib\n";
        assert_eq!(find_mirror(targets, Archive::Main), Some("http://mirror.example/debian/"));
        assert_eq!(find_mirror(targets, Archive::Security), Some("http://other.example/sec/"));
        assert_eq!(find_mirror("", Archive::Main), None);
    }

    #[test]
    fn a_package_is_read_from_apt_caches_words() {
        let found =
            stanza("Package: linux\nVersion: 6.1.192-1\nFilename: pool/l_6.1.192-1_amd64.deb\nSHA256: ab\n");
        let found = found.unwrap();
        assert_eq!(
            (found.version.as_str(), found.package.file_name()),
            ("6.1.192-1", "l_6.1.192-1_amd64.deb")
        );
        assert!(stanza("Package: linux\nVersion: 1\n").is_none());
    }
}
