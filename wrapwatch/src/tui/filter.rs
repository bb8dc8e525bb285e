//! Which connections are shown: words that all have to fit.
//!
//! `peer:10.0.2. outcome:refused rule:hosts.allow:17 ns:10.1.1.53 pid:812 word /regular expression/`

use regex_lite::Regex;

use crate::model::{Client, Connection};
use crate::render::text::outcome_word;

/// What is asked of a connection.
#[derive(Debug)]
enum Wanted {
    Peer(String),
    Outcome(String),
    Rule(String),
    Nameserver(String),
    Pid(u32),
    Word(String),
    Regex(Regex),
    /// It cannot be meant: nothing fits.
    Nothing,
}

/// A filter; without words everything fits.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<Wanted>);

impl Filter {
    /// Reads what was typed.
    pub(super) fn parse(text: &str) -> Self {
        let mut wanted = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let length = match rest.strip_prefix('/') {
                // A regular expression may hold blanks; one that is still being typed has no end.
                Some(regex) => regex.find('/').map_or(rest.len(), |end| end + 2),
                None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
            };
            let (word, after) = rest.split_at(length);
            wanted.push(one(word));
            rest = after.trim_start();
        }
        Self(wanted)
    }

    pub(super) fn fits(&self, connection: &Connection) -> bool {
        self.0.is_empty() || {
            let texts = Texts::of(connection);
            self.0.iter().all(|wanted| fits(wanted, connection, &texts))
        }
    }
}

fn one(word: &str) -> Wanted {
    if let Some(regex) = word.strip_prefix('/') {
        let regex = Regex::new(&format!("(?i){}", regex.strip_suffix('/').unwrap_or(regex)));
        return regex.map_or(Wanted::Nothing, Wanted::Regex);
    }
    let lower = word.to_lowercase();
    match lower.split_once(':') {
        Some(("peer", value)) => Wanted::Peer(value.to_owned()),
        Some(("outcome", value)) => Wanted::Outcome(value.to_owned()),
        Some(("rule", value)) => Wanted::Rule(value.to_owned()),
        Some(("ns", value)) => Wanted::Nameserver(value.to_owned()),
        Some(("pid", value)) => value.parse().map_or(Wanted::Nothing, Wanted::Pid),
        _ => Wanted::Word(lower),
    }
}

/// What can be searched.
struct Texts {
    peer: String,
    outcome: String,
    rules: String,
    servers: String,
    names: String,
}

impl Texts {
    fn of(connection: &Connection) -> Self {
        let rules = [&connection.rule, &connection.verdict_rule];
        let rule = |rule: &crate::model::RuleRef| {
            format!("{}:{} {}", rule.file, rule.line, rule.text.as_deref().unwrap_or_default())
        };
        let queries = || connection.lookups.iter().flat_map(|lookup| &lookup.queries);
        let lower = |texts: Vec<String>| texts.join("\n").to_lowercase();
        Self {
            peer: connection.peer.as_ref().map(Client::to_string).unwrap_or_default().to_lowercase(),
            outcome: outcome_word(connection),
            rules: lower(rules.into_iter().flatten().map(rule).collect()),
            servers: lower(queries().map(|query| query.server.to_string()).collect()),
            names: lower(connection.lookups.iter().filter_map(|lookup| lookup.name.clone()).collect()),
        }
    }

    fn all(&self) -> [&str; 5] {
        [&self.peer, &self.outcome, &self.rules, &self.servers, &self.names]
    }
}

fn fits(wanted: &Wanted, connection: &Connection, texts: &Texts) -> bool {
    match wanted {
        Wanted::Peer(value) => texts.peer.contains(value),
        Wanted::Outcome(value) => texts.outcome.contains(value),
        Wanted::Rule(value) => texts.rules.contains(value),
        Wanted::Nameserver(value) => texts.servers.contains(value),
        Wanted::Pid(pid) => connection.pid == *pid,
        Wanted::Word(word) => texts.all().iter().any(|text| text.contains(word)),
        Wanted::Regex(regex) => texts.all().iter().any(|text| regex.is_match(text)),
        Wanted::Nothing => false,
    }
}
