//! `cargo xtask dist`: what users get. One statically linked file with its eBPF program inside, and a Debian package around it with man pages,
//! shell completions and a systemd unit.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{cargo, output, run as run_command},
    setup::{self, Purpose},
    workspace,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where man pages and completions go in a Debian package.
const PAPERS: [(&str, &str, &str); 3] = [
    ("completions/wrapwatch.bash", "usr/share/bash-completion/completions", "wrapwatch"),
    ("completions/_wrapwatch", "usr/share/zsh/vendor-completions", "_wrapwatch"),
    ("completions/wrapwatch.fish", "usr/share/fish/vendor_completions.d", "wrapwatch.fish"),
];
/// Where Debian looks for what has changed, before it is compressed.
const CHANGELOG: &str = "usr/share/doc/wrapwatch/changelog";
/// Files of the repository that go into the package.
const FILES: [(&str, &str); 10] = [
    ("packaging/wrapwatch-recorder.service", "usr/lib/systemd/system/wrapwatch-recorder.service"),
    ("packaging/wrapwatch-publish.service", "usr/lib/systemd/system/wrapwatch-publish.service"),
    ("packaging/wrapwatch-publish.socket", "usr/lib/systemd/system/wrapwatch-publish.socket"),
    ("packaging/prometheus/wrapwatch.rules.yml", "usr/share/doc/wrapwatch/examples/wrapwatch.rules.yml"),
    ("packaging/grafana/wrapwatch.json", "usr/share/doc/wrapwatch/examples/wrapwatch.json"),
    ("docs/metrics.md", "usr/share/doc/wrapwatch/metrics.md"),
    ("README.md", "usr/share/doc/wrapwatch/README.md"),
    ("CHANGELOG.md", CHANGELOG),
    ("LICENSE-MIT", "usr/share/doc/wrapwatch/copyright"),
    ("LICENSE-APACHE", "usr/share/doc/wrapwatch/LICENSE-APACHE"),
];

/// The command.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    let file = file(Profile::Release)?;
    let dir = dir()?;
    let alone = dir.join(format!("wrapwatch-{VERSION}-{}", env::consts::ARCH));
    fs::copy(&file, &alone).with_context(|| format!("cannot write {}", alone.display()))?;
    println!("{}", alone.display());
    println!("{}", package(&file, &dir)?.display());
    Ok(())
}

/// How the file is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As users get it.
    Release,
    /// For whoever changes it.
    Dev,
}

impl Profile {
    /// cargo's name of it, and of the directory where its results are.
    pub(crate) const fn name_and_folder(self) -> (&'static str, &'static str) {
        match self {
            Self::Release => ("release", "release"),
            Self::Dev => ("dev", "debug"),
        }
    }
}

/// Builds the file and says where it is.
pub(crate) fn file(profile: Profile) -> Result<PathBuf> {
    let target = target();
    let (name, dir) = profile.name_and_folder();
    let args = ["build", "--locked", "--quiet", "-p", "wrapwatch", "--profile", name, "--target", &target];
    // Only for that target: build scripts and procedural macros are left as they are.
    let flags = format!("target.{target}.rustflags=['-Ctarget-feature=+crt-static', '-Cstrip=symbols']");
    let mut build = cargo(&args)?;
    run_command(build.args(["--config", &flags]).env_remove("RUSTFLAGS").stdout(std::io::stderr()))?;
    let file = workspace::target_dir()?.join(&target).join(dir).join("wrapwatch");
    let elf = output(Command::new("readelf").args(["--program-headers", "--wide"]).arg(&file))?;
    if elf.contains(" INTERP ") {
        bail!("{} is not linked statically", file.display());
    }
    Ok(file)
}

/// Debian's C library is the one that is there for every Rust; it can be linked statically, since no name is resolved with it.
fn target() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

fn dir() -> Result<PathBuf> {
    let dir = workspace::target_dir()?.join("dist");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Makes the Debian package.
fn package(file: &Path, dir: &Path) -> Result<PathBuf> {
    let root = workspace::root()?;
    let (staged, papers) = (dir.join("deb"), dir.join("papers"));
    for old in [&staged, &papers] {
        let _ = fs::remove_dir_all(old);
    }
    run_command(
        cargo(&["run", "--locked", "--quiet", "-p", "wrapwatch", "--example", "papers", "--"])?.arg(&papers),
    )?;
    put(file, &staged.join("usr/bin/wrapwatch"), 0o755)?;
    for (from, to) in FILES {
        put(&root.join(from), &staged.join(to), 0o644)?;
    }
    compress(&staged.join(CHANGELOG))?;
    for (from, to, name) in PAPERS {
        put(&papers.join(from), &staged.join(to).join(name), 0o644)?;
    }
    for page in papers.join("man").read_dir().context("no man pages")? {
        let page = page?.path();
        let to = staged.join("usr/share/man/man1").join(page.file_name().unwrap_or_default());
        put(&page, &to, 0o644)?;
        compress(&to)?;
    }
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let size = output(Command::new("du").args(["--summarize", "--block-size=1K"]).arg(&staged))?;
    let size = size.split_whitespace().next().unwrap_or("0");
    let control =
        fs::read_to_string(root.join("packaging/control")).context("cannot read packaging/control")?;
    let control =
        control.replace("@VERSION@", VERSION).replace("@ARCHITECTURE@", architecture).replace("@SIZE@", size);
    fs::create_dir_all(staged.join("DEBIAN")).context("cannot make DEBIAN")?;
    fs::write(staged.join("DEBIAN/control"), control).context("cannot write control")?;
    let deb = dir.join(format!("wrapwatch_{VERSION}_{architecture}.deb"));
    run_command(
        Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group"])
            .arg(&staged)
            .arg(&deb)
            .stdout(std::io::stderr()),
    )?;
    Ok(deb)
}

/// With no time in it: the same text gives the same package.
fn compress(file: &Path) -> Result<()> {
    run_command(Command::new("gzip").args(["--best", "--no-name"]).arg(file))
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let parent = to.parent().context("a file at the root")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}
