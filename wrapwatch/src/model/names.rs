//! The names that a check's lookups gave.

use std::net::IpAddr;

use super::{Connection, Lookup, LookupKind, LookupOutcome, ThreadRole};

impl Connection {
    /// The names that the accept thread's lookups gave: the name that its PTR led to, and the addresses which that led back to.
    pub fn names(&self) -> (Option<String>, Vec<IpAddr>) {
        let name = self.looked_up(LookupKind::Reverse).and_then(|lookup| answers(lookup).last());
        let forward = self.looked_up(LookupKind::Forward);
        let addresses = forward.into_iter().flat_map(answers).filter_map(|answer| answer.parse().ok());
        (name.map(|name| name.trim_end_matches('.').to_owned()), addresses.collect())
    }

    fn looked_up(&self, kind: LookupKind) -> Option<&Lookup> {
        self.lookups.iter().find(|lookup| lookup.kind == kind && lookup.thread == ThreadRole::Accept)
    }
}

fn answers(lookup: &Lookup) -> impl Iterator<Item = &String> {
    let answered = lookup.outcome == LookupOutcome::Found;
    lookup.queries.iter().filter(move |_| answered).flat_map(|query| &query.answers)
}
