//! Which tests a guest has to run, and where one may be skipped: `tests/guest/tests.toml`.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::guest::Extra;
use crate::workspace;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    tests: Vec<String>,
    #[serde(default)]
    skip: Vec<Skip>,
    /// Kernels of tests that not every guest has.
    #[serde(default)]
    only: BTreeMap<String, Vec<String>>,
}

/// A test that a kernel cannot have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    /// The kernel's series.
    kernel: String,
    test: String,
    why: String,
}

impl Expected {
    /// Where it is, from the top of the repository.
    pub(crate) const FILE: &'static str = "tests/guest/tests.toml";

    /// Reads it.
    pub(crate) fn read() -> Result<Self> {
        let path = workspace::root()?.join(Self::FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| Self::FILE.to_owned())
    }

    /// From its text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let expected: Self = toml::from_str(text)?;
        if let Some(skip) = expected.skip.iter().find(|skip| !expected.tests.contains(&skip.test)) {
            bail!("a skip is declared for {}, which is no test", skip.test);
        }
        if let Some(test) = expected.only.keys().find(|test| !expected.tests.contains(test)) {
            bail!("kernels are named for {test}, which is no test");
        }
        Ok(expected)
    }

    /// Every test, in their order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().map(String::as_str)
    }

    /// Whether this kernel's guest has the test.
    pub(crate) fn has(&self, test: &str, series: &str) -> bool {
        let only = self.only.get(test);
        self.tests.iter().any(|known| known == test)
            && only.is_none_or(|only| only.iter().any(|kernel| kernel == series))
    }

    /// What this kernel's guest has for tests that not every guest has.
    pub(crate) fn extra(&self, series: &str) -> Extra {
        Extra { mariadb: self.has("mariadb", series), apparmor: self.has("confined by AppArmor", series) }
    }

    /// Why a test may be skipped on a kernel, where it may.
    pub(crate) fn skip(&self, test: &str, series: &str) -> Option<&str> {
        let found = self.skip.iter().find(|skip| skip.test == test && skip.kernel == series);
        found.map(|skip| skip.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Expected;

    #[test]
    fn a_skip_of_an_unknown_test_is_refused() {
        Expected::parse("tests = ['a']\n[[skip]]\nkernel = '5.10'\ntest = 'b'\nwhy = 'w'\n").unwrap_err();
        Expected::parse("tests = ['a']\n[[skip]]\nkernel = '5.10'\ntest = 'a'\n").unwrap_err();
        Expected::parse("tests = ['a']\n[only]\nb = ['6.1']\n").unwrap_err();
    }

    #[test]
    fn a_test_may_be_some_kernels_only() {
        let expected = Expected::parse("tests = ['a', 'b']\n[only]\nb = ['6.1']\n").unwrap();
        assert!(expected.has("a", "5.10") && expected.has("b", "6.1") && !expected.has("b", "5.10"));
        assert!(!expected.has("c", "6.1"));
    }

    #[test]
    fn the_file_is_sound() {
        assert!(Expected::read().unwrap().all().count() > 0);
    }
}
