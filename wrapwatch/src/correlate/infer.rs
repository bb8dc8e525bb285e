//! Rules that libwrap did not name (its context could not be read): worked out from the tables in force, the client's address and the answers that
//! were seen.
//!
//! Which rule forced the first lookup does not depend on answers. Which one decided does, so it is only said where everything that
//! the evaluation asked for was seen, and where it comes to the same verdict as the server.

use std::net::IpAddr;

use crate::model::{
    Client, Connection, How, KtimeNs, Lookup, LookupKind, LookupOutcome, Outcome, RuleRef, ThreadRole,
};
use crate::wrappers::{
    Addresses, Endpoint, Environment, FileText, Place, Request, Table, TableKind, Tables, Verdict, evaluate,
};

use super::check::PathKind;
use super::inferred::{Answer, Question};
use super::open_connection::{Birth, OpenConnection};
use super::shared::Target;

/// Fills in what was not observed.
pub(super) fn infer(connection: &mut Connection, ongoing: &OpenConnection, target: &mut Target) {
    let observed = ongoing.check.rule_seen || connection.rule.is_some() || connection.verdict_rule.is_some();
    let whole = ongoing.birth == Birth::Accept && ongoing.seqs.missing() == 0;
    if observed || !whole || !ongoing.check.seen() {
        return;
    }
    let Some(answer) = answer(connection, ongoing, target) else { return };
    let looked_up = connection.lookups.iter().any(|lookup| lookup.thread != ThreadRole::Connection)
        || connection.files.iter().any(|file| &*file.path == "/etc/hosts");
    if looked_up {
        connection.rule = answer.forced;
    }
    if !answer.unseen && agrees(answer.verdict, connection) {
        connection.verdict_rule = answer.decided;
    }
}

fn answer(connection: &Connection, ongoing: &OpenConnection, target: &mut Target) -> Option<Answer> {
    let (Some(Client::Ip(client)), Some(daemon)) = (ongoing.client, &target.info.daemon) else { return None };
    let (tables, versions) = tables(ongoing, target)?;
    let lookups: Vec<&Lookup> =
        connection.lookups.iter().filter(|lookup| lookup.thread != ThreadRole::Connection).collect();
    let answers = |lookup: &&Lookup| {
        let answers = lookup.queries.iter().flat_map(|query| query.answers.iter().cloned());
        (lookup.kind, lookup.outcome, answers.collect())
    };
    let question = Question {
        client: client.ip(),
        server: ongoing.local,
        tables: versions,
        answers: lookups.iter().map(answers).collect(),
    };
    if let Some(known) = target.inferred.get(&question) {
        return Some(known);
    }
    let mut request = Request::new(daemon, Endpoint::new(client.ip(), client.port()));
    request.server = ongoing.local.map(|local| Endpoint::new(local.ip(), local.port()));
    let mut seen = Seen { lookups, unseen: false };
    let evaluation = evaluate(&tables, &request, &mut seen);
    let place = |place: Option<Place>| place.map(|place| rule_ref(place, &tables, target));
    let answer = Answer {
        forced: place(evaluation.lookup_rule()),
        decided: place(evaluation.rule),
        verdict: evaluation.verdict,
        unseen: seen.unseen,
    };
    target.inferred.insert(question, answer.clone());
    Some(answer)
}

fn agrees(verdict: Verdict, connection: &Connection) -> bool {
    match connection.outcome {
        Outcome::Greeted | Outcome::ServerError | Outcome::Admitted => verdict == Verdict::Allow,
        Outcome::Refused => verdict == Verdict::Deny,
        Outcome::Unfinished
        | Outcome::HandedOver
        | Outcome::Dropped
        | Outcome::LookedUp
        | Outcome::LoggedIn
        | Outcome::Encrypted
        | Outcome::Aborted => false,
    }
}

/// The tables as the check found them, and from when on they were so; `None` where one that it read is not at hand.
fn tables(ongoing: &OpenConnection, target: &Target) -> Option<(Tables, [Option<KtimeNs>; 2])> {
    let table = |kind: PathKind| {
        let used = ongoing.check.tables.iter().find(|table| table.kind == kind);
        match used {
            Some(used) if used.opened => {
                let version = target.texts.at(&used.path, used.from);
                version.map(|(from, text)| (text.table().clone(), Some(from)))
            }
            // Missing, or not asked because the first one decided.
            _ => Some((Table::missing(), None)),
        }
    };
    let ((allow, allow_from), (deny, deny_from)) = (table(PathKind::Allow)?, table(PathKind::Deny)?);
    Some((Tables { allow, deny }, [allow_from, deny_from]))
}

fn rule_ref(place: Place, tables: &Tables, target: &Target) -> RuleRef {
    let table = tables.get(place.table);
    let paths = &target.info.tables;
    let file = match place.table {
        TableKind::Allow => &paths.allow,
        TableKind::Deny => &paths.deny,
    };
    let text = table.entry_at(place.line).map(|entry| table.text(&entry));
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
