//! The public names of the library, out of the pages that rustdoc makes, held against a list in the repository: so they change on purpose.
//!
//! Names and kinds are in it, of modules' items and of their members; types and traits' implementations are not: addresses of rustdoc's pages stay the same from
//! one version to the next, what stands on them does not.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::read;
use crate::{
    process::{cargo, run},
    workspace,
};

const LIST: &str = "wrapwatch/public-api.txt";
const ABOUT: &str = "# The library's public names. Made by `cargo xtask docs --api`; a change of them is a change for who uses the library.\n";
/// What follows on a page is not the item's own.
const ENDS: [&str; 5] = [
    "id=\"trait-implementations\"",
    "id=\"synthetic-implementations\"",
    "id=\"blanket-implementations\"",
    "id=\"foreign-impls\"",
    "id=\"implementors\"",
];
const MEMBERS: [&str; 6] =
    ["method.", "tymethod.", "variant.", "structfield.", "associatedconstant.", "associatedtype."];
/// Fewer would be pages that were not understood.
const NAMES_MIN: usize = 100;

/// Writes the list and says where it is.
pub(super) fn make() -> Result<PathBuf> {
    let path = workspace::root()?.join(LIST);
    fs::write(&path, names()?).with_context(|| format!("cannot write {LIST}"))?;
    Ok(path)
}

/// The lint.
pub(crate) fn check() -> Result<()> {
    let (listed, found) = (read(workspace::root()?, LIST)?, names()?);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, now) = (lines(&listed), lines(&found));
    for gone in before.difference(&now) {
        eprintln!("- {gone}");
    }
    for new in now.difference(&before) {
        eprintln!("+ {new}");
    }
    ensure!(
        listed == found,
        "the library's public names are not those of {LIST}; if that is meant: cargo xtask docs --api"
    );
    Ok(())
}

fn names() -> Result<String> {
    run(cargo(&["doc", "--quiet", "--package", "wrapwatch", "--lib", "--no-deps", "--locked"])?
        .env("RUSTDOCFLAGS", "-Dwarnings"))?;
    let docs = workspace::target_dir()?.join("doc/wrapwatch");
    let page = |path: &str| {
        fs::read_to_string(docs.join(path)).with_context(|| format!("cannot read rustdoc's page {path}"))
    };
    let mut names = BTreeSet::new();
    for path in items(&page("all.html")?) {
        let (kind, name) = item(path).with_context(|| format!("{path} is not the page of an item"))?;
        for member in members(&page(path)?) {
            names.insert(format!("{name}::{} {}", member.1, member.0));
        }
        names.insert(format!("{name} {kind}"));
    }
    ensure!(names.len() >= NAMES_MIN, "rustdoc's pages name {} items only", names.len());
    let lines: Vec<String> = names.into_iter().collect();
    Ok(format!("{ABOUT}{}\n", lines.join("\n")))
}

/// Pages that the page of all items leads to.
fn items(all: &str) -> Vec<&str> {
    let links = all.split("<li><a href=\"").skip(1).filter_map(|link| link.split('"').next());
    links.filter(|link| !link.starts_with('#')).collect()
}

/// `engine/struct.Engine.html`: its kind and name.
fn item(path: &str) -> Option<(&str, String)> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let (kind, name) = file.strip_suffix(".html")?.split_once('.')?;
    let folder = folder.split('/').filter(|part| !part.is_empty());
    Some((kind, folder.chain([name]).collect::<Vec<_>>().join("::")))
}

/// Kind and name of each member that a page has an anchor for.
fn members(page: &str) -> Vec<(&str, &str)> {
    let own =
        ENDS.iter().filter_map(|end| page.find(end)).min().and_then(|end| page.get(..end)).unwrap_or(page);
    let anchors = own.split("id=\"").skip(1).filter_map(|anchor| anchor.split('"').next());
    let members = anchors.filter(|anchor| MEMBERS.iter().any(|kind| anchor.starts_with(kind)));
    // `variant.V.fields` is the heading above `variant.V.field.f`.
    members
        .filter(|member| !member.ends_with(".fields"))
        .filter_map(|member| member.split_once('.'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_and_their_own_members_are_named() {
        let all =
            r##"<li><a href="#structs">Structs</a></li><li><a href="a/b/struct.C.html">a::b::C</a></li>"##;
        assert_eq!(items(all), ["a/b/struct.C.html"]);
        assert_eq!(item("a/b/struct.C.html"), Some(("struct", "a::b::C".to_owned())));
        assert_eq!(item("fn.f.html"), Some(("fn", "f".to_owned())));
        let page = r#"<span id="structfield.d"><section id="method.e"><h2 id="trait-implementations">
            <section id="method.clone">"#;
        assert_eq!(members(page), [("structfield", "d"), ("method", "e")]);
    }
}
