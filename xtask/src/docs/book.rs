//! The book: the pages laid out as they lie in the repository, and mdBook's HTML of them, whose links are followed once more.
//!
//! mdBook takes one folder; the pages lie in two, and link to sources. So what the book needs is copied below `target/book` first: the pages, and the
//! files that they link to. Of a link to a folder, or to a page that is not in the book, the text stays.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{Page, SUMMARY, files, has_extension, links, page};
use crate::{audit, process::run, workspace};

const MDBOOK: &str = "0.5.4";
/// Settings of the book; it says where mdBook finds the rest.
const SETTINGS: &str = "docs/book.toml";

/// Makes the book and says where its first page is.
pub(super) fn make(pages: &[Page]) -> Result<PathBuf> {
    audit::ensure("mdbook", MDBOOK, Command::new("mdbook").arg("--version"))?;
    let (root, dir) = (workspace::root()?, workspace::target_dir()?.join("book"));
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    lay_out(pages, root, &dir)?;
    run(Command::new("mdbook").arg("build").arg(&dir).stdout(std::io::stderr()))?;
    let html = dir.join("html");
    let faults = dead_links(&html)?;
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        bail!("dead links in the book: {}", faults.len());
    }
    Ok(html.join("index.html"))
}

/// Copies what the book is made of.
fn lay_out(pages: &[Page], root: &Path, dir: &Path) -> Result<()> {
    put(
        &fs::read_to_string(root.join(SETTINGS)).with_context(|| format!("cannot read {SETTINGS}"))?,
        &dir.join("book.toml"),
    )?;
    let src = dir.join("src");
    put(contents(page(pages, SUMMARY)?), &src.join("SUMMARY.md"))?;
    let mut others = BTreeSet::new();
    for page in pages.iter().filter(|page| page.path != SUMMARY) {
        put(within_the_book(page, pages, root), &src.join(&page.path))?;
        others.extend(page.markdown.links.iter().filter_map(|link| links::target(&page.path, &link.to)));
    }
    for path in others.iter().filter(|path| !has_extension(path, "md") && root.join(path).is_file()) {
        let text = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        put(text, &src.join(path))?;
    }
    Ok(())
}

fn put(text: impl AsRef<[u8]>, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file at the root")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

/// The table of contents, whose links begin at the top of the repository here.
fn contents(summary: &Page) -> String {
    rewritten(summary, |link, text| Some(format!("[{text}]({})", links::target(SUMMARY, link)?)))
}

/// The page without links to what is no part of the book: folders and other pages.
fn within_the_book(page: &Page, pages: &[Page], root: &Path) -> String {
    rewritten(page, |link, text| {
        let path = links::target(&page.path, link)?;
        let is_in_the_book = path != SUMMARY && pages.iter().any(|page| page.path == path);
        let is_other_page = has_extension(&path, "md") && !is_in_the_book;
        (is_other_page || root.join(path).is_dir()).then(|| text.to_owned())
    })
}

/// The page with some links written otherwise; `new` has what a link leads to and its text as it is written.
fn rewritten(page: &Page, new: impl Fn(&str, &str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut done = 0;
    for link in &page.markdown.links {
        let source = page.text.get(link.span.clone()).unwrap_or_default();
        let label = source.strip_prefix('[').and_then(|rest| rest.rsplit_once("](")).map(|(label, _)| label);
        let Some(new) = label.and_then(|label| new(&link.to, label)) else { continue };
        text.push_str(page.text.get(done..link.span.start).unwrap_or_default());
        text.push_str(&new);
        done = link.span.end;
    }
    text.push_str(page.text.get(done..).unwrap_or_default());
    text
}

/// Links of the HTML to files that are not there.
fn dead_links(html: &Path) -> Result<Vec<String>> {
    let (folder, name) = (html.parent().context("no folder")?, html.file_name().context("no name")?);
    let name = name.to_string_lossy();
    let mut faults = Vec::new();
    // Both are other pages at another place.
    let is_page = |path: &&String| {
        has_extension(path, "html") && !path.ends_with("/404.html") && !path.ends_with("/print.html")
    };
    for path in files(folder, &name)?.iter().filter(is_page) {
        let text = fs::read_to_string(folder.join(path)).with_context(|| format!("cannot read {path}"))?;
        for to in ["href=\"", "src=\""].iter().flat_map(|begin| values(&text, begin)) {
            let is_file = !links::is_elsewhere(to) && !to.starts_with('#') && !to.starts_with("data:");
            let there = links::target(path, to).is_some_and(|target| folder.join(target).is_file());
            if is_file && !there {
                faults.push(format!("{path}: no {to}"));
            }
        }
    }
    Ok(faults)
}

fn values<'a>(text: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_contents_begins_at_the_top() {
        let summary =
            Page::new(SUMMARY, "# Summary\n\n[Read me](../README.md)\n\n- [`a`](a.md)\n".to_owned());
        assert_eq!(contents(&summary), "# Summary\n\n[Read me](README.md)\n\n- [`a`](docs/a.md)\n");
    }

    #[test]
    fn of_a_link_to_what_is_not_in_the_book_the_text_stays() {
        let text = "See [`xtask`](../xtask), [main](../xtask/src/main.rs), [a](a.md), [data](../tests/data/README.md).\n";
        let pages = [Page::new("docs/a.md", text.to_owned())];
        let root = workspace::root().unwrap();
        let wanted = "See `xtask`, [main](../xtask/src/main.rs), [a](a.md), data.\n";
        assert_eq!(within_the_book(&pages[0], &pages, root), wanted);
    }

    #[test]
    fn a_dead_link_of_the_html_is_named() {
        let dir = std::env::temp_dir().join(format!("wrapwatch-book-{}", std::process::id()));
        let html = dir.join("html");
        let text = r##"<a href="docs/b.html#x"></a><a href="#y"></a><a href="https://example.org/"></a><img src="gone.png">"##;
        put(text, &html.join("a.html")).unwrap();
        put(r#"<a href="../a.html"></a><a href="../gone.html"></a>"#, &html.join("docs/b.html")).unwrap();
        let mut faults = dead_links(&html).unwrap();
        faults.sort();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(faults, ["html/a.html: no gone.png", "html/docs/b.html: no ../gone.html"]);
    }
}
