//! The daemons' packages, unpacked and never installed: they would start.
//!
//! All in one folder, which the lab lays over the server's `/usr`: each package that a `tests/daemons/NAME.toml` names, what apt would install with it
//! on this machine, and libwrap, so that the daemons' is a file of their own.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{process, setup::parts_directory, workspace};

/// File within the folder: what it was made for.
const STAMP: &str = "packages";

/// Unpacks them: `$1` is the folder, the rest are packages. A folder is there whole or not at all.
const SCRIPT: &str = r#"
set -e
to=$1; shift
rm -rf "$to" "$to.new"
mkdir -p "$to.new/usr/bin" "$to.new/usr/sbin" "$to.new/usr/lib"
for folder in bin sbin lib; do ln -s "usr/$folder" "$to.new/$folder"; done
at=$(mktemp -d); trap 'rm -rf "$at"' EXIT; cd "$at"
needed() { for package in "$@"; do apt-get install --simulate --no-install-recommends "$package" || return 1; done > simulated; }
needed "$@" 2> said || { apt-get update; needed "$@"; }
sed -n 's/^Inst \([^ ]*\).*/\1/p' simulated | sort -u > list
get() { apt-get download --quiet $(cat list) libwrap0; }
get || { apt-get update; get; }
for package in *.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -p --keep-directory-symlink -C "$to.new"
done
echo "$@" > "$to.new/packages"
mv "$to.new" "$to"
"#;

/// As much of a daemon's file as matters here.
#[derive(Deserialize)]
struct Daemon {
    packages: Vec<String>,
    #[cfg(test)]
    expected: String,
    #[cfg(test)]
    #[serde(default)]
    known_wrong: Vec<String>,
}

/// Unpacks what is not there yet.
pub(crate) fn ensure() -> Result<()> {
    let wanted = wanted(&workspace::root()?.join("tests/daemons"))?;
    let folder = folder();
    let there = fs::read_to_string(folder.join(STAMP)).unwrap_or_default();
    let there: BTreeSet<&str> = there.split_whitespace().collect();
    if wanted.iter().all(|package| there.contains(package.as_str())) {
        return Ok(());
    }
    eprintln!("unpacking {} packages and what they depend on …", wanted.len());
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(folder).args(&wanted).stdout(std::io::stderr());
    process::run(&mut command)
}

fn folder() -> PathBuf {
    parts_directory().join("daemons")
}

/// The packages that the files in this folder name.
fn wanted(folder: &Path) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            all.extend(read(&path)?.packages);
        }
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Daemon> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::{read, wanted};
    use crate::{daemons::ALWAYS, workspace};

    #[test]
    fn packages_are_read_from_the_daemons_files() {
        let all = wanted(&workspace::root().unwrap().join("tests/daemons")).unwrap();
        assert!(all.contains("openssh-server"), "{all:?}");
    }

    #[test]
    fn what_runs_always_has_to_be_right() {
        for name in ALWAYS {
            let path = workspace::root().unwrap().join(format!("tests/daemons/{name}.toml"));
            let daemon = read(&path).unwrap();
            assert_eq!((daemon.expected.as_str(), daemon.known_wrong), ("right", Vec::new()), "{name}");
        }
    }
}
