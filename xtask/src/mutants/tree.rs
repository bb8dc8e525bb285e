//! A copy of the repository that may be broken.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::process::output;

/// The copy. Files that are the same are left alone, so that cargo need not compile them again.
pub(crate) struct Tree {
    path: PathBuf,
}

impl Tree {
    /// Makes `path` the same as `source`, without what git ignores.
    pub(crate) fn copy_of(source: &Path, path: &Path) -> Result<Self> {
        let list = output(
            Command::new("git")
                .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
                .current_dir(source),
        )?;
        let files: BTreeSet<PathBuf> = list
            .split_terminator('\0')
            .map(PathBuf::from)
            .filter(|file| source.join(file).is_file())
            .collect();
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let tree = Self { path: path.to_owned() };
        tree.remove_all_but(&files, Path::new(""))?;
        for file in &files {
            tree.update(file, &source.join(file))?;
        }
        Ok(tree)
    }

    /// Its top.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file's text.
    pub(crate) fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.path.join(file)).with_context(|| format!("cannot read {file}"))
    }

    /// Changes a file.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.path.join(file), text).with_context(|| format!("cannot write {file}"))
    }

    fn update(&self, file: &Path, source: &Path) -> Result<()> {
        let new = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let copy = self.path.join(file);
        if fs::read(&copy).is_ok_and(|old| old == new) {
            return Ok(());
        }
        if let Some(dir) = copy.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        fs::write(&copy, new).with_context(|| format!("cannot write {}", copy.display()))
    }

    fn remove_all_but(&self, files: &BTreeSet<PathBuf>, dir: &Path) -> Result<()> {
        let full = self.path.join(dir);
        for entry in full.read_dir().with_context(|| format!("cannot read {}", full.display()))? {
            let entry = entry?;
            let name = dir.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.remove_all_but(files, &name)?;
            } else if !files.contains(&name) {
                fs::remove_file(entry.path()).with_context(|| format!("cannot remove {}", name.display()))?;
            }
        }
        Ok(())
    }
}
