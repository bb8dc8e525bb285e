//! Links between the documents, and from them into the sources.

use std::{fs, path::Path};

use super::{Page, has_extension};

/// Links that lead nowhere. Those to other sites are not followed: they depend on the day.
pub(super) fn faults(pages: &[Page], root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for page in pages {
        for link in &page.markdown.links {
            if let Some(what) = fault(page, &link.to, &link.text, pages, root) {
                faults.push(page.fault(link.line, what));
            }
        }
    }
    faults
}

fn fault(page: &Page, to: &str, text: &str, pages: &[Page], root: &Path) -> Option<String> {
    if is_elsewhere(to) {
        return None;
    }
    let Some(path) = target(&page.path, to) else {
        return Some(format!("{to} leads out of the repository"));
    };
    let file = root.join(&path);
    if !file.exists() && !pages.iter().any(|page| page.path == path) {
        return Some(format!("there is no {path}"));
    }
    if let Some((_, anchor)) = to.split_once('#') {
        let known = pages.iter().find(|page| page.path == path).map(|page| page.markdown.anchors());
        let known = known.is_some_and(|anchors| anchors.iter().any(|known| known == anchor));
        return (!known).then(|| format!("{path} has no heading #{anchor}"));
    }
    let name = identifier(text).filter(|_| has_extension(&path, "rs"))?;
    let source = fs::read_to_string(&file).unwrap_or_default();
    let mut words = source.split(|c: char| !is_word(c));
    (!words.any(|word| word == name)).then(|| format!("{path} has no {name}"))
}

/// Whether it leads to another site.
pub(super) fn is_elsewhere(to: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|begin| to.starts_with(begin))
}

/// The path within the repository that a link of this page leads to; none where it leads out.
pub(super) fn target(page: &str, to: &str) -> Option<String> {
    if is_elsewhere(to) {
        return None;
    }
    let path = to.split('#').next().unwrap_or_default();
    if path.is_empty() {
        return Some(page.to_owned());
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

/// A link whose text is a name of the source that it leads to: `detectors()`, `records!`, `FindingId`.
fn identifier(text: &str) -> Option<&str> {
    let name = text.strip_suffix("()").or_else(|| text.strip_suffix('!')).unwrap_or(text);
    let is_marked = name.len() < text.len() || name.chars().any(|c| c.is_uppercase() || c == '_');
    (is_marked && name.chars().all(is_word)).then_some(name)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn of(text: &str) -> Vec<String> {
        let root = workspace::root().unwrap();
        let other = Page::new("docs/other.md", "# A heading\n".to_owned());
        faults(&[Page::new("docs/page.md", text.to_owned()), other], root)
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let text = "# Here\n[a](other.md) [b](other.md#a-heading) [c](#here) [d](../xtask/src/main.rs) [e](https://example.org/) \
                    [`main()`](../xtask/src/main.rs) [f](../tests/mutants)";
        assert_eq!(of(text), Vec::<String>::new());
    }

    #[test]
    fn each_that_leads_nowhere_is_named() {
        let text = "[a](gone.md)\n[b](other.md#gone)\n[c](#gone)\n[d](../../out.md)\n[`gone()`](../xtask/src/main.rs)\n";
        let wanted = [
            "docs/page.md:1: there is no docs/gone.md",
            "docs/page.md:2: docs/other.md has no heading #gone",
            "docs/page.md:3: docs/page.md has no heading #gone",
            "docs/page.md:4: ../../out.md leads out of the repository",
            "docs/page.md:5: xtask/src/main.rs has no gone",
        ];
        assert_eq!(of(text), wanted);
    }
}
