//! Which queries make one lookup, and what came of it.
//!
//! A query belongs to the lookup its thread is in when
//! 1. it asks for the same name in the same direction (again, another server, A and AAAA, TCP after a truncated answer), or
//! 2. both are forward, their first labels are equal and no name so far got a usable answer: the resolver goes through its search list,
//!
//! and nothing ended that lookup in between: reading `/etc/hosts` begins a new one (nsswitch's `files` comes before `dns`), closing a
//! table ends one. Otherwise it begins a new lookup. Of libwrap's check both kinds occur once at most, so rule 2 cannot join what is separate there.

use crate::decode::dns::{self, Question};
use crate::model::{Client, KtimeNs, Lookup, LookupKind, LookupOutcome, QueryOutcome, ThreadRole};

use super::asked::{Asked, End};
use super::seqs::Seqs;
use super::servers::Servers;

/// RFC 1035, 4.1.1.
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;

/// A lookup in the making.
#[derive(Debug)]
pub(super) struct Looking {
    pub kind: LookupKind,
    pub name: Option<String>,
    pub tid: u32,
    pub first: KtimeNs,
    pub last: KtimeNs,
    /// Nothing has ended it.
    pub open: bool,
    /// Answered with what was asked for; `None` where the answer cannot be read.
    pub found: Option<bool>,
}

pub(super) fn kind_of(question: &Question) -> LookupKind {
    match question.qtype {
        dns::PTR => LookupKind::Reverse,
        dns::A | dns::AAAA => LookupKind::Forward,
        _ => LookupKind::Other,
    }
}

impl Looking {
    pub(super) const fn new(kind: LookupKind, tid: u32, first: KtimeNs) -> Self {
        Self { kind, name: None, tid, first, last: first, open: true, found: Some(false) }
    }

    /// Whether a question continues this lookup, see the module.
    pub(super) fn continues(&self, question: &Question) -> bool {
        if !self.open {
            return false;
        }
        let Some(name) = self.name.as_deref() else { return self.kind == LookupKind::Other };
        self.kind == kind_of(question)
            && (name.eq_ignore_ascii_case(&question.name)
                || (self.kind == LookupKind::Forward
                    && self.found == Some(false)
                    && first_label(name).eq_ignore_ascii_case(first_label(&question.name))))
    }

    /// Takes the first question's name and kind.
    pub(super) fn adopt(&mut self, question: &Question) {
        if self.name.is_none() {
            self.name = Some(question.name.clone());
            self.kind = kind_of(question);
        }
    }

    /// The name of an address that is not this client's, looked up by a thread that may work for several: it is for another client.
    pub(super) fn is_anothers<const N: usize>(&self, client: Option<Client>, in_check: [u32; N]) -> bool {
        // Most lookups are the check's: their names need not be read.
        if self.kind != LookupKind::Reverse || in_check.contains(&self.tid) {
            return false;
        }
        let Some(client) = client.and_then(Client::ip) else { return false };
        self.name.as_deref().and_then(dns::ptr_address).is_some_and(|asked| asked != client)
    }

    pub(super) fn touch(&mut self, at: KtimeNs) {
        self.last = self.last.max(at);
    }
}

fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// A lookup as it is told, with its queries, which give their texts away.
pub(super) struct Telling<'a> {
    pub queries: &'a mut [Asked],
    pub seqs: &'a Seqs,
    pub servers: &'a Servers,
    pub accepted: KtimeNs,
    pub accept_tid: u32,
    pub checker: u32,
    pub tcp_answers_unseen: bool,
}

impl Telling<'_> {
    pub(super) fn lookup(&mut self, index: usize, looking: &mut Looking) -> Lookup {
        let mut mine: Vec<&mut Asked> =
            self.queries.iter_mut().filter(|asked| asked.lookup == index).collect();
        mine.sort_by_key(|asked| asked.began());
        let outcomes: Vec<QueryOutcome> =
            mine.iter().map(|asked| asked.outcome(self.seqs, self.tcp_answers_unseen)).collect();
        let outcome = outcome(looking, &mine, &outcomes);
        let told = mine.into_iter().zip(outcomes);
        Lookup {
            kind: looking.kind,
            name: looking.name.take(),
            thread: match looking.tid {
                tid if tid == self.accept_tid => ThreadRole::Accept,
                tid if tid == self.checker => ThreadRole::Checker,
                _ => ThreadRole::Connection,
            },
            outcome,
            at_ns: looking.first.since(self.accepted),
            dur_ns: looking.last.since(looking.first),
            queries: told.map(|(asked, outcome)| asked.tell(outcome, self.accepted, self.servers)).collect(),
        }
    }
}

/// The last name asked for decides, unless some name was found.
fn outcome(looking: &Looking, queries: &[&mut Asked], outcomes: &[QueryOutcome]) -> LookupOutcome {
    match looking.found {
        Some(true) => return LookupOutcome::Found,
        None => return LookupOutcome::Answered,
        Some(false) => {}
    }
    if queries.is_empty() || queries.iter().any(|asked| asked.end == End::Pending) {
        return LookupOutcome::Unfinished;
    }
    let name = |asked: &Asked| asked.question.as_ref().map(|question| question.name.to_ascii_lowercase());
    let last = queries.last().and_then(|asked| name(asked));
    let said_no = |asked: &Asked| {
        asked
            .answer
            .as_ref()
            .is_some_and(|answer| matches!(answer.rcode, NOERROR | NXDOMAIN) && !answer.usable)
    };
    if queries.iter().filter(|asked| name(asked) == last).any(|asked| said_no(asked)) {
        LookupOutcome::NotFound
    } else if outcomes.contains(&QueryOutcome::Unseen) {
        LookupOutcome::Unfinished
    } else {
        LookupOutcome::Failed
    }
}
