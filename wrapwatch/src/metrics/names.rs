//! Names that become labels: the first few by themselves, all others as one, so that nothing that a trace holds makes more series.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// What stands for all others.
const OTHER: &str = "other";

/// The first few different names.
#[derive(Debug)]
pub(super) struct Names {
    max: usize,
    known: BTreeSet<String>,
}

impl Names {
    /// So many are told apart.
    pub(super) const fn new(max: usize) -> Self {
        Self { max, known: BTreeSet::new() }
    }

    /// The label's value for a name.
    pub(super) fn label(&mut self, name: &str) -> Cow<'static, str> {
        if !self.known.contains(name) {
            if self.known.len() >= self.max {
                return OTHER.into();
            }
            self.known.insert(name.to_owned());
        }
        name.to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_told_apart_and_stay_so() {
        let mut names = Names::new(2);
        assert_eq!(
            ["a", "b", "c", "a", "d", "b"].map(|name| names.label(name)),
            ["a", "b", "other", "a", "other", "b"]
        );
    }
}
