//! What may name what. Data flows one way: no folder imports against the table in `ARCHITECTURE.md`, and there is no circle, neither of folders nor of files: whoever reads a file
//! comes to what it names, and never back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use super::sources::{self, Arrows, Module, Sources};

type Imports = BTreeMap<String, BTreeSet<String>>;

/// The sources of the crate that begins with this file of the repository.
fn of_crate(root: &str) -> Sources {
    sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(root))
}

/// What each folder imports from which others, tests left out.
fn imports() -> Imports {
    sources::folders(&of_crate("wrapwatch/src/lib.rs"))
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

/// All that can be reached from a file.
fn reached(arrows: &Arrows, from: &Module) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        let to = arrows.get(next).into_iter().flat_map(BTreeMap::keys);
        open.extend(to.filter(|to| reached.insert((*to).clone())));
    }
    reached
}

/// Each circle, with the arrows that make it.
fn circles(arrows: &Arrows) -> Vec<String> {
    let reach: BTreeMap<&Module, BTreeSet<Module>> =
        arrows.keys().map(|module| (module, reached(arrows, module))).collect();
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for (module, reached) in reach.iter().filter(|(module, reached)| reached.contains(**module)) {
        let circle: Vec<_> = reached.iter().filter(|other| reach[other].contains(*module)).collect();
        if !told.insert(circle.clone()) {
            continue;
        }
        let mut text = String::new();
        for from in &circle {
            for (to, names) in arrows[*from].iter().filter(|(to, _)| circle.contains(to)) {
                let _ = writeln!(text, "  {} -> {}: {names:?}", from.join("/"), to.join("/"));
            }
        }
        circles.push(text);
    }
    circles
}

#[test]
fn there_is_no_circle_of_files() {
    let mut all = String::new();
    let crates = [
        "wrapwatch/src/lib",
        "wrapwatch-common/src/lib",
        "wrapwatch-ebpf/src/main",
        "xtask/src/main",
        "tests/src/lib",
    ];
    for root in crates {
        for circle in circles(&sources::arrows(&of_crate(&format!("{root}.rs")))) {
            let _ = writeln!(all, "{root}:\n{circle}");
        }
    }
    assert!(all.is_empty(), "circles of files, and what ties them:\n{all}");
}

#[test]
fn a_circle_of_files_is_found() {
    let module = |name: &str| vec![name.to_owned()];
    let to = |names: &[&str]| names.iter().map(|name| (module(name), BTreeSet::new())).collect();
    let arrows = Arrows::from([
        (module("a"), to(&["b"])),
        (module("b"), to(&["c", "d"])),
        (module("c"), to(&["a"])),
        (module("d"), to(&["e"])),
        (module("e"), to(&[])),
    ]);
    assert_eq!(circles(&arrows), ["  a -> b: {}\n  b -> c: {}\n  c -> a: {}\n"]);
}
