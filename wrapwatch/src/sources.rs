//! Which file names what of which other one, read from the sources, from `lib.rs` or `main.rs` on; tests left out. For [`super::folders`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module's path: `["correlate", "parts"]`.
pub(super) type Module = Vec<String>;

/// A module that is a file.
#[derive(Default)]
pub(super) struct Source {
    /// Modules declared in it.
    children: BTreeSet<String>,
    /// What `use` calls by which name.
    bound: BTreeMap<String, Module>,
    /// All that it names, as it is written.
    named: BTreeSet<Module>,
}

/// All files of a crate.
pub(super) type Sources = BTreeMap<Module, Source>;

/// Who names what of whom.
pub(super) type Arrows = BTreeMap<Module, BTreeMap<Module, BTreeSet<String>>>;

/// A crate's sources, but those of tests.
pub(super) fn read(root: &Path) -> Sources {
    let mut sources = Sources::new();
    let mut open: Vec<(Module, PathBuf)> = vec![(Vec::new(), root.to_owned())];
    while let Some((module, path)) = open.pop() {
        let source = Source::read(&fs::read_to_string(&path).unwrap());
        let is_folder = module.is_empty() || path.ends_with("mod.rs");
        let dir = if is_folder { path.parent().unwrap().to_owned() } else { path.with_extension("") };
        for child in &source.children {
            let candidates = [dir.join(format!("{child}.rs")), dir.join(child).join("mod.rs")];
            // With a path of its own it is of no crate, and names nothing here.
            if let Some(path) = candidates.into_iter().find(|path| path.exists()) {
                open.push((module.iter().cloned().chain([child.clone()]).collect(), path));
            }
        }
        sources.insert(module, source);
    }
    sources
}

impl Source {
    fn read(text: &str) -> Self {
        let tokens = without_tests(&tokens(text));
        let mut source = Self::default();
        let mut at = 0;
        while at < tokens.len() {
            let begins = at == 0 || !matches!(&*tokens[at - 1], "::" | "." | "+");
            match &*tokens[at] {
                "mod" if tokens.get(at + 2).is_some_and(|token| token == ";") => {
                    source.children.insert(tokens[at + 1].clone());
                    at += 3;
                }
                "use" if begins => at = source.take_use(&tokens, at + 1, &[]),
                _ if begins && tokens.get(at + 1).is_some_and(|token| token == "::") => {
                    let mut path = vec![tokens[at].clone()];
                    at += 1;
                    while tokens.get(at).is_some_and(|token| token == "::")
                        && tokens.get(at + 1).is_some_and(|token| is_word(token))
                    {
                        path.push(tokens[at + 1].clone());
                        at += 2;
                    }
                    source.named.insert(path);
                }
                _ => at += 1,
            }
        }
        source
    }

    /// One tree of a `use`, from `at` on; where it ends.
    fn take_use(&mut self, tokens: &[String], mut at: usize, before: &[String]) -> usize {
        let mut path = before.to_vec();
        let mut name = None;
        while let Some(token) = tokens.get(at) {
            match &**token {
                "{" => {
                    at += 1;
                    while tokens.get(at).is_some_and(|token| token != "}") {
                        at = self.take_use(tokens, at, &path);
                        at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                    }
                    return at + 1;
                }
                "as" => {
                    name = tokens.get(at + 1).cloned();
                    at += 1;
                }
                "self" if !path.is_empty() => {}
                word if is_word(word) => path.push(word.to_owned()),
                "::" | "*" => {}
                _ => break,
            }
            at += 1;
        }
        if let Some(name) = name.or_else(|| path.last().cloned()) {
            self.bound.insert(name, path.clone());
        }
        self.named.insert(path);
        at
    }
}

fn is_word(token: &str) -> bool {
    token.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Words, `::` and single characters; comments and what stands in quotes left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            quoted(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            rest[hashes + 2..].find(&end).map_or(rest.len(), |at| hashes + 2 + at + end.len())
        } else if c == '\'' {
            // A character, or a lifetime.
            let mut chars = rest.char_indices().skip(2);
            match (rest.chars().nth(1), chars.next()) {
                (Some('\\'), _) => rest[3..].find('\'').map_or(rest.len(), |at| at + 4),
                (_, Some((at, '\''))) => at + 1,
                _ => 1,
            }
        } else {
            let word: usize =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum();
            let len = if rest.starts_with("::") { 2 } else { word.max(c.len_utf8()) };
            if !c.is_whitespace() {
                tokens.push(rest[..len].to_owned());
            }
            len
        };
        rest = &rest[len..];
    }
    tokens
}

/// How long the string is that begins here.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Without the items that stand behind `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if tokens[at..].iter().take(TEST.len()).eq(TEST) {
            at = item_end(tokens, at + TEST.len());
        } else {
            kept.push(token.clone());
            at += 1;
        }
    }
    kept
}

/// Where an item ends: with its `;`, or with its braces.
fn item_end(tokens: &[String], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match &**token {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let next_is = |wanted: &str| tokens.get(at).is_some_and(|next| next == wanted);
        if depth == 0 && (token == ";" || (token == "}" && !next_is(";"))) {
            return at;
        }
    }
    at
}

/// A path as seen from the crate: `super::b` in `["a", "c"]` is `a::b`. None where it begins with neither `crate`, `self` nor `super`.
fn absolute(module: &Module, path: &[String]) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    let mut at = match &**first {
        "crate" => Vec::new(),
        "self" => module.clone(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    for word in rest {
        if word == "super" {
            at.pop()?;
        } else {
            at.push(word.clone());
        }
    }
    Some(at)
}

/// The file in which a path ends that is written in `module`; none for what is no file of this crate. What a file only hands on (`use`) is where that comes from.
fn resolve(sources: &Sources, module: &Module, path: &[String], depth: usize) -> Option<Module> {
    let source = sources.get(module)?;
    let (first, rest) = path.split_first()?;
    if source.children.contains(first) {
        return descend(sources, module.clone(), path, depth);
    }
    if let Some(path) = absolute(module, path) {
        return descend(sources, Module::new(), &path, depth);
    }
    let bound = source.bound.get(first).filter(|bound| bound.first() != Some(first) && depth < DEEP)?;
    resolve(sources, module, &[bound, rest].concat(), depth + 1)
}

/// How many times a name may be handed on.
const DEEP: usize = 9;

/// The same of a path that begins in `at`.
fn descend(sources: &Sources, mut at: Module, path: &[String], depth: usize) -> Option<Module> {
    for (n, word) in path.iter().enumerate() {
        let source = sources.get(&at)?;
        if source.children.contains(word) {
            at.push(word.clone());
        } else if source.bound.contains_key(word) && depth < DEEP {
            return resolve(sources, &at, &path[n..], depth + 1);
        } else {
            break;
        }
    }
    sources.contains_key(&at).then_some(at)
}

/// Which file names what of which other one. What a folder's files name of its `mod.rs` is left out: that is what they have in common.
pub(super) fn arrows(sources: &Sources) -> Arrows {
    let mut arrows = Arrows::new();
    for (module, source) in sources {
        let of = arrows.entry(module.clone()).or_default();
        for path in &source.named {
            if let Some(to) = resolve(sources, module, path, 0).filter(|to| !module.starts_with(to)) {
                of.entry(to).or_default().insert(path.last().cloned().unwrap_or_default());
            }
        }
    }
    arrows
}

/// Which folder, the first word of a path, names which others.
pub(super) fn folders(sources: &Sources) -> BTreeMap<String, BTreeSet<String>> {
    let mut folders = BTreeMap::<String, BTreeSet<String>>::new();
    let all: BTreeSet<&String> = sources.keys().filter_map(|module| module.first()).collect();
    for (module, source) in sources {
        let Some(folder) = module.first() else { continue };
        let named = source.named.iter().filter_map(|path| absolute(module, path)?.first().cloned());
        let named = named.filter(|name| name != folder && all.contains(name));
        folders.entry(folder.clone()).or_default().extend(named);
    }
    folders
}

#[test]
fn names_are_read_as_they_are_written() {
    let source = Source::read(
        "mod own; use crate::{a::{self, B as C}, d}; // crate::no\n#[cfg(test)] mod tests;\nuse super::e::*; fn x<'a>(y: &'a str) -> own::Z { \"crate::no\"; 'x'; C::f(); crate::h::<u8>(r#\"crate::no\"#) }\n#[cfg(test)]\nmod more { use crate::no; }\nuse self::own::W;",
    );
    let named: Vec<String> = source.named.iter().map(|path| path.join("::")).collect();
    let wanted =
        ["C::f", "crate::a", "crate::a::B", "crate::d", "crate::h", "own::Z", "self::own::W", "super::e"];
    assert_eq!(named, wanted);
    assert_eq!(source.children, ["own".to_owned()].into());
    assert_eq!(source.bound["C"], ["crate", "a", "B"]);
}

#[test]
fn a_name_that_is_handed_on_is_where_it_is_defined() {
    let module =
        |path: &str| path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect::<Module>();
    let texts = [
        ("", "mod a; mod b;"),
        ("a", "mod low; mod high; pub use low::Low; use std::fs;"),
        ("a::low", "use super::Common; use super::fs::File;"),
        ("a::high", "use super::low; use std::fs; fn x() { low::f(); fs::read() }"),
        ("b", "use crate::a::Low; fn y() { super::a::high::g() }"),
    ];
    let sources: Sources = texts.map(|(path, text)| (module(path), Source::read(text))).into();
    let arrows = arrows(&sources);
    let of = |from: &str| arrows[&module(from)].keys().map(|to| to.join("::")).collect::<Vec<_>>();
    assert_eq!(
        (of("b"), of("a::high")),
        (vec!["a::high".to_owned(), "a::low".to_owned()], vec!["a::low".to_owned()])
    );
    assert_eq!((of("a"), of("a::low")), (vec!["a::low".to_owned()], vec![]));
    assert_eq!(folders(&sources)["b"], ["a".to_owned()].into());
}
