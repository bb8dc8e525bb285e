//! The words of a client list that libwrap gets to, those of files that it names among them: what a rule's lookups depend on.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::{Rule, Scene};
use crate::wrappers::classify::{ClientWord, Kind, client_words, kind};
use crate::wrappers::environment::FileText;
use crate::wrappers::options::lossy;

/// A word, and the file that has it where it is not in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The word; of a file's it is as if it stood in the rule.
    pub word: ClientWord<'a>,
    /// The file.
    pub file: Option<&'a str>,
}

impl Asked<'_> {
    /// For a person.
    pub(super) fn text(&self) -> String {
        match self.file {
            Some(file) => format!("{} in {file}", lossy(self.word.word)),
            None => lossy(self.word.word),
        }
    }
}

/// The first word that goes by names, the first other one that may need a name, and the first that never does, each with the file that has it.
type Firsts<'a> = [Option<(&'a str, &'a [u8])>; 3];

/// Which of [`Firsts`] a word may be.
fn slot(word: &[u8]) -> usize {
    match kind(word) {
        kind if kind.is_by_name() => 0,
        kind if kind.may_look_up() => 1,
        _ => 2,
    }
}

/// What is in the files that rules name: of each the first word of each sort, looked for also in the files that it names. More of them would say
/// the same, and a file may have a hundred thousand.
#[derive(Debug)]
pub(super) struct NamedFiles<'a> {
    firsts: BTreeMap<&'a str, Firsts<'a>>,
    /// Files of which nothing is known.
    unknown: HashSet<&'a str>,
}

impl<'a> NamedFiles<'a> {
    pub(super) fn of(scene: &Scene<'a>) -> Self {
        let mut own = BTreeMap::new();
        let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut unknown = HashSet::new();
        for (path, text) in scene.files {
            let path = path.as_str();
            let mut firsts: Firsts<'_> = [None; 3];
            match text {
                FileText::Text(text) => {
                    let mut seen = HashSet::new();
                    for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
                        if kind(word) == Kind::File {
                            let key = scene.files.get_key_value(lossy(word).as_str());
                            named
                                .entry(path)
                                .or_default()
                                .extend(key.map(|(key, _)| key.as_str()).filter(|key| seen.insert(*key)));
                        } else {
                            firsts[slot(word)].get_or_insert((path, word));
                        }
                    }
                }
                // libwrap goes on as if they were empty.
                FileText::Missing | FileText::Unreadable(_) => {}
                FileText::Elsewhere | FileText::NotKnown(_) => drop(unknown.insert(path)),
            }
            own.insert(path, firsts);
        }
        let firsts = own.keys().map(|&path| (path, reachable(path, &own, &named))).collect();
        Self { firsts, unknown }
    }

    /// The words of a rule's client list that libwrap looks at: behind ALL nothing is, up to the next EXCEPT.
    pub(super) fn asked_words(&self, rule: Rule<'a>) -> Vec<Asked<'a>> {
        let mut out = Vec::new();
        let mut done = None;
        for word in client_words(rule.clients()) {
            if done == Some(word.depth) {
                continue;
            }
            if word.kind == Kind::All && word.user.is_none() {
                done = Some(word.depth);
            }
            let path = std::str::from_utf8(word.host)
                .ok()
                .filter(|path| word.kind == Kind::File && !self.unknown.contains(path));
            match path.and_then(|path| self.firsts.get(path)) {
                Some(firsts) => out.extend(firsts.iter().flatten().map(|&(file, host)| Asked {
                    word: ClientWord { word: host, host, kind: kind(host), ..word },
                    file: Some(file),
                })),
                None => out.push(Asked { word, file: None }),
            }
        }
        out
    }

    /// Whether a rule may need the client's name.
    pub(super) fn looks_up(&self, rule: Rule<'a>) -> bool {
        self.asked_words(rule).iter().any(|asked| asked.word.kind.may_look_up())
    }
}

/// A file's first words, or those of the nearest file behind it that has some.
fn reachable<'a>(
    from: &'a str,
    own: &BTreeMap<&'a str, Firsts<'a>>,
    named: &BTreeMap<&'a str, Vec<&'a str>>,
) -> Firsts<'a> {
    let mut found: Firsts<'a> = [None; 3];
    let mut seen = HashSet::from([from]);
    let mut next = VecDeque::from([from]);
    while let Some(path) = next.pop_front() {
        for (found, own) in found.iter_mut().zip(own.get(path).into_iter().flatten()) {
            *found = found.or(*own);
        }
        next.extend(named.get(path).into_iter().flatten().filter(|path| seen.insert(**path)));
    }
    found
}
