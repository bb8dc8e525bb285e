//! A rule with names is read before the address rule that decides: the lookup is made, and then not needed.
//!
//! Proved by the evaluator: with the deciding rule moved in front (or its addresses written before its names) the same client gets the same
//! verdict without a lookup.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Connection, Evidence, Finding, FindingId, Nanos, RuleRef, Severity};
use crate::trace::SnapshotRole;
use crate::wrappers::{
    Endpoint, EntryKind, FixedNames, Request, Table, TableKind, Tables, Verdict, evaluate, is_except, words,
};

use super::support::{Proof, finding, quoted};
use super::{Case, Detector, Seen};

/// What tells pairs apart: the table, the line that asks, the line that decides and its text.
type Key = (Arc<str>, u32, u32, Option<Arc<str>>);

/// Pairs of rules told apart.
const PAIRS_MAX: usize = 64;

/// How to write it so that it needs no lookup.
#[derive(Clone, Debug)]
enum Cure {
    /// The deciding rule in front of the one that asks.
    Move { options_between: bool },
    /// The same rule with its client list in this order.
    Reorder(String),
}

#[derive(Debug)]
struct Pair {
    asks: RuleRef,
    decides: RuleRef,
    cure: Option<Cure>,
    proof: Proof,
}

#[derive(Debug, Default)]
pub(super) struct NamesBeforeAddresses {
    pairs: BTreeMap<Key, Pair>,
}

impl Detector for NamesBeforeAddresses {
    fn see(&mut self, seen: &Seen<'_>) {
        let connection = seen.connection;
        let (Some(asks), Some(decides)) = (&connection.rule, &connection.verdict_rule) else { return };
        if asks.file != decides.file {
            return;
        }
        let key = (asks.file.clone(), asks.line, decides.line, decides.text.clone());
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&key) {
            return;
        }
        let pair = self.pairs.entry(key).or_insert_with(|| Pair {
            asks: asks.clone(),
            decides: decides.clone(),
            cure: cure(seen, asks, decides),
            proof: Proof::default(),
        });
        if let Some(pair) = Some(pair).filter(|pair| pair.cure.is_some()) {
            pair.proof.add(connection, connection.parts.dns_ns);
        }
    }

    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let proved = self.pairs.values().filter(|pair| pair.proof.count > 0);
        proved.filter_map(|pair| Some(tell(pair, pair.cure.as_ref()?, case))).collect()
    }
}

fn tell(pair: &Pair, cure: &Cure, case: &Case<'_>) -> Finding {
    let (asks, decides) = (&pair.asks, &pair.decides);
    let facts = vec![format!(
        "{} looked up in vain, {} of DNS",
        super::support::counted(pair.proof.count, "connection", "connections"),
        Nanos(pair.proof.sum)
    )];
    let (message, change) = match cure {
        Cure::Move { options_between } => {
            let careful = if *options_between {
                " Lines between the two have options (deny, spawn, …): check that these clients do not need them."
            } else {
                " No verdict changes: what lies between allows as well."
            };
            (
                format!(
                    "{} makes libwrap look names up before {} decides by address alone.",
                    quoted(asks),
                    quoted(decides)
                ),
                format!(
                    "In {} put line {} (`{}`) before line {}.{careful} It needs no restart.",
                    asks.file,
                    decides.line,
                    decides.text.as_deref().unwrap_or("?"),
                    asks.line
                ),
            )
        }
        Cure::Reorder(text) => (
            format!("{} lists names before the addresses that match.", quoted(decides)),
            format!(
                "In {} write line {} as `{text}`: addresses first, names last. It needs no restart.",
                asks.file, decides.line
            ),
        ),
    };
    let much = case.summary.dns.max_ns >= 20_000_000;
    let severity = if much { Severity::Warning } else { Severity::Info };
    let evidence = Evidence { rule: Some(asks.clone()), ..pair.proof.evidence(facts) };
    finding(FindingId::NamesBeforeAddresses, severity, message, evidence, Some(change))
}

/// The change that makes this client's check one without lookups and leaves its verdict, if there is one.
fn cure(seen: &Seen<'_>, asks: &RuleRef, decides: &RuleRef) -> Option<Cure> {
    let connection = seen.connection;
    let after = connection.accepted_ktime.plus(connection.wrapper_ns);
    let tables = seen.facts.tables(connection.pid, after)?;
    let role = |role| seen.facts.file(connection.pid, role, after).map(|file| file.meta.path.as_str());
    let kind = if role(SnapshotRole::HostsAllow) == Some(&decides.file) || decides.file.ends_with("allow") {
        TableKind::Allow
    } else {
        TableKind::Deny
    };
    let table = tables.get(kind);
    let entry = table.entry_at(decides.line).filter(|entry| entry.kind == EntryKind::Rule)?;
    let verdict = match kind {
        TableKind::Allow => Verdict::Allow,
        TableKind::Deny => Verdict::Deny,
    };
    // Options that decide by themselves make order matter; leave those to people.
    if table.options(&entry).is_some() {
        return None;
    }
    let with = |text: &str| {
        let first = Table::parse(format!("{text}\n").as_bytes());
        match kind {
            TableKind::Allow => Tables { allow: first, deny: Table::missing() },
            TableKind::Deny => Tables { allow: Table::missing(), deny: first },
        }
    };
    let cured = |text: &str| {
        let request = request(seen, connection)?;
        let evaluation = evaluate(&with(text), &request, &mut FixedNames::unknown());
        (evaluation.lookups.is_empty() && evaluation.verdict == verdict && evaluation.rule.is_some())
            .then_some(())
    };
    if asks.line < decides.line {
        cured(&table.text(&entry))?;
        let mut between = table.entries().filter(|entry| (asks.line..decides.line).contains(&entry.line));
        let options_between = between.any(|entry| table.options(&entry).is_some());
        return Some(Cure::Move { options_between });
    }
    if asks.line != decides.line {
        return None;
    }
    let clients: Vec<&[u8]> = words(table.clients(&entry)).collect();
    if clients.iter().any(|word| is_except(word)) {
        return None;
    }
    let (addresses, names): (Vec<&[u8]>, Vec<&[u8]>) =
        clients.into_iter().partition(|word| looks_like_address(word));
    let list: Vec<String> =
        addresses.iter().chain(&names).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let daemons = String::from_utf8_lossy(table.daemons(&entry)).trim().to_owned();
    let text = format!("{daemons}: {}", list.join(" "));
    cured(&text)?;
    Some(Cure::Reorder(text))
}

/// Digits, or an address in brackets: no name. That it matches without a lookup is then proved by evaluating.
fn looks_like_address(word: &[u8]) -> bool {
    word.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'[')
}

fn request(seen: &Seen<'_>, connection: &Connection) -> Option<Request> {
    let given = connection.checks.last().map(|check| check.daemon.to_string());
    let target = seen.facts.target_by_pid(connection.pid);
    let daemon = target.and_then(|target| target.daemon.clone().or_else(|| Some(target.comm.clone())));
    let daemon = given.or(daemon).filter(|daemon| !daemon.is_empty()).unwrap_or_else(|| "mysqld".to_owned());
    Some(Request::new(&daemon, Endpoint::new(seen.client?, 1)))
}
