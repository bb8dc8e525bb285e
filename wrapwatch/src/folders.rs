//! The folders' order: data flows one way, and no folder imports against it. What `crate::` names in the sources is held against the table in `ARCHITECTURE.md`,
//! and against itself: no circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

type Imports = BTreeMap<String, BTreeSet<String>>;

/// What each folder imports from which others, tests left out.
fn imports() -> Imports {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders: BTreeSet<String> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut imports = Imports::new();
    for folder in &folders {
        let mut named = BTreeSet::new();
        sources(&root.join(folder), &mut |source| named.extend(names(source)));
        named.retain(|name| name != folder && folders.contains(name));
        imports.insert(folder.clone(), named);
    }
    imports
}

fn sources(dir: &Path, take: &mut dyn FnMut(&str)) {
    let tests = test_modules(dir);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "tests" && name != "snapshots" {
                sources(&path, take);
            }
        } else if path.extension().is_some_and(|is| is == "rs")
            && !tests.contains(name.trim_end_matches(".rs"))
        {
            take(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Modules of a folder that are there for tests only.
fn test_modules(dir: &Path) -> BTreeSet<String> {
    let root = fs::read_to_string(dir.join("mod.rs")).unwrap_or_default();
    let declared =
        root.split("#[cfg(test)]").skip(1).filter_map(|after| after.split_once(';')).map(|(item, _)| item);
    declared
        .map(|item| word(item.rsplit(' ').next().unwrap_or_default()))
        .chain(["tests".to_owned()])
        .collect()
}

/// The first part of each path that begins with `crate::`, comments and test modules left out.
fn names(source: &str) -> BTreeSet<String> {
    let code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut parts = code.split("#[cfg(test)]");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // `mod tests;` goes, and what follows stays; `mod tests { … }` is the file's end.
        let (item, rest) = part.split_once([';', '{']).unwrap_or((part, ""));
        if part[item.len()..].starts_with(';') {
            kept.push_str(rest);
        }
    }
    let mut names = BTreeSet::new();
    for (at, path) in kept.match_indices("crate::") {
        let rest = &kept[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(first_of_group(group)),
            None => drop(names.insert(word(rest))),
        }
    }
    names
}

/// `a::b, c::{d, e}, f}` names a, c and f.
fn first_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut begins) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && depth == 0 && c.is_alphanumeric() => {
                names.push(word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The table in `ARCHITECTURE.md` under "Who may import whom": folder, and what it may import.
fn allowed() -> Imports {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("### Who may import whom").expect("the section is there");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let ticked = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let mut cells = row.split('|').skip(1).map(ticked);
            let folder = cells.next().unwrap().remove(0);
            (folder, cells.next().unwrap().into_iter().collect())
        })
        .collect()
}

#[test]
fn no_folder_imports_against_the_table() {
    let allowed = allowed();
    for (folder, imports) in imports() {
        let may = allowed.get(&folder).unwrap_or_else(|| panic!("ARCHITECTURE.md says nothing of {folder}/"));
        let against: Vec<_> = imports.difference(may).collect();
        assert!(against.is_empty(), "{folder}/ imports {against:?}; it may import {may:?}");
    }
}

#[test]
fn there_is_no_circle_of_folders() {
    let mut imports = imports();
    // Takes away what imports nothing that is left: what stays is in a circle, or imports one.
    while let Some(free) =
        imports.iter().find(|(_, named)| named.is_empty()).map(|(folder, _)| folder.clone())
    {
        imports.remove(&free);
        imports.values_mut().for_each(|named| named.retain(|name| *name != free));
    }
    assert!(imports.is_empty(), "a circle among: {imports:#?}");
}

#[test]
fn imports_are_read_as_they_are_written() {
    let source = "use crate::{\n    a::{b, c},\n    d,\n};\n#[cfg(test)]\nmod tests;\nuse crate::e::f; // crate::g\nfn x() { crate::h() }\n#[cfg(test)]\nmod tests { use crate::i; }";
    assert_eq!(names(source), ["a", "d", "e", "h"].map(str::to_owned).into());
}
