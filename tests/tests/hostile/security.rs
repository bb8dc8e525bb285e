//! What SECURITY.md says of tests: that they are there.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All sources with tests below a folder.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            if text.contains("#[test]") {
                found.push((path, text));
            }
        }
    }
}

/// Whether a function is a test's, by its name or, with `…` in the place of what is left out, parts of it.
fn is_test(text: &str, name: &str) -> bool {
    let tests = text.split("#[test]").skip(1).filter_map(|test| test.split_once("fn ")?.1.split('(').next());
    let parts: Vec<&str> = name.split('…').collect();
    tests.into_iter().any(|test| match parts.as_slice() {
        [whole] => test == *whole,
        parts => parts.iter().all(|part| test.contains(part)),
    })
}

/// Whether a file is that of a module: `a::b` is `…/a/b.rs` or below `…/a/b/`.
fn is_module(path: &Path, module: &str) -> bool {
    let path = format!("{}/", path.with_extension("").display());
    path.contains(&format!("/{}/", module.replace("::", "/")))
}

#[test]
fn every_test_that_the_table_of_attacks_names_is_there() {
    let mut tests = Vec::new();
    for folder in ["tests/tests", "wrapwatch/src"] {
        sources(&root().join(folder), &mut tests);
    }
    let page = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let table = page.split_once("## Attacks that worked once").unwrap().1;
    let cells: Vec<&str> =
        table.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next()).collect();
    let names: Vec<&str> = cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let (module, test) = name.rsplit_once("::").unwrap_or(("", name));
        let there = tests.iter().any(|(path, text)| {
            let of = |module| is_module(path, module);
            of(name.trim_end_matches("::")) || (module.is_empty() || of(module)) && is_test(text, test)
        });
        assert!(there || name == "elf" && root().join("tests/fuzz/src/elf.rs").exists(), "no test {name}");
    }
}
