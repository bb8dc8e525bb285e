//! What is told takes in memory, about: what is kept is bounded in bytes, whatever names and answers it holds.

use std::io::{self, Write};

use serde::Serialize;

use crate::context::Fact;
use crate::model::{Connection, Line, Lookup, Query, RuleRef};

/// Of a line, beside the value itself.
pub(super) fn of_line(line: &Line) -> usize {
    match line {
        Line::Connection(connection) | Line::Request(connection) => of_connection(connection),
        other => written(other),
    }
}

/// Of a fact, beside the value itself.
pub(super) fn of_fact(fact: &Fact) -> usize {
    match fact {
        Fact::File(_) => fact.file_bytes(),
        Fact::Head(head) => written(head),
        Fact::Target(target) => written(target),
        Fact::Sample(sample) => written(sample),
        Fact::Degradation(degradation) => written(degradation),
        Fact::End(end) => written(end),
        Fact::Clock(_) | Fact::Damage(_) => 0,
    }
}

fn of_connection(connection: &Connection) -> usize {
    let rules =
        [&connection.rule, &connection.verdict_rule].into_iter().flatten().map(of_rule).sum::<usize>();
    let lookups = connection.lookups.iter().map(of_lookup).sum::<usize>();
    let files = connection.files.iter().map(|file| file.path.len()).sum::<usize>();
    let other = connection.other.iter().map(|other| other.what.len()).sum::<usize>();
    let checks = connection.checks.iter().map(|check| check.call.len() + check.daemon.len()).sum::<usize>();
    let blame = connection.blame.iter().filter_map(|blame| blame.server.as_ref()).map(|s| s.len());
    let lists = [
        size_of_val(&*connection.queued_behind),
        size_of_val(&*connection.checks),
        size_of_val(&*connection.blame),
        size_of_val(&*connection.lookups),
        size_of_val(&*connection.files),
        size_of_val(&*connection.other),
        size_of_val(&*connection.missing),
        size_of_val(&*connection.unknown),
    ];
    size_of::<Connection>()
        + lists.iter().sum::<usize>()
        + (rules + lookups + files + other + checks)
        + blame.sum::<usize>()
}

/// Its texts may be others' as well.
fn of_rule(rule: &RuleRef) -> usize {
    rule.file.len() + rule.text.as_ref().map_or(0, |text| text.len())
}

fn of_lookup(lookup: &Lookup) -> usize {
    let queries = lookup.queries.iter().map(of_query).sum::<usize>();
    lookup.name.as_ref().map_or(0, String::len) + size_of_val(&*lookup.queries) + queries
}

fn of_query(query: &Query) -> usize {
    let texts = [&query.qtype, &query.rcode].into_iter().flatten().map(|text| text.len()).sum::<usize>();
    let answers = query.answers.iter().map(String::len).sum::<usize>();
    query.server.len()
        + query.qname.as_ref().map_or(0, String::len)
        + (texts + answers + size_of_val(&*query.answers))
}

/// As long as it is in JSON, for what does not come often.
fn written(what: &impl Serialize) -> usize {
    let mut length = Length(0);
    // What cannot be written takes what was written until then.
    let _ = serde_json::to_writer(&mut length, what);
    length.0
}

struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
