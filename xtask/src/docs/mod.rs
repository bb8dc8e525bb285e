//! `cargo xtask docs`: checks what people read, and makes a book of it.
//!
//! Checked are links and their anchors, words that docs/style.md and docs/glossary.md rule out (also in what the command prints), that each finding has its page, and that the book's
//! table of contents names each page once. That is a part of `cargo xtask lint`, and needs nothing but the files. The book takes mdBook.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{cli, workspace};

pub(crate) mod api;
mod book;
pub(crate) mod commands;
mod findings;
mod links;
mod markdown;
mod picture;
mod strings;
mod words;

use markdown::Markdown;

/// Pages outside of `docs/`. They are in the book, too.
const ROOT_PAGES: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
/// The book's table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";

/// A document, by its path within the repository.
struct Page {
    path: String,
    text: String,
    markdown: Markdown,
}

impl Page {
    fn new(path: &str, text: String) -> Self {
        Self { path: path.to_owned(), markdown: Markdown::read(&text), text }
    }

    /// What is wrong with a line of it, for a person and for an editor.
    fn fault(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// The command.
pub(crate) fn run(options: &cli::Docs) -> Result<()> {
    if options.picture {
        println!("{}", picture::make()?.display());
        return Ok(());
    }
    if options.api {
        println!("{}", api::make()?.display());
        return Ok(());
    }
    let pages = checked()?;
    if options.check {
        eprintln!("{} documents, nothing to object to", pages.len());
        return Ok(());
    }
    println!("{}", book::make(&pages)?.display());
    Ok(())
}

/// The lint.
pub(crate) fn check() -> Result<()> {
    checked().map(drop)
}

fn checked() -> Result<Vec<Page>> {
    let root = workspace::root()?;
    let pages = pages(root)?;
    let mut faults = links::faults(&pages, root);
    faults.extend(words::faults(&pages, &strings::sources(root)?)?);
    faults.extend(findings::faults(&pages, root)?);
    faults.extend(not_in_the_book(&pages)?);
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        bail!("faults in the documents: {}", faults.len());
    }
    Ok(pages)
}

/// All documents, by path.
fn pages(root: &Path) -> Result<Vec<Page>> {
    let mut paths: Vec<String> = ROOT_PAGES.map(str::to_owned).into();
    paths.extend(files(root, "docs")?.into_iter().filter(|path| has_extension(path, "md")));
    paths.sort();
    paths.iter().map(|path| Ok(Page::new(path, read(root, path)?))).collect()
}

fn read(root: &Path, path: &str) -> Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
}

/// Every file below a folder of the repository.
fn files(root: &Path, folder: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("cannot list {folder}"))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            found.extend(files(root, &path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|it| it == extension)
}

fn page<'a>(pages: &'a [Page], path: &str) -> Result<&'a Page> {
    pages.iter().find(|page| page.path == path).with_context(|| format!("there is no {path}"))
}

/// Pages that the table of contents does not name, or names twice.
fn not_in_the_book(pages: &[Page]) -> Result<Vec<String>> {
    let summary = page(pages, SUMMARY)?;
    let named: Vec<String> =
        summary.markdown.links.iter().filter_map(|link| links::target(SUMMARY, &link.to)).collect();
    let times = |page: &Page| named.iter().filter(|path| **path == page.path).count();
    let others = pages.iter().filter(|page| page.path != SUMMARY);
    Ok(others
        .map(|page| (page, times(page)))
        .filter(|(_, times)| *times != 1)
        .map(|(page, times)| summary.fault(1, format!("names {} {times} times, not once", page.path)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_the_book_lacks_or_has_twice_is_named() {
        let summary = Page::new(SUMMARY, "[a](a.md)\n[b](b.md)\n[again](b.md#x)\n".to_owned());
        let other = |name: &str| Page::new(&format!("docs/{name}.md"), String::new());
        let faults = not_in_the_book(&[summary, other("a"), other("b"), other("c")]).unwrap();
        let wanted = [
            "docs/SUMMARY.md:1: names docs/b.md 2 times, not once",
            "docs/SUMMARY.md:1: names docs/c.md 0 times, not once",
        ];
        assert_eq!(faults, wanted);
    }

    #[test]
    fn the_documents_of_this_repository_hold() {
        check().unwrap();
    }
}
