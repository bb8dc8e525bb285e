//! What is told of all clients together: the verdict, findings and their texts, the share of lookups, connections of nobody.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::{Asked, Client, Complaint, peer};
use crate::daemons::spec::{Behind, Wanted};
use crate::daemons::told::Told;

/// Findings that may be true of any daemon here: nameservers answer late and clients may be refused. Others are false unless a daemon's `wanted.findings` has them:
/// every client has a name, every nameserver answers, every table can be read.
const MAY_BE_TRUE: [&str; 7] = [
    "accept-thread-saturated",
    "clients-refused",
    "dns-in-accept-path",
    "events-lost",
    "name-slow",
    "nameserver-slow",
    "server-own-lookups",
];

/// Verdicts by which lookups are not the matter, and what says so in a text.
const ACQUITTALS: [&str; 3] = ["nobody_waited", "elsewhere", "queue"];
const ACQUITTALS_SAID: [&str; 2] = ["look elsewhere", "Nobody waited"];

/// What no text may say of a server that is not mysqld.
const NEVER_SAID_OF_OTHERS: [&str; 6] =
    ["mysqld", "connection thread", "back_log", "skip_name_resolve", "my.cnf", "Got an error"];
/// What no text may say where clients came and were served.
const NEVER_SAID: [&str; 2] = ["waiting: the server does not take them", "No connection was accepted"];

pub(super) fn find(wanted: &Wanted, clients: &[Client], told: &Told, complaints: &mut Vec<Complaint>) {
    let kind = told.verdict_kind();
    let cannot_tell = kind == "cannot_tell";
    if !wanted.verdict.iter().any(|right| right == kind) {
        let what = format!("the verdict is {kind:?}: {}", told.summary("verdict"));
        complaints.push(Complaint { what, admitted: cannot_tell });
    }
    for finding in told.findings() {
        let id = finding.get("id").and_then(Value::as_str).unwrap_or_default();
        if !MAY_BE_TRUE.contains(&id) && !wanted.findings.iter().any(|allowed| allowed == id) {
            let what = format!("the finding {id}: {}", finding.get("message").unwrap_or(&Value::Null));
            complaints.push(Complaint { what, admitted: false });
        }
    }
    let of_others = if wanted.mysqld { &[][..] } else { &NEVER_SAID_OF_OTHERS };
    for text in texts(told) {
        for word in NEVER_SAID.iter().chain(of_others).filter(|word| text.contains(*word)) {
            complaints.push(Complaint { what: format!("{word:?} is said: {text}"), admitted: false });
        }
    }
    for text in wanted.says.iter().filter(|text| !texts(told).iter().any(|said| said.contains(*text))) {
        complaints.push(Complaint { what: format!("{text:?} is not said"), admitted: false });
    }
    share(wanted, clients, told, cannot_tell, complaints);
}

/// What a person reads: of findings all texts, those of the evidence too, which is an object.
fn texts(told: &Told) -> Vec<&str> {
    let mut left: Vec<&Value> = told.findings().iter().chain([told.summary("verdict")]).collect();
    let mut texts = Vec::new();
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) => texts.push(text.as_str()),
            Value::Array(values) => left.extend(values),
            Value::Object(values) => left.extend(values.values()),
            _ => {}
        }
    }
    texts
}

/// The share of lookups in the clients' wait, against the nameservers' log.
fn share(
    wanted: &Wanted,
    clients: &[Client],
    told: &Told,
    cannot_tell: bool,
    complaints: &mut Vec<Complaint>,
) {
    let all: Vec<&Asked> = clients.iter().flat_map(|client| &client.asked).collect();
    let (mut waited, mut looked_up, mut tolerance) = (0, 0, 0);
    for client in clients {
        if client.wanted.login {
            // A wait of its own, of which just what was looked up is told.
            let later = covered(client.asked_while_waiting(false), 0, u64::MAX);
            (waited, looked_up) = (waited + later, looked_up + later);
            tolerance += client.lookups_tolerance_ns(client.asked.len());
        }
        let Some(end) = client.decided_ns() else { continue };
        let from = client.clock.connected_ns;
        waited += end.saturating_sub(from);
        looked_up += match wanted.behind {
            Behind::Nobody => covered(client.asked.iter(), from, end),
            Behind::Others => covered(all.iter().copied(), from, end),
        };
        tolerance += client.lookups_tolerance_ns(client.asked.len());
    }
    let of_waited = |ns: u64| Duration::from_nanos(ns).div_duration_f64(Duration::from_nanos(waited.max(1)));
    let (share, tolerance) = (of_waited(looked_up), 0.01 + of_waited(tolerance));
    if share > 0.5 + tolerance {
        let kind = told.verdict_kind();
        let said =
            texts(told).into_iter().filter(|text| ACQUITTALS_SAID.iter().any(|said| text.contains(said)));
        for said in said.chain(Some(kind).filter(|kind| ACQUITTALS.contains(kind))) {
            let what = format!(
                "by the nameservers' log lookups are {share:.3} of the wait, but this is said: {said}"
            );
            complaints.push(Complaint { what, admitted: false });
        }
    }
    let unknown = told.summary("unknown_share").as_f64().unwrap_or(0.0);
    match told.summary("lookup_share").as_f64() {
        Some(said) if (said - share).abs() <= tolerance => {}
        said => complaints.push(Complaint {
            what: format!("the share of lookups is {said:?}; by the nameservers' log {share:.3}"),
            // It is no more, and the rest is said to be unknown.
            admitted: said.is_none_or(|said| said <= share + tolerance)
                && (cannot_tell || said.is_some_and(|said| said + unknown >= share - tolerance)),
        }),
    }
}

/// How much of a span at least one of these covers.
pub(super) fn covered<'a>(asked: impl Iterator<Item = &'a Asked>, from: u64, to: u64) -> u64 {
    let mut spans: Vec<_> = asked.map(|asked| (asked.from_ns.max(from), asked.to_ns.min(to))).collect();
    spans.sort_unstable();
    let (mut sum, mut reached) = (0, from);
    for (start, end) in spans {
        sum += end.saturating_sub(start.max(reached));
        reached = reached.max(end);
    }
    sum
}

/// Connections of no client: other sockets of the server were taken for clients'.
pub(super) fn of_nobody(clients: &[Client], told: &Told, complaints: &mut Vec<Complaint>) {
    let is_ours = |address: IpAddr| clients.iter().any(|client| client.address == address);
    let all = told.connections.iter().chain(&told.requests);
    let others = all.filter(|connection| !peer(connection).is_some_and(is_ours));
    for connection in others {
        let peer = connection.get("peer").unwrap_or(&Value::Null);
        // Whose it is may be unknown, if that is said.
        let admitted = peer.is_null() && connection.get("complete") == Some(&Value::Bool(false));
        complaints
            .push(Complaint { what: format!("a connection or request is no client's: {peer}"), admitted });
    }
}
