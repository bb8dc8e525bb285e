//! Names asked for again with the search list's domains appended: a lookup that fails anyway, several times over.

use crate::model::{Evidence, Finding, FindingId, Lookup, Severity};

use super::support::{Proof, counted, finding, in_check};
use super::{Case, Detector, Seen};

#[derive(Debug, Default)]
pub(super) struct SearchListQueries {
    proof: Proof,
    queries: u64,
    example: Option<(String, String)>,
}

/// A name and the longer one that it became, if any query of the lookup asked for one; and how many did.
fn appended(lookup: &Lookup) -> Option<(&str, &str, u64)> {
    let first = lookup.queries.first()?.qname.as_deref()?;
    let longer = |name: &str| {
        let rest = name.get(..first.len()).filter(|head| head.eq_ignore_ascii_case(first));
        rest.is_some() && name.as_bytes().get(first.len()) == Some(&b'.')
    };
    let mut later =
        lookup.queries.iter().filter_map(|query| query.qname.as_deref()).filter(|name| longer(name));
    let example = later.next()?;
    Some((first, example, 1 + later.count() as u64))
}

impl Detector for SearchListQueries {
    fn see(&mut self, seen: &Seen<'_>) {
        for lookup in in_check(seen.connection) {
            if let Some((name, longer, n)) = appended(lookup) {
                self.proof.add(seen.connection, lookup.dur_ns);
                self.queries += n;
                self.example.get_or_insert_with(|| (name.to_owned(), longer.to_owned()));
            }
        }
    }

    fn tell(&self, _: &Case<'_>) -> Vec<Finding> {
        let Some((name, longer)) = &self.example else { return Vec::new() };
        let message = format!(
            "The search list makes failing lookups longer: {} asked for names with a domain appended ({name}, then {longer}).",
            counted(self.queries, "query", "queries")
        );
        let facts = vec![super::support::spread(&self.proof, "lookup", "lookups")];
        let change = "Delete the `search` (or `domain`) line of /etc/resolv.conf, or set `search .`: clients' names are complete, so it can only add queries.";
        vec![finding(
            FindingId::SearchListQueries,
            Severity::Warning,
            message,
            Evidence { names: vec![name.clone(), longer.clone()], ..self.proof.evidence(facts) },
            Some(change.to_owned()),
        )]
    }
}
