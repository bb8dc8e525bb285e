//! Words that stand in no document, and in nothing that the command prints: the lists are the tables of docs/style.md and docs/glossary.md.
//!
//! Code in documents is left out: it is what programs print.

use anyhow::{Result, ensure};

use super::{Page, markdown::Passage, page, strings::Source};

/// Table of words to avoid: `not`, `but`.
const STYLE: &str = "docs/style.md";
/// Table of terms: `word`, `means`, `not`.
const GLOSSARY: &str = "docs/glossary.md";
/// Not written by hand: its words are those of the sources that it is made from.
const GENERATED: [&str; 1] = ["docs/lint-rules.md"];
/// Fewer would be a list that was not found.
const WORDS_MIN: usize = 10;

/// A word to avoid and what to write.
struct Word {
    not: String,
    but: String,
}

pub(super) fn faults(pages: &[Page], sources: &[Source]) -> Result<Vec<String>> {
    let mut words = column(page(pages, STYLE)?, ["not", "but"], (0, 1));
    ensure!(words.len() >= WORDS_MIN, "{STYLE} has no table of words: not, but");
    let terms = column(page(pages, GLOSSARY)?, ["word", "means", "not"], (2, 0));
    ensure!(terms.len() >= WORDS_MIN, "{GLOSSARY} has no table of terms: word, means, not");
    words.extend(terms);
    let is_checked = |page: &&Page| {
        let own = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
            .contains(&page.path.as_str());
        own || (page.path.starts_with("docs/") && !GENERATED.contains(&page.path.as_str()))
    };
    let documents = pages.iter().filter(is_checked).map(|page| (&page.path, &page.markdown.prose));
    let printed = sources.iter().map(|source| (&source.path, &source.strings));
    Ok(documents.chain(printed).flat_map(|(path, texts)| within(path, texts, &words)).collect())
}

/// The code of one column, each piece with the other column's text, of all tables with this head.
fn column<const N: usize>(page: &Page, head: [&str; N], (not, but): (usize, usize)) -> Vec<Word> {
    let mut words = Vec::new();
    for table in &page.markdown.tables {
        let Some((first, rows)) = table.split_first() else { continue };
        if !first.iter().map(|cell| cell.text.as_str()).eq(head) {
            continue;
        }
        for row in rows {
            let (Some(not), Some(but)) = (row.get(not), row.get(but)) else { continue };
            words
                .extend(not.code.iter().map(|code| Word { not: code.to_lowercase(), but: but.text.clone() }));
        }
    }
    words
}

fn within(path: &str, texts: &[Passage], words: &[Word]) -> Vec<String> {
    let mut faults = Vec::new();
    for passage in texts {
        let text = passage.text.to_lowercase();
        for word in words.iter().filter(|word| stands_in(&text, &word.not)) {
            faults.push(format!("{path}:{}: not \"{}\", but: {}", passage.line, word.not, word.but));
        }
    }
    faults
}

/// Whether the words stand there as words of their own.
fn stands_in(text: &str, words: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-';
    text.match_indices(words).any(|(at, found)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at.saturating_add(found.len())..).and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style() -> Page {
        let rows: String = (0..WORDS_MIN).map(|n| format!("| `bad{n}`, `is bad{n}` | good |\n")).collect();
        Page::new(STYLE, format!("| not | but |\n|---|---|\n{rows}"))
    }

    fn glossary() -> Page {
        let rows: String =
            (0..WORDS_MIN).map(|n| format!("| term{n} | a thing | `other name{n}` |\n")).collect();
        Page::new(GLOSSARY, format!("| word | means | not |\n|---|---|---|\n{rows}"))
    }

    #[test]
    fn words_and_second_names_are_found_in_prose_only() {
        let text =
            "Fine.\n\nBad1 over\nthere; an other\nname2. `bad3`, bad10, x-bad4\n\n```text\nbad5\n```\n";
        let pages = [Page::new("docs/a.md", text.to_owned()), style(), glossary()];
        let wanted = ["docs/a.md:3: not \"bad1\", but: good", "docs/a.md:3: not \"other name2\", but: term2"];
        assert_eq!(faults(&pages, &[]).unwrap(), wanted);
    }

    #[test]
    fn they_are_found_in_what_is_printed() {
        let strings = vec![Passage { line: 7, text: "what is bad5 at {}".to_owned() }];
        let source = Source { path: "src/a.rs".to_owned(), strings };
        let faults = faults(&[style(), glossary()], &[source]).unwrap();
        assert_eq!(faults, ["src/a.rs:7: not \"bad5\", but: good", "src/a.rs:7: not \"is bad5\", but: good"]);
    }

    #[test]
    fn a_list_that_is_gone_is_an_error() {
        let empty = Page::new(STYLE, "nothing\n".to_owned());
        faults(&[empty, glossary()], &[]).unwrap_err();
    }
}
