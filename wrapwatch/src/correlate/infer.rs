//! Rules that libwrap did not name (its context could not be read): worked out from the tables in force, the client's address and the answers that
//! were seen.
//!
//! Which rule forced the first lookup does not depend on answers. Which one decided does, so it is only said where everything that
//! the evaluation asked for was seen, and where it comes to the same verdict as the server.

use std::net::IpAddr;

use crate::model::{
    Client, Connection, How, Lookup, LookupKind, LookupOutcome, Outcome, RuleRef, ThreadRole,
};
use crate::wrappers::{
    Addresses, Endpoint, Environment, Evaluation, FileText, Place, Request, Table, TableKind, Tables,
    Verdict, evaluate,
};

use super::check::PathKind;
use super::shared::Target;
use super::story::{Birth, Story};

/// Fills in what was not observed.
pub(super) fn infer(connection: &mut Connection, story: &Story, target: &Target) {
    let observed = story.check.rule_seen || connection.rule.is_some() || connection.verdict_rule.is_some();
    let whole = story.birth == Birth::Accept && story.seqs.missing() == 0;
    if observed || !whole || !story.check.seen() {
        return;
    }
    let (Some(Client::Ip(client)), Some(daemon)) = (story.client, &target.info.daemon) else { return };
    let Some(tables) = tables(story, target) else { return };
    let mut request = Request::new(daemon, Endpoint::new(client.ip(), client.port()));
    request.server = story.local.map(|local| Endpoint::new(local.ip(), local.port()));
    let lookups: Vec<&Lookup> =
        connection.lookups.iter().filter(|lookup| lookup.thread != ThreadRole::Connection).collect();
    let looked_up = !lookups.is_empty() || connection.files.iter().any(|file| &*file.path == "/etc/hosts");
    let mut seen = Seen { lookups, unseen: false };
    let evaluation = evaluate(&tables, &request, &mut seen);
    let unseen = seen.unseen;
    let place = |place: Option<Place>| place.map(|place| rule_ref(place, &tables, target));
    if looked_up {
        connection.rule = place(evaluation.lookup_rule());
    }
    if !unseen && agrees(&evaluation, connection) {
        connection.verdict_rule = place(evaluation.rule);
    }
}

fn agrees(evaluation: &Evaluation, connection: &Connection) -> bool {
    match connection.outcome {
        Outcome::Greeted | Outcome::ServerError => evaluation.verdict == Verdict::Allow,
        Outcome::Refused => evaluation.verdict == Verdict::Deny,
        Outcome::Unfinished | Outcome::HandedOver => false,
    }
}

/// The tables as the check found them; `None` where one that it read is not at hand.
fn tables(story: &Story, target: &Target) -> Option<Tables> {
    let table = |kind: PathKind| {
        let used = story.check.tables.iter().find(|table| table.kind == kind);
        match used {
            Some(used) if used.opened => target.text(&used.path, used.from).map(|text| text.table().clone()),
            // Missing, or not asked because the first one decided.
            _ => Some(Table::missing()),
        }
    };
    Some(Tables { allow: table(PathKind::Allow)?, deny: table(PathKind::Deny)? })
}

fn rule_ref(place: Place, tables: &Tables, target: &Target) -> RuleRef {
    let table = tables.get(place.table);
    let paths = &target.info.tables;
    let file = match place.table {
        TableKind::Allow => &paths.allow,
        TableKind::Deny => &paths.deny,
    };
    let text = table.entry_at(place.line).map(|entry| table.text(entry));
    RuleRef { file: file.clone(), line: place.line, text: text.map(Into::into), how: How::Inferred }
}

/// The answers that were seen; what is asked beyond them is noted.
struct Seen<'a> {
    lookups: Vec<&'a Lookup>,
    unseen: bool,
}

impl Seen<'_> {
    /// The data of a lookup's answers; empty where it found nothing.
    fn answers(&mut self, kind: LookupKind) -> Option<Vec<String>> {
        let Some(lookup) = self.lookups.iter().find(|lookup| lookup.kind == kind) else {
            self.unseen = true;
            return None;
        };
        match lookup.outcome {
            LookupOutcome::Found => {
                Some(lookup.queries.iter().flat_map(|query| query.answers.iter().cloned()).collect())
            }
            LookupOutcome::NotFound | LookupOutcome::Failed => None,
            LookupOutcome::Answered | LookupOutcome::Unfinished => {
                self.unseen = true;
                None
            }
        }
    }
}

impl Environment for Seen<'_> {
    fn reverse(&mut self, _: IpAddr) -> Option<String> {
        // Aliases come before the name they lead to.
        self.answers(LookupKind::Reverse)?.pop()
    }

    fn forward(&mut self, name: &str, _: bool) -> Option<Addresses> {
        let answers = self.answers(LookupKind::Forward)?;
        let addresses = answers.iter().filter_map(|answer| answer.parse().ok()).collect();
        Some(Addresses { canonical: Some(name.to_owned()), addresses })
    }

    fn ident(&mut self) -> Option<String> {
        self.unseen = true;
        None
    }

    fn netgroup(&mut self, _: &str, _: &str) -> bool {
        self.unseen = true;
        false
    }

    fn file(&mut self, _: &str) -> FileText {
        self.unseen = true;
        FileText::Missing
    }

    fn aclexec(&mut self, _: &[u8]) -> bool {
        self.unseen = true;
        true
    }
}
