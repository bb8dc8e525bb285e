//! Patterns that cannot match, cost a lookup they need not, or go by names.

use std::collections::{HashMap, HashSet};

use super::options::ident;
use super::{Finding, Problem, ProblemKind as Kind, Rule, Scene, Severity, split_at, words};
use crate::wrappers::classify::{self, ClientWord, client_words, hopeless, trailing_dot, without_lookup};
use crate::wrappers::environment::FileText;
use crate::wrappers::options::lossy;

pub(super) fn find(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    for rule in scene.rules() {
        for word in client_words(rule.clients()) {
            clients(scene, rule, word, out);
        }
        if let Some(taker) = takes_back(rule.clients()) {
            let message = format!("Matches nobody: EXCEPT {taker} excludes everybody who stands before it.");
            let finding = Finding::new(Kind::NeverMatches, Severity::Warning, message);
            out.push(
                scene.at(rule, finding.change(format!("Remove the rule, or write without EXCEPT {taker}."))),
            );
        }
        for word in words(rule.daemons()) {
            let host = word.get(1..).and_then(|rest| split_at(rest, b'@')).and_then(|at| word.get(at + 2..));
            if host.is_some_and(|host| classify::kind(host).may_look_up()) {
                let message = format!("{}: the server's own name is looked up for each client.", lossy(word));
                let finding = Finding::new(Kind::ServerName, Severity::Warning, message);
                out.push(scene.at(rule, finding.change("Name the server's address behind the @.")));
            }
        }
    }
}

/// The word behind EXCEPT that takes out all those before it, where one surely does and nothing gives some of them back.
fn takes_back(list: &[u8]) -> Option<String> {
    let words: Vec<ClientWord<'_>> = client_words(list).collect();
    if words.iter().any(|word| word.depth > 1) || !words.iter().any(|word| word.depth == 0) {
        return None;
    }
    let takes = |taker: &&ClientWord<'_>| {
        taker.depth == 1
            && taker.user.is_none()
            && words.iter().filter(|word| word.depth == 0).all(|word| covers(taker, word))
    };
    words.iter().find(takes).map(|word| lossy(word.word))
}

/// Whether a word matches whoever another one does: ALL, the same, or the beginning of the same address.
fn covers(taker: &ClientWord<'_>, word: &ClientWord<'_>) -> bool {
    let begins = taker.kind == classify::Kind::Address
        && word.kind == classify::Kind::Address
        && taker.host.ends_with(b".")
        && word.host.first().is_some_and(u8::is_ascii_digit)
        && !word.host.contains(&b'/')
        && word.host.starts_with(taker.host);
    taker.kind == classify::Kind::All || taker.host.eq_ignore_ascii_case(word.host) || begins
}

/// Where nobody can know what was meant.
const WHAT_THERE_IS: &str = "Write an address (10.0.2.14), a beginning that ends in a dot (10.0.2.), a net (10.0.2.0/24, [2001:db8::]/64), a name or .domain.";

fn clients(scene: &Scene<'_>, rule: Rule<'_>, word: ClientWord<'_>, out: &mut Vec<Problem>) {
    let text = lossy(word.host);
    let mut push = |finding| out.push(scene.at(rule, finding));
    if let Some(hopeless) = hopeless(word.host) {
        let message = format!("{} matches no client: {}.", lossy(word.word), hopeless.why);
        let finding = Finding::new(Kind::NeverMatches, Severity::Warning, message);
        // Behind bob@ nobody stands: bob from anywhere.
        let user = word.user.filter(|_| word.host.is_empty()).map(|user| format!("{}@ALL", lossy(user)));
        push(match hopeless.instead.or(user) {
            // A beginning of an address ends in a dot itself.
            Some(instead) => {
                finding.change(format!("Write {}.", instead.strip_suffix('.').unwrap_or(&instead)))
            }
            None => finding.change(WHAT_THERE_IS),
        });
    } else if let Some(name) = trailing_dot(word.host) {
        let message = format!(
            "{} matches only clients whose name begins so, {text}example for instance: names are compared without a dot at their end.",
            lossy(word.word)
        );
        push(Finding::new(Kind::NeverMatches, Severity::Warning, message).change(format!("Write {name}.")));
    } else {
        match word.kind {
            classify::Kind::AddressGlob => {
                let message = format!(
                    "{text} looks up the name of every client whose address it does not match; it also matches a client whose name begins so."
                );
                let finding = Finding::new(Kind::AddressWildcard, Severity::Warning, message);
                let instead =
                    without_lookup(word.host).map(|instead| format!("Write {instead}, which never does."));
                push(finding.change(instead.unwrap_or_else(|| "Write a net: n.n.n.n/bits.".to_owned())));
            }
            classify::Kind::BareV6 => {
                let message = format!("{text} looks up the name of every client it does not match.");
                let finding = Finding::new(Kind::BareIpv6, Severity::Warning, message);
                push(finding.change(format!("Write {text}/128, which never does.")));
            }
            classify::Kind::Netgroup => {
                let message = format!(
                    "{text}: for each client that gets this far the name is looked up, and then the netgroup."
                );
                push(Finding::new(Kind::Netgroup, Severity::Info, message).change("List the addresses."));
            }
            classify::Kind::File => file(scene, &text, &mut push),
            classify::Kind::All
            | classify::Kind::Address
            | classify::Kind::Name
            | classify::Kind::Failure => {}
        }
    }
    if word.user.is_some() {
        push(ident(scene, &format!("when {text} matches"), None));
    }
}

/// What is wrong with a file that a rule names, and with those that it names: each that leads nowhere, and each that is read within itself. The
/// way down is kept, as libwrap keeps its open files.
fn file(scene: &Scene<'_>, path: &str, push: &mut dyn FnMut(Finding)) {
    // Of each file seen whether it is open now.
    let mut seen: HashMap<String, bool> = HashMap::from([(path.to_owned(), true)]);
    let mut told: HashSet<String> = HashSet::new();
    let mut open = Vec::new();
    open.extend(named_in(scene, path, None, push).map(|names| (path.to_owned(), names)));
    while let Some((at, names)) = open.last_mut() {
        let Some(name) = names.next() else {
            seen.insert(at.clone(), false);
            open.pop();
            continue;
        };
        match seen.get(&name) {
            Some(false) => {}
            Some(true) if told.contains(&name) => {}
            Some(true) => {
                push(circle(&name, at));
                told.insert(name);
            }
            None => {
                let names = named_in(scene, &name, Some(at), push);
                seen.insert(name.clone(), names.is_some());
                open.extend(names.map(|names| (name, names)));
            }
        }
    }
}

/// The files that a file names, one after another; none where it leads nowhere, which is told.
fn named_in<'a>(
    scene: &Scene<'a>,
    at: &str,
    by: Option<&str>,
    push: &mut dyn FnMut(Finding),
) -> Option<impl Iterator<Item = String> + use<'a>> {
    let whose = by.map_or_else(|| at.to_owned(), |by| format!("{at}, which {by} names,"));
    let wrong = match scene.files.get(at) {
        Some(FileText::Text(text)) => {
            let names = text.split(u8::is_ascii_whitespace).filter(|word| word.starts_with(b"/"));
            return Some(names.map(lossy));
        }
        Some(FileText::Elsewhere) => {
            let message = format!("{whose} is on the host: whom it matches is not known here.");
            Finding::new(Kind::FilePattern, Severity::Info, message)
                .change("Keep the file beside the tables.")
        }
        Some(FileText::NotKnown(why)) => {
            let message = format!("{whose} was not looked at ({why}): whom it matches is not known here.");
            Finding::new(Kind::FilePattern, Severity::Warning, message)
                .change("Give lint a file that it can read: a regular one, 1 MiB at most.")
        }
        Some(FileText::Unreadable(why)) => {
            nowhere(&format!("{whose} matches no client: the file cannot be read: {why}."))
        }
        Some(FileText::Missing) => nowhere(&format!("{whose} matches no client: there is no such file.")),
        None => nowhere(&format!("{whose} was not looked at: the rules name too many files.")),
    };
    push(wrong);
    None
}

/// A file that is named while it is being read.
fn circle(name: &str, at: &str) -> Finding {
    let way = if at == name { String::new() } else { format!(" by way of {at}") };
    let message = format!(
        "{name} names itself{way}: for each client that gets this far libwrap reads it within itself until the server has no descriptors left."
    );
    Finding::new(Kind::FilePattern, Severity::Warning, message)
        .change(format!("Remove the line {name} from {at}."))
}

fn nowhere(message: &str) -> Finding {
    Finding::new(Kind::FilePattern, Severity::Warning, message).change("Correct the path or the file.")
}
