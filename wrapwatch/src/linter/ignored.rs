//! What somebody wants to hear no more of: the file with it, read, and what is wrong with that file.

use std::path::Path;

use crate::host::HostError;
use crate::host::local::{self, Found};
use crate::wrappers::ignore::{Applied, IgnoreList};

/// The name of the file with what is to be ignored, beside hosts.allow.
pub const IGNORE_FILE: &str = "hosts.lint-ignore";

/// A file that was read, or was not.
#[derive(Clone, Debug, Default)]
pub struct IgnoreFile {
    /// What it says.
    pub list: IgnoreList,
    /// Its name, for what is said of it.
    name: String,
    /// Why it is not used, where it is there.
    unusable: Option<String>,
}

impl IgnoreFile {
    /// Reads it; none that is not there. `name` is what it is called in what is said of it.
    ///
    /// # Errors
    /// Where it cannot be read; what nobody can open is no error here, see [`IgnoreFile::unusable`].
    pub fn read(path: &Path, name: &str) -> Result<Option<Self>, HostError> {
        let file = Self { name: name.to_owned(), ..Self::default() };
        Ok(match local::read(path)? {
            Found::Text(text) => {
                Some(Self { list: IgnoreList::parse(&String::from_utf8_lossy(&text)), ..file })
            }
            Found::Missing => None,
            Found::Unusable(why) => Some(Self { unusable: Some(why), ..file }),
        })
    }

    /// Why it is there and cannot be used.
    pub fn unusable(&self) -> Option<&str> {
        self.unusable.as_deref()
    }

    /// What is wrong with it, a sentence each: lines that say nothing, and those that fit no problem any more.
    pub fn remarks(&self, applied: &Applied) -> Vec<String> {
        let name = &self.name;
        let unusable = self.unusable.iter().map(|why| format!("{name} is not used: {why}"));
        let mistakes = self.list.mistakes.iter().map(|(line, why)| format!("{name}:{line}: {why}"));
        let unused = applied.unused.iter().map(|line| format!("{name}:{line}: nothing to ignore any more"));
        unusable.chain(mistakes).chain(unused).collect()
    }
}
