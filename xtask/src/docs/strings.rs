//! What the command prints, taken out of its sources: string literals, and the doc comments that clap prints as help and `wrapwatch schema` as descriptions.
//! Tests are left out.

use std::{iter::Peekable, path::Path, str::FromStr as _};

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree, token_stream};

use super::{files, has_extension, markdown::Passage, read};

const SOURCES: &str = "wrapwatch/src";
/// Folders whose doc comments are printed.
const PRINTED_COMMENTS: [&str; 2] = ["wrapwatch/src/cli/", "wrapwatch/src/model/"];

/// The strings of one source.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) strings: Vec<Passage>,
}

/// Those of all sources, by path.
pub(super) fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut paths = files(root, SOURCES)?;
    paths.retain(|path| {
        has_extension(path, "rs") && !path.contains("/tests/") && !path.ends_with("/tests.rs")
    });
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let comments = PRINTED_COMMENTS.iter().any(|folder| path.starts_with(folder));
            let strings = strings(&read(root, &path)?, comments)
                .map_err(|error| anyhow!("{path}: cannot be read as Rust: {error}"))?;
            Ok(Source { path, strings })
        })
        .collect()
}

/// String literals, with or without doc comments.
fn strings(source: &str, comments: bool) -> Result<Vec<Passage>, proc_macro2::LexError> {
    let mut found = Strings { comments, strings: Vec::new() };
    found.all(TokenStream::from_str(source)?);
    Ok(found.strings)
}

type Tokens = Peekable<token_stream::IntoIter>;

struct Strings {
    comments: bool,
    strings: Vec<Passage>,
}

impl Strings {
    fn all(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => self.attribute(&mut tokens),
                TokenTree::Group(group) => self.all(group.stream()),
                TokenTree::Literal(literal) => self.literal(&literal),
                TokenTree::Punct(_) | TokenTree::Ident(_) => {}
            }
        }
    }

    /// What follows a `#`: a doc comment is an attribute, too.
    fn attribute(&mut self, tokens: &mut Tokens) {
        // `#![…]`
        let _ = tokens.next_if(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == '!'));
        let is_attribute = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket);
        let Some(TokenTree::Group(group)) = tokens.next_if(is_attribute) else { return };
        let name = group.stream().into_iter().next().map(|token| token.to_string());
        match name.as_deref() {
            Some("doc") if !self.comments => {}
            // Reasons are for who reads the source.
            Some("allow" | "expect") => {}
            Some("cfg") if is_test(&group) => skip_item(tokens),
            _ => self.all(group.stream()),
        }
    }

    fn literal(&mut self, literal: &Literal) {
        let text = literal.to_string();
        if let Some((_, text)) = text.strip_prefix('r').unwrap_or(&text).split_once('"') {
            let text = unbroken(text.trim_end_matches('#').trim_end_matches('"'));
            self.strings.push(Passage { line: literal.span().start().line, text });
        }
    }
}

fn is_test(attribute: &Group) -> bool {
    attribute.to_string().replace(' ', "") == "[cfg(test)]"
}

/// Up to the end of an item.
fn skip_item(tokens: &mut Tokens) {
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(mark) if mark.as_char() == ';' => return,
            _ => {}
        }
    }
}

/// Without the line breaks of the source, which a backslash takes out of the string.
fn unbroken(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
//! Comment of the file.
/// Help.
#[arg(long, help_heading = "heading")]
#[expect(dead_code, reason = "reason")]
fn f() { say("broken \
         line", 'c', b"bytes", r"raw", 1, #[cfg(test)] { "in a test" }) }
#[cfg(test)]
mod tests { "in tests" }
const LAST: &str = "last";
"#;

    fn texts(comments: bool) -> Vec<(usize, String)> {
        let found = strings(SOURCE, comments).unwrap();
        found.into_iter().map(|passage| (passage.line, passage.text)).collect()
    }

    #[test]
    fn strings_are_found_outside_of_tests_and_comments_where_they_are_printed() {
        let of =
            |list: &[(usize, &str)]| list.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
        let printed: Vec<(usize, String)> =
            of(&[(4, "heading"), (6, "broken line"), (7, "bytes"), (7, "raw"), (10, "last")]);
        assert_eq!(texts(false), printed);
        let with_comments: Vec<(usize, String)> =
            [of(&[(2, " Comment of the file."), (3, " Help.")]), printed].concat();
        assert_eq!(texts(true), with_comments);
    }
}
