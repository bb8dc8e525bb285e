//! Tests that did not run, and whether that was agreed on.
//!
//! A test that cannot run here appends `SKIP: NAME: REASON` to the file named by `WRAPWATCH_SKIPS` and returns; NAME is
//! its name as its harness prints it. `tests/skips.txt` declares which tests may do that, as `NAME: when and why`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::libtest::Tally;
use crate::workspace;

/// Names the file to which tests that skip themselves write.
pub(crate) const VARIABLE: &str = "WRAPWATCH_SKIPS";
const DECLARED: &str = "tests/skips.txt";

/// The skips of a run.
#[derive(Debug, Default)]
pub(crate) struct Skips {
    /// Test and reason.
    pub(crate) happened: BTreeMap<String, String>,
    /// How many of them their harness took for passed.
    pub(crate) by_themselves: usize,
    declared: BTreeMap<String, String>,
}

/// Makes the file for a new run.
pub(crate) fn clear() -> Result<()> {
    let file = file()?;
    fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))
}

/// The file that tests write to.
pub(crate) fn file() -> Result<PathBuf> {
    Ok(workspace::scratch_dir()?.join("skips"))
}

impl Skips {
    /// What was skipped in the run that the tally counted.
    pub(crate) fn read(tally: &Tally) -> Result<Self> {
        let declared = workspace::root()?.join(DECLARED);
        Self::parse(tally, &read(&file()?)?, &read(&declared)?)
    }

    fn parse(tally: &Tally, happened: &str, declared: &str) -> Result<Self> {
        let mut skips = Self { happened: tally.ignored.clone(), ..Self::default() };
        for line in happened.lines().filter(|line| !line.is_empty()) {
            let (name, reason) = line
                .strip_prefix("SKIP: ")
                .and_then(|line| line.split_once(": "))
                .with_context(|| format!("not `SKIP: NAME: REASON`: {line:?}"))?;
            if !tally.seen.contains(name) {
                bail!("skipped itself under a name that no harness printed: {name}");
            }
            if skips.happened.insert(name.to_owned(), reason.to_owned()).is_none() {
                skips.by_themselves = skips.by_themselves.saturating_add(1);
            }
        }
        for line in declared.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, reason) =
                line.split_once(": ").with_context(|| format!("{DECLARED}: not `NAME: REASON`: {line:?}"))?;
            skips.declared.insert(name.to_owned(), reason.to_owned());
        }
        Ok(skips)
    }

    /// Fails if a test was skipped that nobody declared, or, after a `whole` run, one is declared that does not exist.
    pub(crate) fn judge(&self, tally: &Tally, whole: bool) -> Result<()> {
        let undeclared: Vec<&str> = self
            .happened
            .keys()
            .filter(|name| !self.declared.contains_key(*name))
            .map(String::as_str)
            .collect();
        if !undeclared.is_empty() {
            bail!("skipped without being declared in {DECLARED}: {}", undeclared.join(", "));
        }
        let gone: Vec<&str> =
            self.declared.keys().filter(|name| !tally.seen.contains(*name)).map(String::as_str).collect();
        if whole && !gone.is_empty() {
            bail!("declared in {DECLARED}, but there is no such test: {}", gone.join(", "));
        }
        Ok(())
    }
}

/// The file's text, nothing where there is none.
fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Skips, Tally};

    fn tally(seen: &[&str], ignored: &[&str]) -> Tally {
        Tally {
            seen: seen.iter().chain(ignored).map(ToString::to_string).collect(),
            ignored: ignored.iter().map(|name| ((*name).to_owned(), "ignored".to_owned())).collect(),
            ..Tally::default()
        }
    }

    #[test]
    fn declared_skips_are_accepted_and_counted_once() {
        let tally = tally(&["ident", "vm::boots", "fast"], &["slow"]);
        let happened = "SKIP: vm::boots: no image\nSKIP: vm::boots: no image\n";
        let skips =
            Skips::parse(&tally, happened, "# why\nvm::boots: needs: an image\nslow: hours\n").unwrap();
        skips.judge(&tally, true).unwrap();
        assert_eq!(skips.happened.len(), 2);
        assert_eq!(skips.by_themselves, 1);
    }

    #[test]
    fn undeclared_skips_fail() {
        let tally = tally(&["vm::boots"], &["slow"]);
        for (happened, declared) in [("", ""), ("SKIP: vm::boots: no image", "slow: hours")] {
            let skips = Skips::parse(&tally, happened, declared).unwrap();
            skips.judge(&tally, false).unwrap_err();
        }
    }

    #[test]
    fn a_declared_test_that_is_gone_fails_after_a_whole_run() {
        let tally = tally(&["fast"], &[]);
        let skips = Skips::parse(&tally, "", "vm::boots: needs an image").unwrap();
        skips.judge(&tally, false).unwrap();
        skips.judge(&tally, true).unwrap_err();
    }

    #[test]
    fn malformed_lines_are_refused() {
        let tally = tally(&["a"], &[]);
        Skips::parse(&tally, "SKIP: a", "").unwrap_err();
        Skips::parse(&tally, "SKIP: another: reason", "").unwrap_err();
        Skips::parse(&tally, "a: b", "").unwrap_err();
        Skips::parse(&tally, "", "a b").unwrap_err();
    }
}
