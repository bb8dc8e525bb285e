//! Names that a client may have as far as the rules are concerned, where nobody knows which it has: for each pattern by name one that matches it.
//!
//! Those of rules that this daemon cannot reach are left out: there may be thousands, and none of them matters.

use super::classify::{ClientWord, Kind, client_words, kind, option_as_client};
use super::environment::FileText;
use super::input::Input;
use super::options::lossy;
use super::problems::may_concern;
use super::table::{Entry, EntryKind, Table, TableKind};

/// More names than this are not tried.
const AT_MOST: usize = 64;

/// What clients may be called, for all clients of an input.
#[derive(Debug)]
pub(super) struct Candidates {
    /// Each pattern with a name that matches it, the first [`AT_MOST`].
    pub(super) names: Vec<(String, String)>,
    /// There are more patterns.
    pub(super) are_cut: bool,
    /// A rule combines names with each other by EXCEPT: one name for each pattern then does not try everything.
    pub(super) are_combined: bool,
}

impl Candidates {
    pub(super) fn of(input: &Input<'_>) -> Self {
        let mut names = collect(input);
        let are_cut = names.len() > AT_MOST;
        names.truncate(AT_MOST);
        Self { names, are_cut, are_combined: are_combined(input) }
    }
}

fn are_combined(input: &Input<'_>) -> bool {
    let by_name = |word: &ClientWord<'_>| may_match_names(word.kind) || word.kind == Kind::File;
    rules(input).any(|(table, entry)| {
        let mut depths = client_words(table.clients(&entry)).filter(by_name).map(|word| word.depth);
        let first = depths.next();
        depths.any(|depth| Some(depth) != first)
    })
}

/// Whether a client's name may be what matches: an address with stars is compared with names too.
const fn may_match_names(kind: Kind) -> bool {
    matches!(kind, Kind::Name | Kind::AddressGlob)
}

/// At most one more than [`AT_MOST`].
fn collect(input: &Input<'_>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut files = false;
    for (table, entry) in rules(input) {
        for word in client_words(table.clients(&entry)) {
            files |= word.kind == Kind::File;
            if may_match_names(word.kind) {
                add(word.host, &mut out);
            }
        }
    }
    // Which file is read within which does not matter: too many names are tried rather than too few.
    let texts = input.files.values().filter(|_| files).filter_map(|file| match file {
        FileText::Text(text) => Some(text),
        FileText::Missing | FileText::Unreadable(_) | FileText::Elsewhere | FileText::NotKnown(_) => None,
    });
    for word in texts.flat_map(|text| text.split(u8::is_ascii_whitespace)) {
        if out.len() > AT_MOST {
            break;
        }
        if may_match_names(kind(word)) {
            add(word, &mut out);
        }
    }
    out
}

/// Rules that the daemon may reach. The words of an option in the place of the clients are nobody's name.
fn rules<'a>(input: &Input<'a>) -> impl Iterator<Item = (&'a Table, Entry)> {
    let (tables, daemon, port) = (input.tables, input.daemon, input.server.port);
    [TableKind::Allow, TableKind::Deny].into_iter().flat_map(move |kind| {
        let table = tables.get(kind);
        table
            .entries()
            .filter(move |entry| {
                entry.kind == EntryKind::Rule
                    && option_as_client(table.clients(entry)).is_none()
                    && may_concern(table.daemons(entry), daemon, port)
            })
            .map(move |entry| (table, entry))
    })
}

fn add(host: &[u8], out: &mut Vec<(String, String)>) {
    let pattern = lossy(host);
    let example = match pattern.as_str() {
        "" => return,
        known if known.eq_ignore_ascii_case("KNOWN") => return,
        local if local.eq_ignore_ascii_case("LOCAL") => "local-name-in-no-rule".to_owned(),
        domain if domain.starts_with('.') => format!("x{domain}"),
        name => name.replace(['*', '?'], "x"),
    };
    if out.len() <= AT_MOST && !out.iter().any(|(seen, _)| *seen == pattern) {
        out.push((pattern, example));
    }
}
