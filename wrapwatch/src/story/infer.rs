//! Rules that libwrap did not name, worked out from the tables in force, the client's address and the answers that were seen.
//!
//! Only where the trace has no `tcpd_context` (an imported strace, a stripped libwrap): what was observed is never replaced. The
//! rule that forced the first lookup does not depend on answers, so it is as sure as the tables' text; the rule that decided depends on
//! the names, and is told only where it agrees with what became of the connection.

use std::net::IpAddr;

use super::Facts;
use crate::model::{
    Client, Connection, How, Lookup, LookupKind, LookupOutcome, Outcome, RuleRef, ThreadRole,
};
use crate::trace::SnapshotRole;
use crate::wrappers::{Addresses, Endpoint, Environment, Place, Request, TableKind, Verdict, evaluate};

/// Adds the rules to a connection that was checked and has none.
pub(super) fn rules(connection: &mut Connection, facts: &mut Facts) {
    let moved = facts.target_by_pid(connection.pid).and_then(|target| target.allow_table.clone());
    let allow = |path: &str| path.contains("hosts.allow") || moved.as_deref() == Some(path);
    let checked = connection.files.iter().any(|file| allow(&file.path));
    if !checked || (connection.rule.is_some() && connection.verdict_rule.is_some()) {
        return;
    }
    let Some(client) = connection.peer.and_then(Client::addr) else { return };
    let check_end = connection.accepted_ktime.plus(connection.wrapper_ns);
    let Some(tables) = facts.tables(connection.pid, check_end) else { return };
    let target = facts.target_by_pid(connection.pid);
    let daemon = target.and_then(|target| target.daemon.clone().or_else(|| Some(target.comm.clone())));
    let daemon = daemon.filter(|daemon| !daemon.is_empty()).unwrap_or_else(|| "mysqld".to_owned());
    let server = connection.local;
    let request = Request {
        server: server.map(|server| Endpoint::new(server.ip(), server.port())),
        pid: connection.pid,
        ..Request::new(&daemon, Endpoint::new(client.ip(), client.port()))
    };
    let evaluation = evaluate(&tables, &request, &mut Seen(&connection.lookups));
    let reference = |place: Place| {
        let role = match place.table {
            TableKind::Allow => SnapshotRole::HostsAllow,
            TableKind::Deny => SnapshotRole::HostsDeny,
        };
        let path =
            facts.file(connection.pid, role, connection.accepted_ktime).map(|file| file.meta.path.clone());
        let table = tables.get(place.table);
        let text = table.entry_at(place.line).map(|entry| table.text(entry));
        RuleRef {
            file: path.unwrap_or_else(|| place.table.default_path().to_owned()).into(),
            line: place.line,
            text: text.map(|text| text.trim().into()),
            how: How::Inferred,
        }
    };
    let looked_up = connection.lookups.iter().any(|lookup| lookup.thread != ThreadRole::Connection);
    let forced = evaluation.lookup_rule().filter(|_| looked_up).map(reference);
    let agrees = match evaluation.verdict {
        Verdict::Allow => matches!(connection.outcome, Outcome::Greeted | Outcome::ServerError),
        Verdict::Deny => connection.outcome == Outcome::Refused,
    };
    let decided = evaluation.rule.filter(|_| agrees).map(reference);
    connection.rule = connection.rule.take().or(forced);
    connection.verdict_rule = connection.verdict_rule.take().or(decided);
}

/// The names that the accept thread's lookups gave: the name its PTR led to, and whether that led back to the address.
pub fn names_of(connection: &Connection) -> (Option<String>, Vec<IpAddr>) {
    let seen = Seen(&connection.lookups);
    let name = seen.of(LookupKind::Reverse).and_then(first_name);
    let addresses = seen.of(LookupKind::Forward).map(addresses).unwrap_or_default();
    (name, addresses)
}

/// Answers as the resolver got them.
struct Seen<'a>(&'a [Lookup]);

impl Seen<'_> {
    fn of(&self, kind: LookupKind) -> Option<&Lookup> {
        self.0.iter().find(|lookup| lookup.kind == kind && lookup.thread != ThreadRole::Connection)
    }
}

fn answers(lookup: &Lookup) -> impl Iterator<Item = &String> {
    let answered = lookup.outcome == LookupOutcome::Found;
    lookup.queries.iter().filter(move |_| answered).flat_map(|query| &query.answers)
}

fn first_name(lookup: &Lookup) -> Option<String> {
    let name = answers(lookup).last()?;
    Some(name.trim_end_matches('.').to_owned())
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    answers(lookup).filter_map(|answer| answer.parse().ok()).collect()
}

impl Environment for Seen<'_> {
    fn reverse(&mut self, _: IpAddr) -> Option<String> {
        first_name(self.of(LookupKind::Reverse)?)
    }

    fn forward(&mut self, name: &str, ipv6: bool) -> Option<Addresses> {
        let lookup = self.of(LookupKind::Forward)?;
        let addresses: Vec<IpAddr> =
            addresses(lookup).into_iter().filter(|address| address.is_ipv6() == ipv6).collect();
        (!addresses.is_empty()).then(|| Addresses { canonical: Some(name.to_owned()), addresses })
    }
}
