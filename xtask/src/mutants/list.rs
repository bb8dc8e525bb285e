//! The files in `tests/mutants`: one mutant each.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace;

/// A small breakage and the test that has to notice it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutant {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub(crate) name: String,
    /// What would go wrong for the user, or what the test must not be able to overlook.
    pub(crate) why: String,
    /// The file that is broken, from the top of the repository.
    pub(crate) file: String,
    /// What is replaced; it stands in the file exactly once.
    search: String,
    /// What it is replaced by.
    replace: String,
    /// The test.
    pub(crate) killed_by: KilledBy,
}

/// A test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KilledBy {
    /// The package it is in.
    pub(crate) package: String,
    /// `lib` for a unit test, or the name of a file of end-to-end or integration tests.
    pub(crate) target: String,
    /// Its whole name as the harness prints it.
    pub(crate) test: String,
}

/// Reads those whose names contain one of `names`, all if there are none.
pub(crate) fn read(names: &[String]) -> Result<Vec<Mutant>> {
    let dir = workspace::root()?.join("tests/mutants");
    let mut mutants = Vec::new();
    for entry in dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let (Some(name), Some("toml")) =
            (path.file_stem().and_then(|name| name.to_str()), path.extension().and_then(|ext| ext.to_str()))
        else {
            continue;
        };
        if names.is_empty() || names.iter().any(|part| name.contains(part.as_str())) {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mutant = toml::from_str(&text).with_context(|| format!("bad mutant {}", path.display()))?;
            mutants.push(Mutant { name: name.to_owned(), ..mutant });
        }
    }
    if mutants.is_empty() {
        bail!("no such mutant in {}", dir.display());
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

impl Mutant {
    /// The broken text.
    pub(crate) fn apply(&self, text: &str) -> Result<String> {
        // A multi-line literal ends with a newline that the searched text need not have.
        let search = self.search.trim_end_matches('\n');
        match text.matches(search).count() {
            _ if search.is_empty() => bail!("`search` is empty"),
            1 => Ok(text.replacen(search, self.replace.trim_end_matches('\n'), 1)),
            count => bail!("`search` stands in {} {count} times, not once", self.file),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{KilledBy, Mutant, read};
    use crate::workspace;

    fn mutant(search: &str) -> Mutant {
        toml::from_str(&format!(
            "why = 'w'\nfile = 'f'\nsearch = '{search}'\nreplace = 'X'\n\
             killed_by = {{ package = 'p', target = 'lib', test = 't' }}"
        ))
        .unwrap()
    }

    #[test]
    fn only_what_stands_there_once_is_replaced() {
        assert_eq!(mutant("b").apply("abc").unwrap(), "aXc");
        mutant("b").apply("abcb").unwrap_err();
        mutant("b").apply("ac").unwrap_err();
        mutant("").apply("ac").unwrap_err();
    }

    /// Whether a function of the test's name stands below `dir`.
    fn is_there(dir: &Path, function: &str) -> bool {
        dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).any(|path| {
            if path.is_dir() {
                return is_there(&path, function);
            }
            fs::read_to_string(&path).is_ok_and(|text| text.contains(&format!("fn {function}(")))
        })
    }

    /// A mutant that went stale is found here in a second, and not after half an hour.
    #[test]
    fn each_mutant_fits_the_code_and_its_test_is_there() {
        let root = workspace::root().unwrap();
        for mutant in read(&[]).unwrap() {
            let text = fs::read_to_string(root.join(&mutant.file)).unwrap();
            mutant.apply(&text).unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
            let KilledBy { package, target, test } = &mutant.killed_by;
            let dir = match (package.as_str(), target.as_str()) {
                ("wrapwatch-tests", target) => root.join("tests/tests").join(target),
                (package, _) => root.join(package).join("src"),
            };
            let function = test.rsplit("::").next().unwrap();
            assert!(is_there(&dir, function), "{}: no test {function} in {}", mutant.name, dir.display());
        }
    }
}
