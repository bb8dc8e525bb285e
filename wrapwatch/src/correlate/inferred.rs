//! What was worked out of a target's tables, so that it is not worked out again for each client.

use std::net::{IpAddr, SocketAddr};

use crate::model::{KtimeNs, LookupKind, LookupOutcome, RuleRef};
use crate::wrappers::Verdict;

use super::map::HashMap;

/// Most evaluations that are remembered of a target.
const INFERRED_MAX: usize = 1024;

/// What an evaluation depends on, besides what is the target's and does not change without [`Inferred::clear`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub client: IpAddr,
    pub server: Option<SocketAddr>,
    /// From when on the two tables are as they were.
    pub tables: [Option<KtimeNs>; 2],
    pub answers: Vec<(LookupKind, LookupOutcome, Vec<String>)>,
}

/// What it comes to.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub forced: Option<RuleRef>,
    pub decided: Option<RuleRef>,
    pub verdict: Verdict,
    /// Something was asked for that was not seen.
    pub unseen: bool,
}

/// Evaluations of one target's tables: a table of a megabyte takes a hundredth of a second, and most clients come again.
#[derive(Debug, Default)]
pub(super) struct Inferred(HashMap<Question, Answer>);

impl Inferred {
    /// The tables, or what is known of the target, are not what they were.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn get(&self, question: &Question) -> Option<Answer> {
        self.0.get(question).cloned()
    }

    pub(super) fn insert(&mut self, question: Question, answer: Answer) {
        if self.0.len() >= INFERRED_MAX {
            self.clear();
        }
        self.0.insert(question, answer);
    }
}
