//! Lines that libwrap reads otherwise than they look, or not at all.

use std::net::Ipv6Addr;

use super::{EntryKind, Finding, Problem, ProblemKind as Kind, Rule, Scene, Severity, TableKind, words};
use crate::wrappers::LINE_BUFFER;
use crate::wrappers::classify::option_as_client;
use crate::wrappers::options::lossy;

pub(super) fn find(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    for kind in [TableKind::Allow, TableKind::Deny] {
        table(scene, kind, out);
    }
    for rule in scene.entries() {
        let finding = match rule.entry.kind {
            EntryKind::Unreadable => Some(unreadable(scene, rule)),
            EntryKind::NoSeparator => Some(
                Finding::new(
                    Kind::NoSeparator,
                    Severity::Warning,
                    "No colon: libwrap logs the line and skips it.",
                )
                .change("Write daemons : clients, or begin the line with #."),
            ),
            EntryKind::Rule => comment(rule)
                .or_else(|| unbracketed(rule))
                .or_else(|| empty(rule))
                .or_else(|| no_clients(rule)),
        };
        out.extend(finding.map(|finding| scene.at(rule, finding)));
    }
}

fn table(scene: &Scene<'_>, kind: TableKind, out: &mut Vec<Problem>) {
    let file = scene.path(kind);
    if let Some(why) = scene.tables.get(kind).why_unreadable() {
        let (severity, then) = match kind {
            TableKind::Allow => (Severity::Critical, "libwrap goes on as if it were empty"),
            TableKind::Deny => {
                (Severity::Critical, "libwrap refuses everybody whom hosts.allow does not admit")
            }
        };
        let finding =
            Finding::new(Kind::TableUnreadable, severity, format!("Cannot be read ({why}): {then}."));
        out.push(scene.in_file(file, None, finding.change("Make it readable for the server, or remove it.")));
    }
    if is_utf_16(scene.texts[kind as usize]) {
        let message = "The file is UTF-16, as some editors of Windows write it: libwrap stops at its NUL bytes and understands no rule.";
        let finding = Finding::new(Kind::NulByte, Severity::Critical, message)
            .change("Save it as UTF-8 or ASCII: iconv -f UTF-16 -t UTF-8 FILE");
        return out.push(scene.in_file(file, Some(1), finding));
    }
    let nuls = scene.texts[kind as usize].split(|&byte| byte == b'\n').position(|line| line.contains(&0));
    if let Some(line) = nuls {
        let message = "A NUL byte: libwrap does not see the rest of the line and joins the next one to it.";
        let finding = Finding::new(Kind::NulByte, Severity::Warning, message).change("Remove the NUL bytes.");
        out.push(scene.in_file(file, u32::try_from(line + 1).ok(), finding));
    }
}

/// A table that has NULs and begins with a byte order mark of UTF-16, or of which every other byte is NUL.
pub(super) fn is_utf_16(text: &[u8]) -> bool {
    let nuls = text.split(|&byte| byte == 0).count() - 1;
    let marked = matches!(text, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    marked && nuls > 0 || text.len() > 3 && nuls * 5 >= text.len() * 2
}

/// The line at which libwrap gives the table up.
fn unreadable(scene: &Scene<'_>, rule: Rule<'_>) -> Finding {
    let last = rule.entry.source().end == scene.texts[rule.kind as usize].len();
    let consequence = match rule.kind {
        TableKind::Allow => "neither it nor what follows is read",
        TableKind::Deny => "libwrap then refuses everybody not matched before it",
    };
    if last && rule.table.daemons(&rule.entry).len() < LINE_BUFFER - 1 {
        let message = format!("The last line does not end in a newline: {consequence}.");
        return Finding::new(Kind::MissingFinalNewline, Severity::Critical, message)
            .change("Add a newline at the end.");
    }
    let message = format!("Longer than {} bytes with its continuations: {consequence}.", LINE_BUFFER - 2);
    Finding::new(Kind::LineTooLong, Severity::Critical, message).change("Split it into several rules.")
}

fn comment(rule: Rule<'_>) -> Option<Finding> {
    let lists = words(rule.daemons()).chain(words(rule.clients()));
    let options = words(rule.table.options(&rule.entry).unwrap_or_default());
    let found = lists.chain(options).any(|word| word.starts_with(b"#"));
    found.then(|| {
        let message =
            "The # does not begin the line, so it is no comment: what follows is read as part of the rule.";
        Finding::new(Kind::CommentInsideLine, Severity::Warning, message)
            .change("Put the comment on a line of its own.")
    })
}

fn unbracketed(rule: Rule<'_>) -> Option<Finding> {
    let text = rule.table.text(&rule.entry);
    let (_, rest) = text.split_once(':')?;
    let address = rest.split([' ', ',', '\t', '\r', '\n']).find(|word| {
        let address = word.split_once('/').map_or(*word, |(address, _)| address);
        address.contains("::") && address.parse::<Ipv6Addr>().is_ok() && address != "::"
    })?;
    let instead = match address.split_once('/') {
        Some((address, mask)) => format!("[{address}]/{mask}"),
        None => format!("[{address}]/128"),
    };
    let message = format!("{address} is cut at its colons: an IPv6 address needs square brackets.");
    Some(Finding::new(Kind::UnbracketedIpv6, Severity::Critical, message).change(format!("Write {instead}.")))
}

/// An option in the place of the clients, with nothing behind it that could be one.
fn no_clients(rule: Rule<'_>) -> Option<Finding> {
    let option = option_as_client(rule.clients())?;
    let text = rule.table.text(&rule.entry);
    let (daemons, rest) = text.split_once(':')?;
    let message = format!(
        "{option} stands where the clients belong: the list of clients is missing, and libwrap compares the clients' names with the option's words."
    );
    let change =
        format!("Write {} : ALL : {}, or name the clients in the middle.", daemons.trim(), rest.trim());
    Some(Finding::new(Kind::ClientListMissing, Severity::Critical, message).change(change))
}

fn empty(rule: Rule<'_>) -> Option<Finding> {
    let which = if words(rule.daemons()).next().is_none() {
        "daemon"
    } else if words(rule.clients()).next().is_none() {
        "client"
    } else {
        return None;
    };
    let message = format!("The {which} list is empty: the rule matches nobody.");
    let text = lossy(rule.clients());
    let change = if text.trim().is_empty() {
        "Name somebody, ALL for everybody, or remove the rule."
    } else {
        "Name a daemon, or ALL."
    };
    Some(Finding::new(Kind::EmptyList, Severity::Warning, message).change(change))
}
