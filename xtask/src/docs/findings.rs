//! Each finding has a page, each page a finding, and all pages the same parts.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::{Page, links, page};

/// Where findings have their names.
const SOURCE: &str = "wrapwatch/src/model/finding.rs";
const FOLDER: &str = "docs/findings/";
/// The page that lists them.
const INDEX: &str = "docs/findings.md";
/// The parts of a page.
const PARTS: [&str; 4] = ["Cause", "Proof", "Change", "How to verify"];

pub(super) fn faults(pages: &[Page], root: &Path) -> Result<Vec<String>> {
    let source = fs::read_to_string(root.join(SOURCE)).with_context(|| format!("cannot read {SOURCE}"))?;
    let ids = ids(&source)?;
    let index = page(pages, INDEX)?;
    let listed: BTreeSet<String> =
        index.markdown.links.iter().filter_map(|link| links::target(INDEX, &link.to)).collect();
    let mut faults = Vec::new();
    for id in &ids {
        let path = format!("{FOLDER}{id}.md");
        match page(pages, &path) {
            Ok(page) => faults.extend(without_parts(page, id)),
            Err(_) => faults.push(format!("{path}: missing: the page of the finding {id}")),
        }
        if !listed.contains(&path) {
            faults.push(index.fault(1, format!("does not link to {path}")));
        }
    }
    let is_other = |page: &&Page| {
        let name = page.path.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(".md"));
        name.is_some_and(|name| !ids.contains(name))
    };
    faults.extend(pages.iter().filter(is_other).map(|page| page.fault(1, "there is no such finding")));
    Ok(faults)
}

fn without_parts(page: &Page, id: &str) -> Option<String> {
    let wanted = std::iter::once((1, id)).chain(PARTS.map(|part| (2, part)));
    let there = page.markdown.headings.iter().map(|(level, text)| (*level, text.as_str()));
    (!there.eq(wanted)).then(|| page.fault(1, format!("has other headings than {id}, {}", PARTS.join(", "))))
}

/// Names of the findings, as JSON has them: the variants of `FindingId`.
fn ids(source: &str) -> Result<BTreeSet<String>> {
    let (_, list) =
        source.split_once("pub enum FindingId {").with_context(|| format!("no FindingId in {SOURCE}"))?;
    let (list, _) = list.split_once('}').context("FindingId does not end")?;
    let variants = list.lines().filter_map(|line| line.trim().strip_suffix(','));
    let variants = variants.filter(|name| name.chars().all(char::is_alphanumeric));
    let ids: BTreeSet<String> = variants.map(kebab).collect();
    ensure!(!ids.is_empty(), "FindingId in {SOURCE} has no variant in a line of its own");
    Ok(ids)
}

/// `FirstNameserverDead` as `first-nameserver-dead`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(c.to_lowercase());
    }
    kebab
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_variants() {
        let source = "/// Which.\n#[x]\npub enum FindingId {\n    /// One, two,\n    FirstDead,\n    Twist,\n}\nenum Other { Not }\n";
        assert_eq!(ids(source).unwrap().into_iter().collect::<Vec<_>>(), ["first-dead", "twist"]);
        ids("nothing").unwrap_err();
    }

    #[test]
    fn a_page_has_its_parts() {
        let whole = "# twist\n\n## Cause\n\n## Proof\n\n## Change\n\n## How to verify\n";
        let page = |text: &str| Page::new("docs/findings/twist.md", text.to_owned());
        assert_eq!(without_parts(&page(whole), "twist"), None);
        assert!(without_parts(&page(whole), "other").is_some());
        assert!(without_parts(&page(&whole.replace("## Proof\n", "")), "twist").is_some());
    }

    #[test]
    fn a_missing_page_and_one_too_many_are_named() {
        let root = crate::workspace::root().unwrap();
        let pages = [Page::new(INDEX, String::new()), Page::new("docs/findings/made-up.md", String::new())];
        let faults = faults(&pages, root).unwrap();
        for wanted in [
            "docs/findings/twist.md: missing: the page of the finding twist",
            "docs/findings.md:1: does not link to docs/findings/twist.md",
            "docs/findings/made-up.md:1: there is no such finding",
        ] {
            assert!(faults.iter().any(|fault| fault == wanted), "{wanted}: {faults:#?}");
        }
    }
}
