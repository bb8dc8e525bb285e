//! Documents that name tests, held against the tests: a table's last column is what a reader trusts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Of the names in backquotes in the last cells of `page`'s rows from `heading` on, how many there are, and those that no test has. `module::test` is a test of a file or folder
/// `module`; `module::` all of one; `…` stands for what is left out; `name.toml` is a server in `tests/daemons`.
pub fn named_in(page: &str, heading: &str) -> io::Result<(usize, Vec<String>)> {
    let mut tests = Vec::new();
    for folder in ["tests/tests", "wrapwatch/src"] {
        sources(&root().join(folder), &mut tests)?;
    }
    let page = fs::read_to_string(root().join(page))?;
    let table = page.split_once(heading).map_or("", |(_, table)| table);
    let cells = table.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next());
    let names: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let missing = names.iter().filter(|name| !is_there(&tests, name));
    Ok((names.len(), missing.map(|name| (*name).to_owned()).collect()))
}

fn is_there(tests: &[(PathBuf, String)], name: &str) -> bool {
    if let Some(server) = name.strip_suffix(".toml") {
        return root().join("tests/daemons").join(server).with_extension("toml").exists();
    }
    let (module, test) = name.rsplit_once("::").unwrap_or(("", name));
    tests.iter().any(|(path, text)| {
        let of = |module| is_module(path, module);
        of(name.trim_end_matches("::")) || (module.is_empty() || of(module)) && is_test(text, test)
    })
}

/// All sources with tests below a folder.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path)?;
            if text.contains("#[test]") {
                found.push((path, text));
            }
        }
    }
    Ok(())
}

/// Whether a function is a test's, by its name or, with `…` in the place of what is left out, parts of it.
fn is_test(text: &str, name: &str) -> bool {
    let mut tests =
        text.split("#[test]").skip(1).filter_map(|test| test.split_once("fn ")?.1.split('(').next());
    let parts: Vec<&str> = name.split('…').collect();
    tests.any(|test| match parts.as_slice() {
        [whole] => test == *whole,
        parts => parts.iter().all(|part| test.contains(part)),
    })
}

/// Whether a file is that of a module: `a::b` is `…/a/b.rs` or below `…/a/b/`.
fn is_module(path: &Path, module: &str) -> bool {
    let path = format!("{}/", path.with_extension("").display());
    path.contains(&format!("/{}/", module.replace("::", "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_statement_has_a_test() {
        let (count, missing) = named_in("tests/daemons/README.md", "# Servers").unwrap();
        assert!(count > 50, "{count}");
        assert_eq!(missing, [""; 0]);
        let page = fs::read_to_string(root().join("tests/daemons/README.md")).unwrap();
        for n in 1..=21 {
            assert!(page.contains(&format!("\n| W{n} |")), "W{n}");
        }
    }

    #[test]
    fn what_is_not_there_is_found() {
        let tests = [(PathBuf::from("src/a/b.rs"), "#[test]\nfn one_of_them() {".to_owned())];
        assert!(is_there(&tests, "a::b::one_of_them") && is_there(&tests, "b::one…them"));
        assert!(is_there(&tests, "a::") && is_there(&tests, "one_of_them") && is_there(&tests, "sshd.toml"));
        for name in ["c::one_of_them", "b::one_of", "two", "nowhere.toml"] {
            assert!(!is_there(&tests, name), "{name}");
        }
    }
}
